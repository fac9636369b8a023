//! Check: a program that judges crash images, several at a time (`docs/crash-model.md`, Checkers).
//!
//! Each state is a file of its own in a folder of its own, which is removed after the verdict:
//! whatever a checker does to its image, or leaves beside it, no other state meets it. A file is
//! written sparsely, from the pages that hold anything, and which pages these are is kept up to
//! date by the lines that changed: the cost of a state depends on what the NVDIMM holds, not on
//! its size.

mod pages;
mod scratch;
mod verdict;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crash::{Checker, Fault, Judges, Marker, Op, Verdict, View};

use crate::error::{Error, Result};
use crate::nvdimm::Window;
use crate::process::{Program, Stdin, quoted};
use pages::Pages;
use scratch::Scratch;

/// How much of a checker's output is kept, in bytes.
const KEPT_OUTPUT: usize = 16 << 10;

/// What stands for the file with the state.
const IMAGE: &str = "{image}";
/// What stands for the file with the markers.
const MARKERS: &str = "{markers}";

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
    jobs: Option<Sender<Job>>,
    workers: Vec<JoinHandle<()>>,
    ended: Receiver<(u64, Answer)>,
    /// Answers that came before their turn.
    early: BTreeMap<u64, Answer>,
    /// The number of the next state that is handed in, and of the next that is taken out.
    next_in: u64,
    next_out: u64,
}

type Answer = std::result::Result<Verdict, Fault>;

/// One state that waits for its verdict.
#[derive(Debug)]
struct Job {
    number: u64,
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
        let (jobs, queue) = channel();
        let (answers, ended) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let worker = |_| {
            let (queue, answers) = (Arc::clone(&queue), answers.clone());
            std::thread::spawn(move || work(&queue, &answers))
        };
        let workers = (0..at_once).map(worker).collect();
        let (jobs, pages, early) = (Some(jobs), Pages::default(), BTreeMap::new());
        let (next_in, next_out) = (0, 0);
        Ok(Self { options, scratch, pages, jobs, workers, ended, early, next_in, next_out })
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
        let checkpoint = view.markers.iter().rev().find(|marker| marker.op == Op::Checkpoint);
        let checkpoint = checkpoint.map_or_else(String::new, |marker| marker.args[0].to_string());
        let program = Program::new("/bin/sh").args(["-c", &command]).stdin(stdin);
        let program = program.env("CRASH_IMAGE", &image).env("CRASH_CHECKPOINT", checkpoint);
        Ok(program.env("CRASH_POINT", view.point.to_string()))
    }

    /// Takes the next answer in, whichever it is; waits for it. False if none is to come.
    fn receive(&mut self) -> bool {
        let open = self.next_in - self.next_out - self.early.len() as u64;
        // The workers live as long as this checker.
        let Some(Ok((number, answer))) = (open > 0).then(|| self.ended.recv()) else {
            return false;
        };
        self.early.insert(number, answer);
        true
    }
}

/// The markers, one JSON a line.
fn lines(markers: &[Marker]) -> String {
    let line =
        |marker| serde_json::to_string(marker).expect("a marker is numbers and words") + "\n";
    markers.iter().map(line).collect()
}

/// Judges states until there are no more.
fn work(queue: &Mutex<Receiver<Job>>, answers: &Sender<(u64, Answer)>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { number, program, folder, limit }) = next else { return };
        let ended = program.run_contained(limit, KEPT_OUTPUT);
        let answer = verdict::of(ended, limit);
        let removed = fs::remove_dir_all(&folder).map_err(|error| {
            Fault(format!("what the checker left cannot be removed: {}: {error}", folder.display()))
        });
        if answers.send((number, removed.and(answer))).is_err() {
            return;
        }
    }
}

impl Judges for ExecChecker {
    fn hand_in(&mut self, view: &View<'_>) {
        while self.next_in - self.next_out - self.early.len() as u64 >= self.workers.len() as u64 {
            self.receive();
        }
        let (number, limit) = (self.next_in, self.options.limit);
        let folder = self.scratch.path().join(number.to_string());
        self.next_in += 1;
        match self.prepare(view, &folder) {
            Ok(program) => {
                let job = Job { number, program, folder, limit };
                // The workers listen as long as this checker lives.
                let _ = self.jobs.as_ref().map(|jobs| jobs.send(job).is_ok());
            }
            Err(error) => {
                // What is there of it goes at the end at the latest.
                let _ = fs::remove_dir_all(&folder);
                self.early.insert(number, Err(verdict::of_error(&error)));
            }
        }
    }

    fn next(&mut self, wait: bool) -> Option<Answer> {
        while let Ok((number, answer)) = self.ended.try_recv() {
            self.early.insert(number, answer);
        }
        while wait && !self.early.contains_key(&self.next_out) && self.receive() {}
        let answer = self.early.remove(&self.next_out)?;
        self.next_out += 1;
        Some(answer)
    }
}

impl Checker for ExecChecker {
    fn check(&mut self, view: &View<'_>) -> Answer {
        self.hand_in(view);
        self.next(true).unwrap_or_else(|| Err(Fault("a verdict is missing".to_owned())))
    }
}

impl Drop for ExecChecker {
    fn drop(&mut self) {
        self.jobs = None;
        for worker in self.workers.drain(..) {
            // One that panicked has said so itself.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests;
