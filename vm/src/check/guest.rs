//! Guest: a program judges crash states in guests that are brought back for each.
//!
//! It judges what only a kernel can make sense of: a file system, a driver, a program as it will
//! really run. The guest boots once ([`Template`]); each state gets a copy of it, with the image as
//! its NVDIMM, and no copy outlives its verdict. A guest that does not come back is a fault, never
//! a verdict.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crash::{Checker, Fault, Judges, Verdict, View};

use super::crew::Crew;
use super::{Answer, IMAGE, IMAGE_NAME, MARKERS, environment, lines, verdict};
use crate::command::{Command, Exit, ExitCode};
use crate::guest::Guest;
use crate::nvdimm::{Mode, Nvdimm};
use crate::process::Contained;
use crate::template::Template;

/// Where a file system of the image is mounted.
const MOUNTED: &str = "/mnt";

/// What mount(8) says if the kernel does not take the file system; whatever else it says is no
/// matter of the image.
const MOUNT_FAILED: ExitCode = ExitCode::Code(32);

/// How a checker is run in guests.
#[derive(Clone, Debug)]
pub struct InGuest {
    /// A command line for the guest's `/bin/sh`: `{image}` is `/dev/dax0.0`, or, if the state is an
    /// fsdax namespace, the folder where its file system is mounted with `-o dax`; `{markers}` is
    /// what came before.
    pub command: String,
    /// How long it may take for one state.
    pub limit: Duration,
    /// For the guests' folders; that of one without a verdict stays.
    pub dir: PathBuf,
    /// How many guests live at a time, at least 1.
    pub at_once: usize,
}

/// A checker that is a program in guests.
#[derive(Debug)]
pub struct GuestChecker {
    template: Arc<Template>,
    dir: PathBuf,
    spent: Arc<Mutex<Spent>>,
    crew: Crew<Job, Answer>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    states: u32,
    cpu_time: Duration,
}

/// One state that waits for its verdict.
#[derive(Debug)]
struct Job {
    nvdimm: Nvdimm,
    folder: PathBuf,
    markers: String,
    environment: [(&'static str, String); 2],
}

impl GuestChecker {
    /// Judges in copies of this guest.
    pub fn new(template: &Arc<Template>, options: InGuest) -> Self {
        let spent = Arc::new(Mutex::new(Spent::default()));
        let (template, dir, at_once) = (Arc::clone(template), options.dir.clone(), options.at_once);
        let (source, sum) = (Arc::clone(&template), Arc::clone(&spent));
        let work = move |job| judge(&source, &options, job, &sum);
        Self { template, dir, spent, crew: Crew::new(at_once, work) }
    }

    /// User and system time of QEMU for a state, in seconds, on average.
    pub fn cpu_seconds_per_state(&self) -> f64 {
        let Spent { states, cpu_time } = *self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        cpu_time.as_secs_f64() / f64::from(states.max(1))
    }
}

impl Judges for GuestChecker {
    fn hand_in(&mut self, view: &View<'_>) {
        let number = self.crew.wait_for_room();
        match Nvdimm::of_image(view.image, self.template.places()) {
            Ok(nvdimm) => {
                let folder = self.dir.join(number.to_string());
                let (markers, environment) = (lines(view.markers), environment(view));
                self.crew.hand_in(Job { nvdimm, folder, markers, environment });
            }
            Err(error) => self.crew.answer(Err(verdict::of_error(&error))),
        }
    }

    fn next(&mut self, wait: bool) -> Option<Answer> {
        self.crew.next(wait)
    }
}

impl Checker for GuestChecker {
    fn check(&mut self, view: &View<'_>) -> Answer {
        self.hand_in(view);
        self.next(true).unwrap_or_else(|| Err(Fault("a verdict is missing".to_owned())))
    }
}

/// Brings a guest back for one state, and has the program judge it there.
fn judge(template: &Template, options: &InGuest, job: Job, spent: &Mutex<Spent>) -> Answer {
    let Job { nvdimm, folder, markers, environment } = job;
    let guest = template.restore(nvdimm, &folder).map_err(|error| verdict::of_error(&error))?;
    let answer = ask(&guest, options, &markers, environment);
    let cpu_time = guest.power_fail().cpu_time();
    {
        let mut spent = spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.states += 1;
        spent.cpu_time += cpu_time;
    }
    if answer.is_ok() {
        // What is left of its folder harms no other state.
        let _ = fs::remove_dir_all(&folder);
    }
    answer
}

fn ask(
    guest: &Guest,
    options: &InGuest,
    markers: &str,
    environment: [(&'static str, String); 2],
) -> Answer {
    let mode = guest.nvdimms()[0].mode();
    let place = match mode {
        Mode::Devdax => mode.device(),
        Mode::Fsdax => {
            if let Some(why) = mount(guest, options.limit)? {
                return Ok(Verdict::Bad(why));
            }
            MOUNTED
        }
    };
    let line = options.command.replace(IMAGE, place).replace(MARKERS, "/dev/stdin");
    let command = Command::new("/bin/sh").args(["-c", &line]).stdin(markers);
    let told =
        environment.into_iter().fold(command, |command, (name, value)| command.env(name, value));
    let command = told.env(IMAGE_NAME, place).timeout(options.limit);
    verdict::of(guest.run(&command).map(contained), options.limit)
}

/// Mounts the image's file system; why the kernel does not take it, if so.
fn mount(guest: &Guest, limit: Duration) -> Result<Option<String>, Fault> {
    let device = Mode::Fsdax.device();
    let command = Command::new("mount").args(["-o", "dax", device, MOUNTED]).timeout(limit);
    let exit = guest.run(&command).map_err(|error| verdict::of_error(&error))?;
    let (code, said) = (exit.code, contained(exit).output);
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    match code {
        ExitCode::Code(0) => Ok(None),
        MOUNT_FAILED => Ok(Some(said)),
        _ => Err(Fault(format!("the checker gave no verdict: {}: {code}: {said}", command.line()))),
    }
}

/// A program's end in a guest, told as one on the host.
fn contained(exit: Exit) -> Contained {
    let status = match exit.code {
        // As wait(2) has it.
        ExitCode::Code(code) => Some(ExitStatus::from_raw(code << 8)),
        ExitCode::Signal(signal) => Some(ExitStatus::from_raw(signal)),
        ExitCode::Timeout => None,
    };
    Contained { status, output: [exit.stdout, exit.stderr].concat() }
}
