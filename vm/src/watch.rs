//! Watch: what the observer, a plugin of QEMU, sees of a guest and of its first NVDIMM.
//!
//! The guest says where it is with markers (docs/crash-model.md); what the observer has to tell
//! lies in a folder, and outlives QEMU. See `observer` for both ends' words.

mod told;

use std::fs;
use std::path::{Path, PathBuf};

use crash::cut::BYTES;
use crash::{CrashState, InFlight, Line, Live, Pc, Rules};

use crate::error::{Error, Result};
use told::Told;
pub use told::{Asserted, Cut, Kept, Stats};

/// How a guest is watched.
#[derive(Debug, Clone)]
pub struct Watch {
    pub(crate) library: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) mode: Mode,
    pub(crate) rules: Rules,
}

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Markers and instruction counts.
    Count,
    /// And what is durable (M15).
    Diff,
    /// And every store between ARM and DISARM, in order with what a device told in this journal.
    Trace { journal: Option<PathBuf> },
}

impl Watch {
    /// Counts instructions. `library` is the observer, built; `folder` is made anew at boot.
    pub fn count(library: &Path, folder: &Path) -> Self {
        let (library, folder) = (library.to_owned(), folder.to_owned());
        Self { library, folder, mode: Mode::Count, rules: Rules::default() }
    }

    /// Knows at each moment what of the first NVDIMM is durable.
    pub fn diff(library: &Path, folder: &Path, rules: Rules) -> Self {
        Self { mode: Mode::Diff, rules, ..Self::count(library, folder) }
    }

    /// Records every store to the first NVDIMM between ARM and DISARM, and the device writes that
    /// a backend tells in `journal` (`vnet::Journal`). The guest has one CPU.
    pub fn trace(library: &Path, folder: &Path, rules: Rules, journal: Option<&Path>) -> Self {
        let journal = journal.map(Path::to_owned);
        Self { mode: Mode::Trace { journal }, rules, ..Self::count(library, folder) }
    }

    /// The same files by other names.
    pub(crate) fn named(self, library: PathBuf, folder: PathBuf) -> Self {
        Self { library, folder, ..self }
    }

    /// The observer's lines.
    pub(crate) fn out(&self) -> PathBuf {
        self.folder.join("observed.jsonl")
    }

    /// Diff mode: the image of what is durable.
    pub(crate) fn durable(&self) -> PathBuf {
        self.folder.join("durable.img")
    }

    /// Diff mode: where a loss of power at a marker is asked for.
    pub(crate) fn cuts(&self) -> PathBuf {
        self.folder.join("cuts")
    }

    /// Trace mode: a folder for each time between ARM and DISARM.
    pub(crate) fn traces(&self) -> PathBuf {
        self.folder.join("traces")
    }

    /// Whether it watches an NVDIMM.
    pub(crate) fn needs_nvdimm(&self) -> bool {
        self.mode != Mode::Count
    }

    /// Whether it knows what is durable when the power fails.
    pub(crate) fn knows_durable(&self) -> bool {
        self.mode == Mode::Diff
    }

    /// Makes the folder, without what an earlier boot left in it.
    pub(crate) fn prepare(&self) -> Result<()> {
        let folder = &self.folder;
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("clear", folder, error));
            }
            _ => fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, error))?,
        }
        if self.knows_durable() {
            let cuts = self.cuts();
            fs::write(&cuts, [0; BYTES]).map_err(|error| Error::io("create", &cuts, error))?;
        }
        Ok(())
    }

    /// The counters that were told so far, in order.
    ///
    /// # Errors
    /// [`Error::Io`] when the observer's file cannot be read, [`Error::Invalid`] when it says that
    /// something did not work, or for a line that the observer did not write. A line that is being
    /// written is left out.
    pub fn stats(&self) -> Result<Vec<Stats>> {
        self.told(|told| if let Told::Stats(stats) = told { Some(stats) } else { None })
    }

    /// The verdicts on `ASSERT_PERSISTED` so far, in order; diff mode.
    ///
    /// # Errors
    /// As [`Watch::stats`].
    pub fn assertions(&self) -> Result<Vec<Asserted>> {
        self.told(|told| if let Told::Asserted(asserted) = told { Some(asserted) } else { None })
    }

    /// The crash states that the guest asked for (SNAP), in order; diff mode.
    ///
    /// # Errors
    /// As [`Watch::stats`].
    pub fn kept(&self) -> Result<Vec<Kept>> {
        self.told(|told| if let Told::Kept(kept) = told { Some(kept) } else { None })
    }

    /// The crash state of a [`Kept`], with what was durable.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Invalid`] if the two do not belong together.
    pub fn state(&self, kept: &Kept) -> Result<(CrashState, Vec<u8>)> {
        self.read_state(&kept.state)
    }

    /// The folders of complete traces, in order; trace mode. Each holds `trace.bin` and `base.img`.
    ///
    /// # Errors
    /// As [`Watch::stats`].
    pub fn recorded(&self) -> Result<Vec<PathBuf>> {
        let name = |told| if let Told::Recorded(recorded) = told { Some(recorded) } else { None };
        let all = self.told(name)?;
        Ok(all.into_iter().map(|recorded| self.traces().join(recorded.name)).collect())
    }

    /// The folder of the last trace that was begun, if one was; trace mode. It may lack its end.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn last_trace(&self) -> Result<Option<PathBuf>> {
        let traces = self.traces();
        let io = |error| Error::io("read", &traces, error);
        let mut last: Option<u64> = None;
        for entry in traces.read_dir().map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            last = last.max(name.to_str().and_then(|name| name.parse().ok()));
        }
        Ok(last.map(|number| traces.join(number.to_string())))
    }

    /// Flush instructions that named pages which their program had not touched, by address. TCG
    /// passes such flushes by, where a CPU would map the page and flush: what they should have
    /// made durable counts as not flushed.
    ///
    /// # Errors
    /// As [`Watch::stats`].
    pub fn unmapped(&self) -> Result<Vec<Pc>> {
        self.told(|told| if let Told::Unmapped(one) = told { Some(Pc(one.pc)) } else { None })
    }

    /// Whether the guest lost its power at a marker; which.
    ///
    /// # Errors
    /// As [`Watch::stats`].
    pub fn cut(&self) -> Result<Option<Cut>> {
        Ok(self.told(|told| if let Told::Cut(cut) = told { Some(cut) } else { None })?.pop())
    }

    /// Diff mode: the crash state in which QEMU's end left this NVDIMM, with what was durable.
    /// At a marker it is complete; else what was flushed and not fenced counts as not flushed,
    /// which leaves out values between the durable and the live one (M15).
    pub(crate) fn last_state(&self, live: &Path) -> Result<(CrashState, Vec<u8>)> {
        if self.cut()?.is_some() {
            return self.read_state("cut");
        }
        let (live, durable) = (read(live)?, read(&self.durable())?);
        let invalid = || Error::invalid(self.durable().display().to_string(), "has another size");
        if live.len() != durable.len() {
            return Err(invalid());
        }
        let state = CrashState {
            nvdimm_bytes: live.len() as u64,
            persisted: "durable.img".to_owned(),
            lines: in_flight(&live, &durable),
        };
        Ok((state, durable))
    }

    fn read_state(&self, name: &str) -> Result<(CrashState, Vec<u8>)> {
        let path = self.folder.join(format!("{name}.json"));
        let invalid = |why: String| Error::invalid(path.display().to_string(), why);
        let state: CrashState =
            serde_json::from_slice(&read(&path)?).map_err(|error| invalid(error.to_string()))?;
        let durable = read(&self.folder.join(&state.persisted))?;
        state.fits(&durable).map_err(|error| invalid(error.to_string()))?;
        Ok((state, durable))
    }

    fn told<T>(&self, which: impl Fn(Told) -> Option<T>) -> Result<Vec<T>> {
        let path = self.out();
        let text = fs::read_to_string(&path).map_err(|error| Error::io("read", &path, error))?;
        let all = told::parse(&text);
        let all = all.map_err(|why| Error::invalid(path.display().to_string(), why))?;
        Ok(all.into_iter().filter_map(which).collect())
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Error::io("read", path, error))
}

/// The lines that differ: the durable value or the live one.
fn in_flight(live: &[u8], durable: &[u8]) -> Vec<InFlight> {
    let mut from = Line(0);
    std::iter::from_fn(|| {
        let differs = live.next_difference(durable, from)?;
        from = Line(differs.0 + 1);
        Some(InFlight::new(differs, vec![differs.of(durable)], differs.of(live), false))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use crash::LINE;

    use super::*;

    #[test]
    fn the_state_at_the_end_is_what_differs() {
        let dir = tempfile::tempdir().unwrap();
        let watch = Watch::diff(Path::new("lib"), &dir.path().join("w"), Rules::default());
        watch.prepare().unwrap();
        let (live, mut image) = (dir.path().join("nv"), vec![0; 4 * LINE]);
        fs::write(watch.durable(), &image).unwrap();
        fs::write(watch.out(), "").unwrap();
        image[3 * LINE] = 9;
        fs::write(&live, &image).unwrap();
        let (state, durable) = watch.last_state(&live).unwrap();
        assert_eq!((state.lines.len(), state.lines[0].line), (1, Line(3)));
        state.fits(&durable).unwrap();
        // A guest that cut its own power has told more.
        let told = CrashState { lines: Vec::new(), ..state };
        fs::write(dir.path().join("w/cut.json"), serde_json::to_vec(&told).unwrap()).unwrap();
        fs::write(watch.out(), "{\"cut\":7,\"n\":1,\"op\":\"cut\"}\n").unwrap();
        assert_eq!(watch.last_state(&live).unwrap().0, told);
        assert_eq!(watch.cut().unwrap().map(|cut| cut.id), Some(7));
        fs::write(&live, [1; LINE]).unwrap();
        fs::write(watch.out(), "").unwrap();
        assert!(watch.last_state(&live).unwrap_err().to_string().contains("another size"));
        watch.prepare().unwrap();
        assert!(watch.stats().unwrap_err().to_string().contains("observed.jsonl"));
    }
}
