//! Guest: a running machine whose agent answers.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent_proto::{Frame, VERSION};
use crash::CrashState;

use crate::accel::Accel;
use crate::command::{Command, Exit};
use crate::error::{Failure, Result};
use crate::machine::{Machine, Origin, Ram, Silence};
use crate::nvdimm::Nvdimm;
use crate::power::PowerLost;
use crate::running::{Event, Running};
use crate::spec::Spec;

/// How long the guest may take to shut down in order.
const SHUT_DOWN_TIME: Duration = Duration::from_mins(1);

/// Console words that a healthy kernel never says; unlike fatal lines the guest goes on.
const WARNINGS: [&str; 7] = [
    "WARNING: CPU:",
    "BUG: ",
    "Call Trace:",
    "INFO: lockdep",
    "INFO: possible ",
    "Out of memory:",
    "detected buffer overflow",
];

/// The word of the kernel's command line with the rate of its clock.
const CLOCK: &str = "tsc_early_khz=";

/// Two emulated guests that calibrate their clocks at the same time on a small host disturb each
/// other; only the boot is done one at a time.
static ONE_BOOT_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A running machine. Dropping it kills it.
#[derive(Debug)]
pub struct Guest {
    pub(crate) machine: Owner,
    pub(crate) spec: Spec,
    pub(crate) kernel: String,
    pub(crate) boot_id: String,
}

/// Ends the machine with the guest, although running programs may still hold the machine.
#[derive(Debug)]
pub(crate) struct Owner(pub(crate) Arc<Machine>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.kill();
    }
}

impl Spec {
    /// Starts the machine and waits for its agent.
    ///
    /// # Errors
    /// [`crate::Error::NoSpace`] for its memory, [`crate::Error::Missing`] without QEMU,
    /// [`crate::Error::Guest`] that tells a panic from a hang, a timeout and a QEMU that died.
    pub fn boot(mut self) -> Result<Guest> {
        self.tell_clock();
        let _turn = (self.accel == Accel::Tcg)
            .then(|| ONE_BOOT_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner));
        // From here on an error ends QEMU.
        let machine = Owner(Machine::start(&self, Origin::Boot)?);
        machine.0.negotiate()?;
        let (kernel, boot_id) = greeting(&machine.0, self.boot_timeout)?;
        Ok(Guest { machine, spec: self, kernel, boot_id })
    }
}

impl Spec {
    /// An emulated guest has the host's time stamp counter; if it has to find out the rate while
    /// the host is busy it may be wrong by a factor, and with it all time in the guest.
    fn tell_clock(&mut self) {
        let told = self.kernel_args.iter().any(|word| word.starts_with(CLOCK));
        if self.accel == Accel::Tcg
            && !told
            && let Some(khz) = crate::host::tsc_khz()
        {
            self.kernel_args.push(format!("{CLOCK}{khz}"));
        }
    }
}

fn greeting(machine: &Machine, time: Duration) -> Result<(String, String)> {
    let doing = "boot";
    match machine.hear(doing, time)? {
        Frame::Hello { proto: VERSION, kernel, boot_id } => {
            machine.greeted();
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            Ok((text(kernel), text(boot_id)))
        }
        other => {
            let why = format!("protocol {VERSION} expected, got {other:?}");
            Err(machine.guest_error(doing, Failure::Agent(why)))
        }
    }
}

impl Guest {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its kernel's release, as `uname -r` prints it.
    pub fn kernel(&self) -> &str {
        &self.kernel
    }

    /// The kernel's id of this boot; another one after every boot.
    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// Its private folder on the host.
    pub fn dir(&self) -> &Path {
        &self.spec.dir
    }

    /// Its NVDIMMs in plug order (`/dev/dax0.0` or `/dev/pmem0` is the first).
    pub fn nvdimms(&self) -> &[Nvdimm] {
        &self.spec.nvdimms
    }

    /// Runs a program to its end. A program that fails is no error of this call.
    ///
    /// # Errors
    /// [`crate::Error::Guest`]: the program could not be started, or the guest panicked, rebooted,
    /// hangs, is lost or gives no answer.
    pub fn run(&self, command: &Command) -> Result<Exit> {
        let running = Running::start(self.machine.0.clone(), command, !command.input().is_empty())?;
        if !command.input().is_empty() {
            running.write(command.input())?;
            running.close_stdin()?;
        }
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            match running.recv(running.patience())? {
                Event::Stdout(bytes) => stdout.extend(bytes),
                Event::Stderr(bytes) => stderr.extend(bytes),
                Event::Exit(code) => return Ok(Exit { code, stdout, stderr }),
            }
        }
    }

    /// Runs a program that must succeed; otherwise its output is in the error.
    ///
    /// # Errors
    /// As [`Guest::run`], and [`Failure::Agent`] for an end other than exit code 0.
    pub fn run_ok(&self, command: &Command) -> Result<Exit> {
        let exit = self.run(command)?;
        if exit.success() {
            return Ok(exit);
        }
        let said = [exit.error_text(), exit.text()].concat();
        let why = format!("{}: {}", exit.code, said.trim());
        Err(self.machine.0.guest_error(&format!("run {}", command.line()), Failure::Agent(why)))
    }

    /// Starts a program and returns at once. Its standard input is open.
    ///
    /// # Errors
    /// As [`Guest::run`].
    pub fn spawn(&self, command: &Command) -> Result<Running> {
        Running::start(self.machine.0.clone(), command, true)
    }

    /// Writes a file in the guest; missing folders are made. The content is checked by checksum,
    /// and the file appears only when it is complete.
    ///
    /// # Errors
    /// As [`Guest::run`].
    pub fn put(&self, content: &[u8], path: impl AsRef<Path>, mode: u32) -> Result<()> {
        crate::transfer::put(&self.machine.0, content, path.as_ref(), mode)
    }

    /// Reads a file of the guest. The content is checked by checksum.
    ///
    /// # Errors
    /// As [`Guest::run`].
    pub fn get(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        crate::transfer::get(&self.machine.0, path.as_ref())
    }

    /// Stops the guest's CPUs: its memory does not change until [`Guest::resume`], except by a
    /// NIC's backend.
    ///
    /// # Errors
    /// [`crate::Error::Guest`] if QEMU is gone.
    pub fn pause(&self) -> Result<()> {
        self.machine.0.pause()
    }

    /// Lets the guest's CPUs run again.
    ///
    /// # Errors
    /// [`crate::Error::Guest`] if QEMU is gone.
    pub fn resume(&self) -> Result<()> {
        self.machine.0.execute("cont").map(drop)
    }

    /// The crash state that a loss of power would leave of its first NVDIMM now, as
    /// [`PowerLost::crash_state`]. The guest's CPUs stand still meanwhile.
    ///
    /// # Errors
    /// As there, and [`crate::Error::Guest`] if QEMU is gone.
    pub fn crash_state(&self) -> Result<Option<(CrashState, Vec<u8>)>> {
        self.pause()?;
        let state = self.spec.crash_state();
        self.resume()?;
        state
    }

    /// A name under which this process can open the guest's memory (a file shared with QEMU);
    /// none if the guest was restored: then only QEMU has it.
    pub fn ram_path(&self) -> Option<PathBuf> {
        match &self.machine.0.ram {
            Ram::Shared(file) => Some(format!("/proc/self/fd/{}", file.as_raw_fd()).into()),
            Ram::Private(_) => None,
        }
    }

    /// The last lines of its console, with the seconds since QEMU's start.
    pub fn console_tail(&self, count: usize) -> String {
        self.machine.0.console_tail(count)
    }

    /// Console lines that a healthy kernel never says.
    pub fn warnings(&self) -> Vec<String> {
        self.machine.0.console_lines_with(&WARNINGS)
    }

    /// User and system time of QEMU so far, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.machine.0.cpu_time().as_secs_f64()
    }

    /// QEMU's process id, for tests that kill it from outside.
    pub fn qemu_pid(&self) -> u32 {
        self.machine.0.pid()
    }

    /// Cuts the power: QEMU is killed at once. What the NVDIMM's file holds is all that is left.
    pub fn power_fail(self) -> PowerLost {
        self.machine.0.kill();
        PowerLost::new(self.spec, self.machine.0.cpu_time())
    }

    /// Shuts down in order: programs ended, file systems synced and unmounted, power off.
    ///
    /// # Errors
    /// [`crate::Error::Guest`] if the guest does not get there within a minute; it is dead then.
    ///
    /// # Panics
    /// Never: the one frame that is sent is short.
    pub fn shut_down(self) -> Result<PowerLost> {
        let (machine, doing) = (&self.machine.0, "shut down");
        let start = Instant::now();
        let frame = Frame::PowerOff.encode().expect("a frame without fields is short");
        machine.channel.send(&frame).map_err(|_| machine.error(doing, Silence::Closed))?;
        if machine.wait_end(SHUT_DOWN_TIME)? {
            let cpu_time = machine.cpu_time();
            return Ok(PowerLost::new(self.spec, cpu_time));
        }
        let late = start.elapsed() >= SHUT_DOWN_TIME;
        let silence = if late { Silence::Deadline(SHUT_DOWN_TIME) } else { Silence::Closed };
        Err(machine.error(doing, silence))
    }

    /// Shuts down in order and boots again.
    ///
    /// # Errors
    /// As [`Guest::shut_down`] and [`Spec::boot`].
    pub fn reboot(self) -> Result<Self> {
        self.shut_down()?.boot()
    }
}
