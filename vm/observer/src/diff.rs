//! Diff mode: what is durable at each moment, in a file of its own (M15).
//!
//! The file is shared memory: when QEMU is killed it says what power loss would have left, before
//! the choice among the lines in flight.

use std::io;
use std::path::{Path, PathBuf};

use crash::cut::{Count, Page};
use crash::{CrashState, DiffModel, Event, FenceKind, Fences, Marker, Op, Rules, Vcpu, image};
use memmap2::MmapMut;

use crate::lines::Line;
use crate::memory::{self, Words};
use crate::open::Open;
use crate::times::Times;
use crate::window::Window;

/// Of the lines that a marker finds missing, how many are told.
const MOST_MISSING: usize = 1024;

/// The most crash states that are kept: each may be as large as the NVDIMM.
const MOST_KEPT: u32 = 1024;

/// The model with its files.
#[derive(Debug)]
pub(crate) struct Diff {
    model: DiffModel<MmapMut>,
    durable: PathBuf,
    times: Times,
    kept: u32,
    cuts: Option<Cuts>,
    fences: Fences,
    /// Spares the model the kernel's locks while something of another context is pending: it
    /// would look through all of it each time.
    open: Open,
}

/// Where somebody may ask for a loss of power at a marker.
#[derive(Debug)]
pub(crate) struct Cuts {
    words: Words,
    count: Count,
}

impl Cuts {
    /// Maps the file that whoever asks has made.
    pub(crate) fn map(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let words = Words::map(path).map_err(|error| format!("map {name}: {error}"))?;
        page(&words).ok_or_else(|| format!("map {name}: it is too short"))?;
        Ok(Self { words, count: Count::default() })
    }

    /// Whether power is to be lost at this marker: at which time since that was asked for.
    fn take(&mut self, marker: &Marker) -> Option<u64> {
        self.count.take(&page(&self.words)?, marker)
    }
}

fn page(words: &Words) -> Option<Page<'_>> {
    Page::map(|n| words.word(n))
}

impl Diff {
    /// Begins: what the NVDIMM holds now is durable.
    pub(crate) fn begin(
        window: &Window,
        durable: &Path,
        cuts: Option<Cuts>,
        rules: Rules,
    ) -> io::Result<Self> {
        let mut image = memory::shared(durable, window.live.len())?;
        window.live.copy(0, &mut image);
        let model = DiffModel::new(image, rules);
        let (durable, times, open) = (durable.to_owned(), Times::default(), Open::default());
        Ok(Self { model, durable, times, kept: 0, cuts, fences: rules.fences, open })
    }

    /// Whether a fence of this CPU could change anything.
    pub(crate) fn waits(&self, vcpu: Vcpu) -> bool {
        self.open.waits(vcpu)
    }

    /// Takes an event in; what there is to tell.
    pub(crate) fn take(&mut self, event: &Event, window: &Window) -> io::Result<Vec<Line>> {
        if let Event::Fence(fence) = event
            && fence.kind == FenceKind::Locked
            && !self.open.waits_in(fence.vcpu, fence.context, self.fences)
        {
            return Ok(Vec::new());
        }
        self.open.note(event);
        self.model.apply(event, &window.live);
        let Event::Marker(marker) = event else { return Ok(Vec::new()) };
        let told = match marker.op {
            Op::AssertPersisted => Some(self.judge(marker, window)),
            Op::Snap => self.snap(marker, window)?,
            Op::Arm | Op::Cut | Op::Disarm | Op::Checkpoint | Op::Stats => None,
        };
        Ok(told.into_iter().chain(self.cut(marker, window)?).collect())
    }

    fn judge(&self, marker: &Marker, window: &Window) -> Line {
        let [_, len, id] = marker.args;
        let inside: u64 = marker.ranges.iter().map(|range| range.len).sum();
        let mut missing = self.model.missing(&marker.ranges, &window.live);
        missing.truncate(MOST_MISSING);
        Line::Asserted {
            asserted: id,
            pc: marker.pc.0,
            missing,
            outside: len.saturating_sub(inside),
        }
    }

    fn snap(&mut self, marker: &Marker, window: &Window) -> io::Result<Option<Line>> {
        let Some(n) = self.times.hit(marker) else { return Ok(None) };
        self.kept += 1;
        if self.kept > MOST_KEPT {
            return Err(io::Error::other(format!("SNAP: more than {MOST_KEPT} states")));
        }
        let id = marker.args[0];
        let name = format!("state-{id}-{n}");
        image::write(&self.beside(&format!("{name}.img")), self.model.persisted())?;
        self.keep(&name, &format!("{name}.img"), window)?;
        Ok(Some(Line::Kept { kept: id, n, state: name }))
    }

    fn cut(&mut self, marker: &Marker, window: &Window) -> io::Result<Option<Line>> {
        let asked = self.cuts.as_mut().and_then(|cuts| cuts.take(marker));
        let cuts_itself = || (marker.op == Op::Cut).then(|| self.times.hit(marker)).flatten();
        let Some(n) = asked.or_else(cuts_itself) else { return Ok(None) };
        let durable = self.durable.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.keep("cut", &durable, window)?;
        Ok(Some(Line::cut(marker, n)))
    }

    fn keep(&self, name: &str, image: &str, window: &Window) -> io::Result<()> {
        let state = CrashState {
            nvdimm_bytes: window.live.len() as u64,
            persisted: image.to_owned(),
            lines: self.model.in_flight(&window.live),
        };
        std::fs::write(self.beside(&format!("{name}.json")), serde_json::to_vec(&state)?)
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.durable.with_file_name(name)
    }
}
