//! Check: a program that judges crash images, several at a time (`docs/crash-model.md`, Checkers).
//!
//! Each state is a file in a folder (`stage`): whatever a checker does to its image, or leaves
//! beside it, no other state meets it. The file stays, is sparse, and only what differs from the
//! last state is written: the cost of a state depends on what changes, not on the NVDIMM's size.
//! Where only a kernel can judge, a program in a guest does (`guest`).

mod command_line;
mod crew;
mod guest;
mod pages;
mod scratch;
mod stage;
mod verdict;

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crash::{Checker, Fault, Judges, Marker, Op, Verdict, View};

use crate::error::{Error, Result};
use crate::nvdimm::Window;
use crate::process::{Program, Stdin};
use command_line::CommandLine;
use crew::Crew;
use pages::Pages;
use scratch::Scratch;
use stage::{Stage, Stale, State};

pub use guest::{GuestChecker, InGuest};

/// How much of a checker's output is kept, in bytes.
const KEPT_OUTPUT: usize = 16 << 10;

/// What stands for the file with the state.
const IMAGE: &str = "{image}";
/// What stands for the file with the markers.
const MARKERS: &str = "{markers}";
/// Where the environment says what stands for the state.
const IMAGE_NAME: &str = "CRASH_IMAGE";

/// How a checker is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// A command line for `/bin/sh`: `{image}` is the state, `{markers}` what came before.
    pub command: String,
    /// Where it starts.
    pub folder: PathBuf,
    /// What it sees of the NVDIMM.
    pub window: Window,
    /// How long it may take for one state.
    pub limit: Duration,
    /// Folders for the images, the best first.
    pub places: Vec<PathBuf>,
    /// How many run at a time, at least 1.
    pub at_once: usize,
}

/// A checker that is a program.
#[derive(Debug)]
pub struct ExecChecker {
    options: Options,
    line: CommandLine,
    pages: Pages,
    /// By the numbers of the stages.
    stale: Vec<Stale>,
    /// The stages where no checker is.
    free: Arc<Mutex<Vec<Stage>>>,
    // Before the folder with the images goes.
    crew: Crew<Job, Answer>,
    _scratch: Scratch,
}

type Answer = std::result::Result<Verdict, Fault>;

/// One state that waits for its verdict.
#[derive(Debug)]
struct Job {
    program: Program,
    stage: Stage,
    limit: Duration,
}

impl ExecChecker {
    /// Makes a folder for the images.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the command line does not mention the image, or the folder where it
    /// is to start is not there; [`Error::NoSpace`], [`Error::Io`].
    pub fn new(options: Options) -> Result<Self> {
        let checker = || format!("checker {:?}", options.command);
        if !options.command.contains(IMAGE) {
            let why = format!("it never sees the state: write {IMAGE} where its file belongs");
            return Err(Error::invalid(checker(), why));
        }
        if !options.folder.is_dir() {
            let why = format!("no folder {}, where it is to start", options.folder.display());
            return Err(Error::invalid(checker(), why));
        }
        let at_once = options.at_once.max(1);
        let bytes = options.window.len().saturating_mul(at_once as u64);
        let scratch = Scratch::new(&options.places, bytes)?;
        let len = options.window.len();
        let stages = (0..at_once).map(|number| Stage::new(number, scratch.path(), len));
        let free = Arc::new(Mutex::new(stages.collect()));
        let stale = (0..at_once).map(|_| Stale::All).collect();
        let back = Arc::clone(&free);
        let crew = Crew::new(at_once, move |job| work(job, &back));
        let line = CommandLine::new(&options.command, &options.folder);
        Ok(Self { options, line, pages: Pages::default(), stale, free, crew, _scratch: scratch })
    }

    /// Shows a state; the program that judges it.
    fn prepare(&mut self, view: &View<'_>, stage: &mut Stage) -> Result<Program> {
        let window = self.options.window;
        let bytes = window.of(view.image).ok_or_else(|| {
            Error::invalid("the window of the checker", "it lies outside the NVDIMM")
        })?;
        self.pages.update(bytes, window.offset(), view.changed);
        self.stale.iter_mut().for_each(|stale| stale.add(view.changed));
        let next = State { bytes, offset: window.offset(), pages: &self.pages };
        stage.show(next, &self.stale[stage.number], &lines(view.markers))?;
        self.stale[stage.number] = Stale::Lines(Vec::new());
        let markers = stage.markers();
        let stdin = File::open(&markers).map_err(|error| Error::io("open", &markers, error))?;
        let program = self.line.program(&stage.image(), &markers);
        let program = program.cwd(&self.options.folder).stdin(Stdin::File(stdin));
        let told = environment(view)
            .into_iter()
            .fold(program, |program, (name, value)| program.env(name, value));
        Ok(told.env(IMAGE_NAME, stage.image()))
    }

    /// A stage where no checker is.
    fn take_stage(&self) -> Option<Stage> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// What else a checker finds in its environment: the last CHECKPOINT and where power was lost.
fn environment(view: &View<'_>) -> [(&'static str, String); 2] {
    let checkpoint = view.markers.iter().rev().find(|marker| marker.op == Op::Checkpoint);
    let checkpoint = checkpoint.map_or_else(String::new, |marker| marker.args[0].to_string());
    [("CRASH_CHECKPOINT", checkpoint), ("CRASH_POINT", view.point.to_string())]
}

/// The markers, one JSON a line.
fn lines(markers: &[Marker]) -> String {
    let line =
        |marker| serde_json::to_string(marker).expect("a marker is numbers and words") + "\n";
    markers.iter().map(line).collect()
}

/// Judges a state, and gives its stage back.
fn work(Job { program, mut stage, limit }: Job, free: &Mutex<Vec<Stage>>) -> Answer {
    let ended = program.run_contained(limit, KEPT_OUTPUT);
    let answer = verdict::of(ended, limit);
    let cleared = stage.clear().map_err(|error| verdict::of_error(&error));
    free.lock().unwrap_or_else(PoisonError::into_inner).push(stage);
    cleared.and(answer)
}

impl Judges for ExecChecker {
    fn hand_in(&mut self, view: &View<'_>) {
        self.crew.wait_for_room();
        let Some(mut stage) = self.take_stage() else {
            return self.crew.answer(Err(Fault("a worker of the checker has died".to_owned())));
        };
        let limit = self.options.limit;
        match self.prepare(view, &mut stage) {
            Ok(program) => self.crew.hand_in(Job { program, stage, limit }),
            Err(error) => {
                // It may hold half a state: what is there of it goes at the end at the latest.
                let _ = stage.clear();
                self.stale[stage.number] = Stale::All;
                self.free.lock().unwrap_or_else(PoisonError::into_inner).push(stage);
                self.crew.answer(Err(verdict::of_error(&error)));
            }
        }
    }

    fn next(&mut self, wait: bool) -> Option<Answer> {
        self.crew.next(wait)
    }
}

impl Checker for ExecChecker {
    fn check(&mut self, view: &View<'_>) -> Answer {
        self.hand_in(view);
        self.next(true).unwrap_or_else(|| Err(Fault("a verdict is missing".to_owned())))
    }
}

#[cfg(test)]
mod tests;
