//! Rig: what a case is given: a folder, a seed, guests, and a way to report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use crate::case::Case;
use crate::outcome::{Figures, TimedOut};
use crate::runner::Message;
use crate::seed::Seed;
use crate::world::World;

/// How many lines of a console a failure shows.
const CONSOLE_LINES: usize = 20;

/// What a case is given.
#[derive(Debug)]
pub struct Rig {
    case: Case,
    world: Arc<World>,
    dir: PathBuf,
    seed: Seed,
    events: Sender<Message>,
    deadline: Instant,
    figures: Figures,
}

impl Rig {
    /// The rig of one case; its folder is made when something is put there.
    pub fn new(case: &Case, world: Arc<World>, seed: Seed, events: Sender<Message>) -> Self {
        let dir = world.case_dir(case.name);
        let deadline = Instant::now() + case.limit;
        Self { case: *case, world, dir, seed, events, deadline, figures: Figures::new() }
    }

    /// Where the case leaves its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The number that fixes the case's choices.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// When the case counts as hanging.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What is left of the case's time.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Tells whoever watches what the case does next.
    pub fn step(&self, what: impl Into<String>) {
        // Nobody watches an inner case, and a run that was cut short has stopped listening.
        let _ = self.events.send(Message::Step(what.into()));
    }

    /// Reports a figure under one of the names that the README lists.
    pub fn figure(&mut self, name: &'static str, value: f64) {
        self.figures.insert(name, value);
    }

    /// Waits for something that never comes; ends with the case's time.
    ///
    /// # Errors
    /// Always; [`TimedOut`] unless the run is cut short before.
    pub fn wait_in_vain(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.world.wait_for_cut(self.time_left()), "the run was cut short");
        let what = "something that never comes".to_owned();
        Err(TimedOut { limit: self.case.limit, what }.into())
    }

    /// The last lines of the console of the guest that booted last.
    pub fn console_tail(&self) -> Vec<String> {
        console_tail(&self.dir)
    }

    /// Holds a failed case's guest while the user looks at it, if asked to.
    pub fn hold(&mut self) {}

    /// Ends the case: guests die, large files go unless the case failed and they are to be kept.
    pub fn close(self, _passed: bool) -> Figures {
        self.figures
    }

    /// The world that the case lives in.
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }
}

/// The last lines of the newest `console.log` below a case's folder.
pub(crate) fn console_tail(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let logs =
        entries.map(|entry| entry.path().join("console.log")).chain([dir.join("console.log")]);
    let changed = |log: &PathBuf| log.metadata().and_then(|meta| meta.modified()).ok();
    let newest = logs.filter(|log| log.is_file()).max_by_key(changed);
    let bytes = newest.and_then(|log| std::fs::read(log).ok()).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    lines[lines.len().saturating_sub(CONSOLE_LINES)..].to_vec()
}
