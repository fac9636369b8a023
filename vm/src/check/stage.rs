//! Stage: a folder in which a checker meets one state after the other, each of them pristine.
//!
//! Most of a state is what the one before was, so the image's file stays, and only what differs is
//! written. What the last checker did to it is watched (inotify(7)): if it had the file open for
//! writing, every page is compared; if it put another file in its place, or changed its mode, the
//! file is made anew. Whatever else is in the folder goes.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crash::Line;
use crash::image::{self, PAGE};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use nix::unistd::{Whence, lseek};

use super::pages::Pages;
use crate::error::{Error, Result};

/// How much of a file is compared at a time.
const READ: usize = 64 * PAGE;

/// The most lines that are kept in mind; beyond that, all may differ.
const MOST: usize = 4096;

/// What says that a file was written to: by a call, or perhaps through memory, by somebody who had
/// it open for that and has let go of it.
const WRITING: AddWatchFlags = AddWatchFlags::IN_MODIFY.union(AddWatchFlags::IN_CLOSE_WRITE);
/// What is looked for.
const WATCHED: AddWatchFlags = WRITING
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_DELETE_SELF);

/// What lies in the folder.
const IMAGE: &str = "image";
const MARKERS: &str = "markers";

/// The lines of a stage's image that may not be those of the state in sight.
#[derive(Debug)]
pub(super) enum Stale {
    /// Any.
    All,
    /// These.
    Lines(Vec<Line>),
}

impl Stale {
    /// The next state is in sight; these lines differ from the one before, any if nothing is said.
    pub(super) fn add(&mut self, changed: Option<&[Line]>) {
        match (&mut *self, changed) {
            (Self::Lines(lines), Some(changed)) if lines.len() + changed.len() <= MOST => {
                lines.extend(changed);
            }
            _ => *self = Self::All,
        }
    }
}

/// A folder for one checker at a time.
#[derive(Debug)]
pub(super) struct Stage {
    /// Among all stages.
    pub(super) number: usize,
    folder: PathBuf,
    shown: Option<Shown>,
    /// Bytes of an image.
    len: u64,
    /// How many files it has made.
    pub(super) made: usize,
}

/// The image that lies there.
#[derive(Debug)]
struct Shown {
    file: File,
    watch: Option<Inotify>,
    /// Somebody may have written to it.
    is_touched: bool,
}

/// What a checker did to its image, the worst of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Nothing,
    /// It may have written.
    Written,
    /// It moved it, removed it, gave it other names, modes or owners, or nobody knows.
    Other,
}

/// A state as bytes: what its NVDIMM's window holds, which begins `offset` bytes into the NVDIMM.
#[derive(Clone, Copy, Debug)]
pub(super) struct State<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) offset: u64,
    pub(super) pages: &'a Pages,
}

impl Stage {
    /// A folder that is not there yet.
    pub(super) fn new(number: usize, scratch: &Path, len: u64) -> Self {
        let folder = scratch.join(number.to_string());
        Self { number, folder, shown: None, len, made: 0 }
    }

    pub(super) fn image(&self) -> PathBuf {
        self.folder.join(IMAGE)
    }

    pub(super) fn markers(&self) -> PathBuf {
        self.folder.join(MARKERS)
    }

    /// Makes the folder hold a state, and nothing else.
    pub(super) fn show(&mut self, state: State<'_>, differs: &Stale, markers: &str) -> Result<()> {
        let path = self.image();
        let io = |error| Error::io("write", &path, error);
        if let Some(shown) = &mut self.shown {
            shown.update(state, differs).map_err(io)?;
        } else {
            let made = fs::create_dir(&self.folder);
            made.map_err(|error| Error::io("create", &self.folder, error))?;
            self.shown = Some(Shown::new(&path, state).map_err(io)?);
            self.made += 1;
        }
        let path = self.markers();
        let written =
            File::create_new(&path).and_then(|mut file| file.write_all(markers.as_bytes()));
        written.map_err(|error| Error::io("write", &path, error))
    }

    /// A checker has ended, and all that it has started.
    pub(super) fn clear(&mut self) -> Result<()> {
        let io = |error| Error::io("remove what the checker left in", &self.folder, error);
        let path = self.image();
        self.shown = self.shown.take().and_then(|shown| shown.kept(&path, self.len));
        if self.shown.is_none() || self.remove_others().is_err() {
            self.shown = None;
            return remove(&self.folder).map_err(io);
        }
        Ok(())
    }

    fn remove_others(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name() != IMAGE {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

impl Shown {
    fn new(path: &Path, state: State<'_>) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        file.set_len(state.bytes.len() as u64)?;
        state.pages.write(state.bytes, &file)?;
        // One for each checker at a time; a host that allows fewer gets a new file for each state.
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK);
        let watch = watch.and_then(|watch| watch.add_watch(path, WATCHED).map(|_| watch)).ok();
        Ok(Self { file, watch, is_touched: false })
    }

    /// Writes what may differ from a state.
    fn update(&mut self, state: State<'_>, differs: &Stale) -> io::Result<()> {
        match differs {
            Stale::Lines(lines) if !self.is_touched => self.write_lines(state, lines),
            _ => self.repair(state),
        }?;
        // What was seen of this was our own doing.
        self.seen();
        self.is_touched = false;
        Ok(())
    }

    fn write_lines(&self, state: State<'_>, lines: &[Line]) -> io::Result<()> {
        let mut lines: Vec<_> = lines.iter().filter_map(|line| state.range(*line)).collect();
        lines.sort_unstable_by_key(|range| range.start);
        lines.dedup();
        for run in lines.chunk_by(|one, next| one.end == next.start) {
            let (start, end) = (run[0].start, run[run.len() - 1].end);
            self.file.write_all_at(&state.bytes[start..end], start as u64)?;
        }
        Ok(())
    }

    /// Compares the whole file with a state, and writes each page that differs.
    fn repair(&self, State { bytes, pages, .. }: State<'_>) -> io::Result<()> {
        let mut part = vec![0; READ];
        let mut at = 0;
        while at < bytes.len() {
            // In whole pages, whatever the file system's blocks are.
            let data = self.seek(at, Whence::SeekData)?.unwrap_or(bytes.len());
            let data = if data < bytes.len() { data / PAGE * PAGE } else { bytes.len() };
            // A hole reads as zeros.
            pages.write_range(bytes, at..data, &self.file)?;
            let end = self.seek(data, Whence::SeekHole)?.unwrap_or(bytes.len());
            let end = end.next_multiple_of(PAGE).min(bytes.len());
            for start in (data..end).step_by(READ) {
                let part = &mut part[..READ.min(end - start)];
                self.file.read_exact_at(part, start as u64)?;
                let wanted = bytes[start..start + part.len()].chunks(PAGE);
                let differs = wanted.zip(part.chunks(PAGE)).map(|(page, other)| page != other);
                image::write_pages(&self.file, bytes, start / PAGE, differs)?;
            }
            at = end;
        }
        Ok(())
    }

    /// Where data, or a hole, begins from `at` on; nothing if there is none.
    fn seek(&self, at: usize, what: Whence) -> io::Result<Option<usize>> {
        match lseek(&self.file, i64::try_from(at).unwrap_or(i64::MAX), what) {
            Ok(found) => Ok(usize::try_from(found).ok()),
            Err(Errno::ENXIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// This image, if what a checker left of it can be mended.
    fn kept(mut self, path: &Path, len: u64) -> Option<Self> {
        let ours = self.file.metadata().ok()?;
        let there = fs::symlink_metadata(path).ok()?;
        let is_ours = (there.dev(), there.ino(), there.len()) == (ours.dev(), ours.ino(), len);
        let deed = self.seen();
        self.is_touched |= deed == Deed::Written;
        (is_ours && deed < Deed::Other).then_some(self)
    }

    /// What was done to it since this was last asked.
    fn seen(&self) -> Deed {
        let Some(watch) = &self.watch else { return Deed::Other };
        let mut worst = Deed::Nothing;
        loop {
            let events = match watch.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => return worst,
                Err(Errno::EINTR) => continue,
                Err(_) => return Deed::Other,
            };
            let deed = |event: &InotifyEvent| {
                if WRITING.intersects(event.mask) { Deed::Written } else { Deed::Other }
            };
            worst = events.iter().map(deed).chain([worst]).max().unwrap_or(worst);
        }
    }
}

impl State<'_> {
    /// Where a line of the NVDIMM lies in it.
    fn range(&self, line: Line) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(line.start().0.checked_sub(self.offset)?).ok()?;
        let end = (start + crash::LINE).min(self.bytes.len());
        (start < end).then_some(start..end)
    }
}

/// Removes a file, or a folder with all that is in it.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
