//! World: what all cases of a run share: where things lie, the image, the programs, the modules.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What all cases of a run share.
#[derive(Debug)]
pub struct World {
    options: Options,
    /// Whether the run was cut short, and a way to wait for that.
    cut_short: (Mutex<bool>, Condvar),
}

/// How a run is set up; everything comes from the command line or the environment.
#[derive(Clone, Debug)]
pub struct Options {
    /// The root of the project.
    pub root: PathBuf,
    /// Where this run, and no other, leaves its files.
    pub run_dir: PathBuf,
    /// Whether a failed case holds its guest and keeps large files.
    pub keep_on_fail: bool,
}

impl World {
    /// A world in which nothing is built yet.
    pub fn new(options: Options) -> Self {
        Self { options, cut_short: (Mutex::new(false), Condvar::new()) }
    }

    /// How the run is set up.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Ends every guest and every wait: the run is cut short.
    pub fn cut_short(&self) {
        *self.cut_short.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.cut_short.1.notify_all();
        vm::process::kill_all();
    }

    /// Waits until the run is cut short; false if the time passes first.
    pub fn wait_for_cut(&self, within: Duration) -> bool {
        let (lock, bell) = &self.cut_short;
        let cut = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = bell.wait_timeout_while(cut, within, |cut| !*cut);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Where a case leaves its files.
    pub fn case_dir(&self, case: &str) -> PathBuf {
        self.options.run_dir.join(case.replace("::", "-"))
    }
}
