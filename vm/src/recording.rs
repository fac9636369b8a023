//! Recording: a folder with all that was seen of one run, for `crash`: what happened on the
//! NVDIMM, from which image on, and what the instructions are called.
//!
//! ```text
//! trace.bin    the events (`crash::trace`); its header has seed, rules and QEMU's command line
//! base.img     the NVDIMM before the first event, byte for byte
//! record.json  this module's `Record`: the rest
//! ...          what the record names: the program, /proc/kallsyms, modules
//! ```
//!
//! The trace's header holds the size and the hash of the image: files of two recordings do not
//! mix. Nothing in the folder is trusted.

mod names;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crash::trace::{self, Header};
use crash::{Event, image};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::nvdimm::Window;

/// The trace's name in the folder.
pub const TRACE: &str = "trace.bin";
/// The image's name.
pub const BASE: &str = "base.img";
/// The record's name.
pub const RECORD: &str = "record.json";
/// The version of the record that is written and read here.
pub const SCHEMA: u32 = 1;

/// How much of an image is read at a time.
const READ: usize = 1 << 20;

/// What trace and image do not say. Paths are relative to the folder, or absolute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What the program saw of the NVDIMM as its device; checkers see the same.
    pub window: Window,
    /// The guest in which it ran.
    #[serde(default)]
    pub guest: Option<String>,
    /// The program that ran in the guest, with its arguments.
    pub program: Vec<String>,
    /// The command that records such a run again.
    pub command: Vec<String>,
    /// Versions by name: of QEMU, of the guest's kernel, of this project.
    pub versions: BTreeMap<String, String>,
    /// The program and its libraries, for the names of instructions.
    #[serde(default)]
    pub elf: Vec<Elf>,
    /// The names of the guest's kernel.
    #[serde(default)]
    pub kernel: Option<Kernel>,
}

/// An ELF file that ran in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elf {
    /// Where it is.
    pub path: PathBuf,
    /// How many bytes above its own addresses it was loaded; 0 if it is not relocatable.
    #[serde(default)]
    pub bias: u64,
}

/// What names a kernel's instructions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// The guest's `/proc/kallsyms`, as root sees it.
    pub kallsyms: PathBuf,
    /// The guest's `/proc/modules`.
    #[serde(default)]
    pub modules: Option<PathBuf>,
    /// The files of modules by their names, for file and line.
    #[serde(default)]
    pub files: BTreeMap<String, PathBuf>,
}

impl Record {
    /// Writes it into a recording's folder, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(RECORD);
        let io = |error| Error::io("write", &path, error);
        // Readable for whoever may read the folder, as the other files are.
        let readable = fs::Permissions::from_mode(0o644);
        let half = tempfile::Builder::new().permissions(readable).tempfile_in(folder);
        let mut half = half.map_err(io)?;
        // A path that is no text cannot be written.
        let text = serde_json::to_string_pretty(self).map_err(|error| io(error.into()))?;
        std::io::Write::write_all(&mut half, format!("{text}\n").as_bytes()).map_err(io)?;
        half.persist(&path).map_err(|error| io(error.error))?;
        Ok(())
    }
}

/// A recording, read.
#[derive(Debug)]
pub struct Recording {
    /// Its folder.
    pub folder: PathBuf,
    /// What trace and image do not say.
    pub record: Record,
    /// What the trace says about the run as a whole.
    pub header: Header,
    /// The NVDIMM before the first event.
    pub image: Vec<u8>,
    /// The events; the first has the number 1.
    pub events: Vec<Event>,
    /// Why there are no more of them, if the trace is cut short or damaged.
    pub cut: Option<trace::Error>,
    /// The hash of the trace's file.
    pub trace_hash: String,
}

impl Recording {
    /// Reads a recording.
    ///
    /// # Errors
    /// [`Error::Invalid`] if this is none, or its parts do not belong together; [`Error::Io`].
    pub fn open(folder: &Path) -> Result<Self> {
        let record = read_record(&folder.join(RECORD))?;
        let path = folder.join(TRACE);
        let bytes = read(&path)?;
        let trace = trace::read(bytes.as_slice()).map_err(|error| wrong(&path, &error))?;
        let trace::Recorded { header, events, cut } = trace;
        let trace_hash = trace::hash(&bytes);
        drop(bytes);
        let image = read_image(&folder.join(BASE), &header)?;
        if record.window.of(&image).is_none() {
            return Err(wrong(&folder.join(RECORD), &"its window lies outside the NVDIMM"));
        }
        let folder = folder.to_owned();
        Ok(Self { folder, record, header, image, events, cut, trace_hash })
    }
}

impl Recording {
    /// How many writes lie outside the window, in part at least: who sees the window only does
    /// not see them.
    pub fn writes_outside(&self) -> usize {
        let window = self.record.window;
        let is_outside = |offset: u64, len: usize| {
            let end = offset.saturating_add(len as u64);
            offset < window.offset() || end > window.offset().saturating_add(window.len())
        };
        let outside = |event: &&Event| match event {
            Event::Store(store) => is_outside(store.offset.0, store.bytes.as_slice().len()),
            Event::Dma(dma) => is_outside(dma.offset.0, dma.bytes.len()),
            _ => false,
        };
        self.events.iter().filter(outside).count()
    }
}

/// A trace, as the observer leaves it in a folder (`Watch::recorded`).
#[derive(Debug)]
pub struct Traced {
    /// What the trace says about the run as a whole.
    pub header: Header,
    /// The NVDIMM before the first event.
    pub image: Vec<u8>,
    /// The events; the first has the number 1.
    pub events: Vec<Event>,
}

impl Traced {
    /// Reads a whole trace, and the image from which it starts.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the trace is cut short, or the two do not belong together;
    /// [`Error::Io`].
    pub fn read(folder: &Path) -> Result<Self> {
        match Self::read_part(folder)? {
            (_, Some(cut)) => Err(wrong(&folder.join(TRACE), &cut)),
            (whole, None) => Ok(whole),
        }
    }

    /// Reads what is good of a trace, and why there is no more.
    ///
    /// # Errors
    /// As [`Traced::read`], but for a trace that is cut short.
    pub fn read_part(folder: &Path) -> Result<(Self, Option<trace::Error>)> {
        let path = folder.join(TRACE);
        let trace = trace::read(read(&path)?.as_slice()).map_err(|error| wrong(&path, &error))?;
        let trace::Recorded { header, events, cut } = trace;
        Ok((Self { image: read_image(&folder.join(BASE), &header)?, header, events }, cut))
    }
}

fn read_record(path: &Path) -> Result<Record> {
    /// Read first: a record of another version may lack anything else.
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    let bytes = read(path)?;
    let no_record = |error| wrong(path, &format!("this is no record: {error}"));
    let Version { schema } = serde_json::from_slice(&bytes).map_err(no_record)?;
    if schema != SCHEMA {
        let why = format!("it has schema {schema}; this program reads schema {SCHEMA}");
        return Err(wrong(path, &why));
    }
    serde_json::from_slice(&bytes).map_err(no_record)
}

/// Reads the image only if it has the size of the trace's NVDIMM.
fn read_image(path: &Path, header: &Header) -> Result<Vec<u8>> {
    let io = |error| Error::io("read", path, error);
    let mut file = File::open(path).map_err(|error| missing(path, error))?;
    let size = file.metadata().map_err(io)?.len();
    let trace = header.nvdimm_bytes;
    if size != trace {
        return Err(wrong(path, &trace::Error::Size { trace, image: size }));
    }
    // A trace may speak of any size.
    let mut room: Vec<u8> = Vec::new();
    let fits = usize::try_from(size).is_ok_and(|len| room.try_reserve_exact(len).is_ok());
    if !fits {
        return Err(wrong(path, &format!("there is no memory for {size} bytes")));
    }
    drop(room);
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    let mut part = vec![0; READ];
    for zeros in bytes.chunks_mut(READ) {
        let part = &mut part[..zeros.len()];
        std::io::Read::read_exact(&mut file, part).map_err(io)?;
        image::fill(zeros, part);
    }
    header.fits(&bytes).map_err(|error| wrong(path, &error))?;
    Ok(bytes)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| missing(path, error))
}

fn missing(path: &Path, error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            let why = format!("not there; a recording is a folder with {TRACE}, {BASE}, {RECORD}");
            wrong(path, &why)
        }
        _ => Error::io("read", path, error),
    }
}

fn wrong(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::invalid(path.display().to_string(), why.to_string())
}

#[cfg(test)]
mod tests;
