//! Guest checker: has a program judge crash states in a guest that is brought back for each.
//!
//! It judges what only a kernel can make sense of: a file system, a driver, a program as it will
//! really run. The guest boots once ([`Template`]); each state gets a copy of it, with the image as
//! its NVDIMM, and no copy outlives its verdict. A guest that does not come back is a fault, never
//! a verdict.

use std::error::Error as _;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crash::checker::{Checker, Fault, Verdict, View};
use crash::marker::Marker;

use crate::command::{Command, Exit, ExitCode};
use crate::error::Error;
use crate::guest::Guest;
use crate::nvdimm::{Mode, Nvdimm};
use crate::template::Template;

/// Where a file system of the image is mounted.
const MOUNTED: &str = "/mnt";

/// What mount(8) says if the kernel does not take the file system; whatever else it says is no
/// matter of the image.
const MOUNT_FAILED: ExitCode = ExitCode::Code(32);

/// Judges crash states by a program in a guest.
#[derive(Debug)]
pub struct GuestChecker<'a> {
    template: &'a Template,
    script: String,
    limit: Duration,
    dir: PathBuf,
    judged: u32,
    cpu_time: Duration,
}

impl<'a> GuestChecker<'a> {
    /// `script` is for the guest's shell: exit status 0 is good, 1 is bad. `{}` in it stands for
    /// `/dev/dax0.0`, or, if the image is an fsdax namespace, for the folder where its file system
    /// is mounted with `-o dax`. It reads the markers before the crash from its standard input, one
    /// JSON object a line, and has this much time. `dir` becomes the guest's folder.
    pub fn new(template: &'a Template, script: &str, limit: Duration, dir: &Path) -> Self {
        let (script, dir) = (script.to_owned(), dir.to_owned());
        Self { template, script, limit, dir, judged: 0, cpu_time: Duration::ZERO }
    }

    /// How many states were judged.
    pub fn judged(&self) -> u32 {
        self.judged
    }

    /// User and system time of QEMU for a state, in seconds, on average.
    pub fn cpu_seconds_per_state(&self) -> f64 {
        self.cpu_time.as_secs_f64() / f64::from(self.judged.max(1))
    }

    fn judge(&mut self, view: &View<'_>) -> Result<Verdict, Fault> {
        let fault = |error| Fault(format!("checker {:?}: {}", self.script, whole(&error)));
        let guest = self.bring_back(view.image).map_err(fault)?;
        let verdict = self.ask(&guest, view.markers);
        self.cpu_time += guest.power_fail().cpu_time();
        self.judged += 1;
        verdict
    }

    fn bring_back(&self, image: &[u8]) -> crate::Result<Guest> {
        let nvdimm = Nvdimm::of_image(image, self.template.places())?;
        // What the last copy said is of interest only while it is the last.
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io("clear", &self.dir, error))
            }
            _ => self.template.restore(nvdimm, &self.dir),
        }
    }

    fn ask(&self, guest: &Guest, markers: &[Marker]) -> Result<Verdict, Fault> {
        let mode = guest.nvdimms()[0].mode();
        let place = match mode {
            Mode::Devdax => mode.device(),
            Mode::Fsdax => MOUNTED,
        };
        if mode == Mode::Fsdax {
            let mount = Command::new("mount").args(["-o", "dax", mode.device(), MOUNTED]);
            let exit = self.run(guest, &mount)?;
            if exit.code == MOUNT_FAILED {
                return Ok(Verdict::Bad(said(&exit)));
            }
            if !exit.success() {
                return Err(self.no_verdict(&exit));
            }
        }
        let script = self.script.replace("{}", place);
        let exit = self.run(guest, &Command::shell(script).stdin(lines(markers)))?;
        match exit.code {
            ExitCode::Code(0) => Ok(Verdict::Good),
            ExitCode::Code(1) => Ok(Verdict::Bad(said(&exit))),
            _ => Err(self.no_verdict(&exit)),
        }
    }

    fn run(&self, guest: &Guest, command: &Command) -> Result<Exit, Fault> {
        let exit = guest.run(&command.clone().timeout(self.limit));
        exit.map_err(|error| Fault(format!("checker {:?}: {}", self.script, whole(&error))))
    }

    fn no_verdict(&self, exit: &Exit) -> Fault {
        let how = match exit.code {
            ExitCode::Timeout => format!("no verdict within {:?}", self.limit),
            code => format!("no verdict: {code}"),
        };
        let said = said(exit);
        let end = if said.is_empty() { said } else { format!(": {said}") };
        Fault(format!("checker {:?}: {how}{end}", self.script))
    }
}

impl Checker for GuestChecker<'_> {
    fn check(&mut self, view: &View<'_>) -> Result<Verdict, Fault> {
        self.judge(view)
    }
}

/// What a checker wrote, for people.
fn said(exit: &Exit) -> String {
    [exit.text(), exit.error_text()].concat().trim().to_owned()
}

fn lines(markers: &[Marker]) -> Vec<u8> {
    let line =
        |marker| serde_json::to_string(marker).expect("a marker is numbers and words") + "\n";
    markers.iter().map(line).collect::<String>().into_bytes()
}

fn whole(error: &Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
