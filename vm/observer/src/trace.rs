//! Trace mode: every event of the NVDIMM between ARM and DISARM, in a folder for each such time.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use crash::trace::{Header, Writer, hash};
use crash::{Event, Marker, Op, Rules, Vcpu, image};

use crate::journal::Journal;
use crate::lines::Line;
use crate::open::Open;
use crate::times::Times;
use crate::window::Window;

/// The name of the image from which a trace starts, beside it.
const BASE: &str = "base.img";

/// Where traces go, and the one that is being written.
#[derive(Debug)]
pub(crate) struct Trace {
    folder: PathBuf,
    rules: Rules,
    seed: u64,
    number: u64,
    current: Option<Writer<BufWriter<File>>>,
    open: Open,
    journal: Option<Journal>,
    times: Times,
}

impl Trace {
    /// Begins; nothing is recorded before ARM.
    pub(crate) fn begin(
        folder: &Path,
        rules: Rules,
        seed: u64,
        journal: Option<Journal>,
    ) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let folder = folder.to_owned();
        let (open, times) = (Open::default(), Times::default());
        Ok(Self { folder, rules, seed, number: 0, current: None, open, journal, times })
    }

    /// Whether events are recorded now.
    pub(crate) fn is_armed(&self) -> bool {
        self.current.is_some()
    }

    /// Whether a fence of this CPU could change anything.
    pub(crate) fn waits(&self, vcpu: Vcpu) -> bool {
        self.open.waits(vcpu)
    }

    /// Takes an event in; what there is to tell. After an error nothing is recorded before the next
    /// ARM: a trace with a gap would be a lie, one without its end says that it was cut short.
    pub(crate) fn take(&mut self, event: &Event, window: &Window) -> io::Result<Vec<Line>> {
        let told = self.record(event, window);
        if told.is_err() {
            self.current = None;
        }
        told
    }

    fn record(&mut self, event: &Event, window: &Window) -> io::Result<Vec<Line>> {
        if let Event::Marker(marker) = event
            && marker.op == Op::Arm
        {
            self.arm(window)?;
        }
        let Some(writer) = &mut self.current else { return Ok(Vec::new()) };
        if let Some(journal) = &mut self.journal {
            for dma in journal.news().map_err(io::Error::other)? {
                writer.write(&Event::Dma(dma))?;
            }
        }
        if self.open.note(event) {
            writer.write(event)?;
        }
        let Event::Marker(marker) = event else { return Ok(Vec::new()) };
        self.marker(marker)
    }

    fn marker(&mut self, marker: &Marker) -> io::Result<Vec<Line>> {
        let cut = match marker.op {
            Op::Disarm => None,
            Op::Cut => match self.times.hit(marker) {
                Some(n) => Some(Line::cut(marker, n)),
                None => return Ok(Vec::new()),
            },
            _ => return Ok(Vec::new()),
        };
        Ok(self.finish()?.into_iter().chain(cut).collect())
    }

    /// Starts a trace; one that is under way ends.
    fn arm(&mut self, window: &Window) -> io::Result<()> {
        self.finish()?;
        self.open = Open::default();
        self.number += 1;
        let folder = self.folder.join(self.number.to_string());
        fs::create_dir(&folder)?;
        // Before the copy: a write in between is in both, and changes nothing the second time.
        self.journal.as_mut().map_or(Ok(()), Journal::skip).map_err(io::Error::other)?;
        let mut base = vec![0; window.live.len()];
        window.live.copy(0, &mut base);
        image::write(&folder.join(BASE), &base)?;
        let header = Header {
            nvdimm_bytes: base.len() as u64,
            base: BASE.to_owned(),
            base_hash: hash(&base),
            seed: self.seed,
            rules: self.rules,
            command: std::env::args().collect(),
        };
        let file = BufWriter::new(File::create(folder.join("trace.bin"))?);
        self.current = Some(Writer::new(file, &header)?);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<Option<Line>> {
        let Some(writer) = self.current.take() else { return Ok(None) };
        if self.journal.as_ref().is_some_and(|journal| !journal.is_whole()) {
            // Without its end the trace says itself that it is not complete.
            return Err(io::Error::other("the DMA journal is full: make it larger"));
        }
        let events = writer.events();
        writer.finish()?;
        Ok(Some(Line::Recorded { recorded: self.number.to_string(), events }))
    }
}

#[cfg(test)]
mod tests {
    use crash::recording::PROGRAM;
    use crash::{Fence, FenceKind, Pc, Vcpu};

    use super::*;
    use crate::options::Place;

    #[test]
    fn a_full_disk_ends_a_trace_and_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let [nvdimm, ram] = ["nvdimm", "ram"].map(|name| dir.path().join(name));
        for file in [&nvdimm, &ram] {
            fs::write(file, [0; 4096]).unwrap();
        }
        let window = Window::map(&Place { nvdimm, base: 1 << 32, ram }).unwrap();
        let mut trace =
            Trace::begin(&dir.path().join("traces"), Rules::default(), 0, None).unwrap();
        trace.arm(&window).unwrap();
        let header = Header {
            nvdimm_bytes: 4096,
            base: BASE.to_owned(),
            base_hash: hash(&[0; 4096]),
            seed: 0,
            rules: Rules::default(),
            command: Vec::new(),
        };
        let full = BufWriter::new(File::options().write(true).open("/dev/full").unwrap());
        trace.current = Some(Writer::new(full, &header).unwrap());
        let (vcpu, pc, kind) = (Vcpu(0), Pc(0), FenceKind::Sfence);
        let fence = Event::Fence(Fence { vcpu, pc, context: PROGRAM, kind });
        let failed = (0..1_000_000).filter(|_| trace.take(&fence, &window).is_err()).count();
        assert_eq!((failed, trace.is_armed()), (1, false));
    }
}
