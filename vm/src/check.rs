//! Check: a program that judges crash images, several at a time (`docs/crash-model.md`, Checkers).
//!
//! Each state is a file of its own in a folder of its own, which is removed after the verdict:
//! whatever a checker does to its image, or leaves beside it, no other state meets it. A file is
//! written sparsely, from the pages that hold anything, and which pages these are is kept up to
//! date by the lines that changed: the cost of a state depends on what the NVDIMM holds, not on
//! its size. Where only a kernel can judge, a program in a guest does (`guest`).

mod crew;
mod guest;
mod pages;
mod scratch;
mod verdict;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crash::{Checker, Fault, Judges, Marker, Op, Verdict, View};

use crate::error::{Error, Result};
use crate::nvdimm::Window;
use crate::process::{Program, Stdin, quoted};
use crew::Crew;
use pages::Pages;
use scratch::Scratch;

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
    scratch: Scratch,
    pages: Pages,
    crew: Crew<Job, Answer>,
}

type Answer = std::result::Result<Verdict, Fault>;

/// One state that waits for its verdict.
#[derive(Debug)]
struct Job {
    program: Program,
    folder: PathBuf,
    limit: Duration,
}

impl ExecChecker {
    /// Makes a folder for the images.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the command line does not mention the image, [`Error::NoSpace`],
    /// [`Error::Io`].
    pub fn new(options: Options) -> Result<Self> {
        if !options.command.contains(IMAGE) {
            let why = format!("it never sees the state: write {IMAGE} where its file belongs");
            return Err(Error::invalid(format!("checker {:?}", options.command), why));
        }
        let at_once = options.at_once.max(1);
        let bytes = options.window.len().saturating_mul(at_once as u64);
        let scratch = Scratch::new(&options.places, bytes)?;
        let crew = Crew::new(at_once, work);
        Ok(Self { options, scratch, pages: Pages::default(), crew })
    }

    /// Writes a state's files; the program that judges it.
    fn prepare(&mut self, view: &View<'_>, folder: &Path) -> Result<Program> {
        let window = self.options.window;
        let bytes = window.of(view.image).ok_or_else(|| {
            Error::invalid("the window of the checker", "it lies outside the NVDIMM")
        })?;
        self.pages.update(bytes, window.offset(), view.changed);
        fs::create_dir(folder).map_err(|error| Error::io("create", folder, error))?;
        let (image, markers) = (folder.join("image"), folder.join("markers"));
        self.pages.write(bytes, &image)?;
        let io = |error| Error::io("write", &markers, error);
        fs::write(&markers, lines(view.markers)).map_err(io)?;
        let stdin = Stdin::File(File::open(&markers).map_err(io)?);
        let command = self.options.command.replace(IMAGE, &quoted(&image));
        let command = command.replace(MARKERS, &quoted(&markers));
        let program = Program::new("/bin/sh").args(["-c", &command]).stdin(stdin);
        let told = environment(view)
            .into_iter()
            .fold(program, |program, (name, value)| program.env(name, value));
        Ok(told.env(IMAGE_NAME, &image))
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

/// Judges a state.
fn work(Job { program, folder, limit }: Job) -> Answer {
    let ended = program.run_contained(limit, KEPT_OUTPUT);
    let answer = verdict::of(ended, limit);
    let removed = fs::remove_dir_all(&folder).map_err(|error| {
        Fault(format!("what the checker left cannot be removed: {}: {error}", folder.display()))
    });
    removed.and(answer)
}

impl Judges for ExecChecker {
    fn hand_in(&mut self, view: &View<'_>) {
        let number = self.crew.wait_for_room();
        let (folder, limit) = (self.scratch.path().join(number.to_string()), self.options.limit);
        match self.prepare(view, &folder) {
            Ok(program) => self.crew.hand_in(Job { program, folder, limit }),
            Err(error) => {
                // What is there of it goes at the end at the latest.
                let _ = fs::remove_dir_all(&folder);
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
