//! Machine: one running QEMU with its console, monitor and agent channel; what a guest stands on.

mod migration;

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agent_proto::Frame;
use serde_json::Value;

use crate::argv::{Wiring, argv};
use crate::channel::{Channel, NO_ID};
use crate::console::Console;
use crate::error::{Error, Failure, GuestError, Result};
use crate::evidence::{Evidence, Fatal};
use crate::process::{Child, Program, Sink};
use crate::qmp::{NoReply, Qmp};
use crate::spec::Spec;
use crate::watch::{Cut, Watch};

/// How many console lines an error shows.
const SHOWN: usize = 30;

/// How long QEMU may take to answer a command, and to end after its guest did.
pub(crate) const QEMU_TIME: Duration = Duration::from_secs(30);

/// What is done while the guest is to lose its power at a marker.
const WAIT_CUT: &str = "wait for a loss of power at a marker";

/// One running QEMU.
#[derive(Debug)]
pub(crate) struct Machine {
    name: String,
    child: Mutex<Child>,
    console: Console,
    evidence: Arc<Evidence>,
    qmp: Qmp,
    pub(crate) channel: Channel,
    readers: Mutex<Vec<JoinHandle<()>>>,
    /// What the agent says unasked or to nobody in particular.
    heard: Mutex<Receiver<Frame>>,
    /// How a migration goes, by QEMU's words.
    migration: Mutex<Receiver<String>>,
    pub(crate) ram: Ram,
    stderr: PathBuf,
    pub(crate) watch: Option<Watch>,
}

/// Why a wait for the guest ended without its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Silence {
    /// The channel is closed.
    Closed,
    /// So much time has passed.
    Deadline(Duration),
}

/// Where a machine begins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin<'a> {
    /// With its firmware.
    Boot,
    /// Where another one was saved.
    Template {
        /// That one's memory.
        ram: &'a File,
        /// The last id that its agent has heard.
        last_id: u32,
    },
}

/// The file behind a guest's memory. It has no name, so this keeps it.
#[derive(Debug)]
pub(crate) enum Ram {
    /// The guest stores into it.
    Shared(File),
    /// The guest loads from it; what it stores only QEMU has.
    Private(File),
}

/// The two ends of our sockets to QEMU.
struct Sockets {
    console: (UnixStream, UnixStream),
    qmp: (UnixStream, UnixStream),
    agent: (UnixStream, UnixStream),
}

impl Machine {
    /// Starts QEMU.
    pub(crate) fn start(spec: &Spec, origin: Origin<'_>) -> Result<Arc<Self>> {
        spec.check()?;
        let dir = &spec.dir;
        fs::create_dir_all(dir).map_err(|error| Error::io("create", dir, error))?;
        spec.watch.as_ref().map_or(Ok(()), Watch::prepare)?;
        let (ram, last_id) = match origin {
            Origin::Boot => {
                (Ram::Shared(crate::host::memory_file(spec.ram, &spec.ram_places)?), NO_ID)
            }
            Origin::Template { ram, last_id } => (Ram::Private(shared(ram, dir)?), last_id),
        };
        let sockets = Sockets::new()?;
        let stderr = dir.join("qemu.log");
        let program = program(spec, &ram, &sockets, &stderr)?;
        let (channel, heard, agent_thread) = Channel::start(sockets.agent.0, last_id)?;
        let evidence = Arc::new(Evidence::default());
        let (console, console_thread) = Console::start(
            sockets.console.0,
            &dir.join("console.log"),
            on_line(evidence.clone(), channel.clone()),
        )?;
        let (tell, migration) = mpsc::channel();
        let (qmp, qmp_thread) = Qmp::start(
            sockets.qmp.0,
            &dir.join("qmp.log"),
            on_event(evidence.clone(), channel.clone(), tell),
        )?;
        let theirs = [sockets.console.1, sockets.qmp.1, sockets.agent.1];
        let program = theirs.into_iter().fold(program, |p, end| p.inherit(end.into()));
        let child = Mutex::new(program.start()?);
        let readers = Mutex::new(vec![agent_thread, console_thread, qmp_thread]);
        let (name, heard, migration) =
            (spec.name.clone(), Mutex::new(heard), Mutex::new(migration));
        Ok(Arc::new(Self {
            name,
            child,
            console,
            evidence,
            qmp,
            channel,
            readers,
            heard,
            migration,
            ram,
            stderr,
            watch: spec.watch.clone(),
        }))
    }

    /// Makes the monitor ready for commands.
    pub(crate) fn negotiate(&self) -> Result<()> {
        let reply = self.qmp.negotiate(Instant::now() + QEMU_TIME);
        reply.map_err(|why| self.refused("start QEMU", why))
    }

    /// The agent has said hello: from now on a QEMU that ends is a lost VM.
    pub(crate) fn greeted(&self) {
        self.evidence.greeted();
    }

    /// The next frame that the agent sends to nobody in particular.
    pub(crate) fn hear(&self, doing: &str, time: Duration) -> Result<Frame> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.recv_timeout(time).map_err(|why| match why {
            RecvTimeoutError::Timeout => self.error(doing, Silence::Deadline(time)),
            RecvTimeoutError::Disconnected => self.error(doing, Silence::Closed),
        })
    }

    /// Has the agent answer; what it was asked before is done then.
    pub(crate) fn ping(&self, doing: &str, time: Duration) -> Result<()> {
        // Differs from what the agent of a template was asked.
        let token = self.pid().into();
        let frame = Frame::Ping(token).encode().expect("a frame with a number is short");
        self.channel.send(&frame).map_err(|_| self.error(doing, Silence::Closed))?;
        match self.hear(doing, time)? {
            Frame::Pong(answer) if answer == token => Ok(()),
            other => {
                let why = format!("an answer to ping {token} expected, got {other:?}");
                Err(self.guest_error(doing, Failure::Agent(why)))
            }
        }
    }

    /// Executes a QMP command without arguments.
    pub(crate) fn execute(&self, command: &str) -> Result<Value> {
        self.execute_with(command, &Value::Null)
    }

    /// Executes a QMP command.
    pub(crate) fn execute_with(&self, command: &str, arguments: &Value) -> Result<Value> {
        let reply = self.qmp.execute(command, arguments, Instant::now() + QEMU_TIME);
        reply.map_err(|why| self.refused(&format!("execute QMP {command}"), why))
    }

    /// Stops the guest's CPUs.
    pub(crate) fn pause(&self) -> Result<()> {
        self.evidence.expect_stop();
        self.execute("stop").map(drop)
    }

    /// The error for a wait that ended without an answer, with the reason if there is one to find.
    pub(crate) fn error(&self, doing: &str, silence: Silence) -> Error {
        let failure = match silence {
            Silence::Closed => self.cause_of_end(),
            Silence::Deadline(after) => self.evidence.failure().unwrap_or(Failure::Timeout(after)),
        };
        self.guest_error(doing, failure)
    }

    /// An error about this guest.
    pub(crate) fn guest_error(&self, doing: &str, failure: Failure) -> Error {
        let (guest, doing) = (self.name.clone(), doing.to_owned());
        let console = self.console.tail(SHOWN);
        Error::Guest(Box::new(GuestError { guest, doing, failure, console }))
    }

    /// Waits until the guest has lost its power at a marker.
    pub(crate) fn wait_cut(&self, time: Duration) -> Result<()> {
        let ended = self.child().wait(Instant::now() + time)?.is_some();
        if !ended {
            // An observer that could not keep what it saw has said so.
            self.cut()?;
            return Err(self.error(WAIT_CUT, Silence::Deadline(time)));
        }
        match self.cut()? {
            Some(_) => Ok(()),
            None => Err(self.error(WAIT_CUT, Silence::Closed)),
        }
    }

    fn cut(&self) -> Result<Option<Cut>> {
        Ok(self.watch.as_ref().map(Watch::cut).transpose()?.flatten())
    }

    /// Waits until QEMU has ended by itself; whether the guest asked for that.
    pub(crate) fn wait_end(&self, time: Duration) -> Result<bool> {
        let ended = self.child().wait(Instant::now() + time)?.is_some();
        if ended {
            self.join_readers();
        }
        Ok(ended && self.evidence.ended_by_itself())
    }

    /// Ends QEMU now, as a power loss does.
    pub(crate) fn kill(&self) {
        self.channel.close();
        self.child().kill();
        self.join_readers();
    }

    /// User and system time of QEMU.
    pub(crate) fn cpu_time(&self) -> Duration {
        self.child().cpu_time()
    }

    /// QEMU's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child().pid()
    }

    /// The last lines of the console.
    pub(crate) fn console_tail(&self, count: usize) -> String {
        self.console.tail(count)
    }

    /// Console lines with one of these words.
    pub(crate) fn console_lines_with(&self, words: &[&str]) -> Vec<String> {
        self.console.lines_with(words)
    }

    fn cause_of_end(&self) -> Failure {
        if let Some(fault) = self.channel.fault() {
            return Failure::Lost(format!("the agent's bytes make no sense: {fault}"));
        }
        if let Some(failure) = self.evidence.hang() {
            return failure;
        }
        if let Some(status) = self.stopped() {
            return Failure::Lost(format!("QEMU has stopped the guest: {status}"));
        }
        let ended = self.child().wait(Instant::now() + QEMU_TIME);
        let Ok(Some(status)) = ended else {
            let failure = self.evidence.failure();
            return failure.unwrap_or(Failure::Lost("the agent's channel is closed".into()));
        };
        self.join_readers();
        // What the observer could not tell, a status tells.
        let cut = || self.cut().ok().flatten().map(Failure::PowerLost);
        self.evidence.failure().or_else(cut).unwrap_or_else(|| self.qemu_died(status))
    }

    /// QEMU's run state, if QEMU stopped the guest unasked and lives on.
    fn stopped(&self) -> Option<String> {
        if !self.evidence.stopped() {
            return None;
        }
        let deadline = Instant::now() + QEMU_TIME;
        let status = self.qmp.execute("query-status", &Value::Null, deadline).ok()?;
        let status = status["status"].as_str()?.to_owned();
        // "shutdown" and the like are ways to QEMU's end, which says more.
        (status == "internal-error" || status == "io-error").then_some(status)
    }

    fn qemu_died(&self, status: ExitStatus) -> Failure {
        let stderr = fs::read_to_string(&self.stderr).unwrap_or_default();
        let lines: Vec<&str> = stderr.lines().collect();
        let tail = lines[lines.len().saturating_sub(5)..].join("; ");
        let text = format!("QEMU ended, {status}: {tail}");
        if self.evidence.guest_ran() { Failure::Lost(text) } else { Failure::Start(text) }
    }

    fn refused(&self, doing: &str, why: NoReply) -> Error {
        match why {
            NoReply::Closed => self.error(doing, Silence::Closed),
            NoReply::Timeout => self.error(doing, Silence::Deadline(QEMU_TIME)),
            NoReply::Refused(words) => {
                let doing = format!("guest {}: {doing}", self.name);
                Error::Program { doing, status: "QEMU refused".into(), stderr: words }
            }
        }
    }

    /// After QEMU's end its sockets are closed, so the readers have come to their end, too.
    fn join_readers(&self) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        // A reader that panicked has said so on stderr; what it read until then stands.
        readers.drain(..).for_each(|reader| drop(reader.join()));
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sockets {
    fn new() -> Result<Self> {
        let pair = || {
            UnixStream::pair()
                .map_err(|source| Error::Io { doing: "create socket pair".into(), source })
        };
        Ok(Self { console: pair()?, qmp: pair()?, agent: pair()? })
    }
}

fn shared(ram: &File, dir: &Path) -> Result<File> {
    ram.try_clone().map_err(|error| Error::io("share RAM file of", dir, error))
}

fn program(spec: &Spec, ram: &Ram, sockets: &Sockets, stderr: &Path) -> Result<Program> {
    let (Ram::Shared(file) | Ram::Private(file)) = ram;
    let given = OwnedFd::from(shared(file, &spec.dir)?);
    let wiring = Wiring {
        // QEMU opens it by this name: the file has no other.
        ram: format!("/proc/self/fd/{}", given.as_raw_fd()).into(),
        restored: matches!(ram, Ram::Private(_)),
        console: sockets.console.1.as_raw_fd(),
        qmp: sockets.qmp.1.as_raw_fd(),
        agent: sockets.agent.1.as_raw_fd(),
    };
    let log = File::create(stderr).map_err(|error| Error::io("create", stderr, error))?;
    let program = Program::new(&spec.qemu).args(argv(spec, &wiring)).inherit(given);
    write_command_line(&program, &spec.dir.join("cmdline.sh"))?;
    Ok(program.stdout(Sink::Null).stderr(Sink::File(log)).oom_score_adj(800))
}

/// For people who look into a failure. Descriptors have to be replaced to run it by hand.
pub(crate) fn write_command_line(program: &Program, path: &Path) -> Result<()> {
    let mut file = File::create(path).map_err(|error| Error::io("create", path, error))?;
    let text = program.line().replace(" -", " \\\n  -");
    writeln!(file, "#!/bin/sh\n# fd= and /proc/self/fd/ name descriptors of the parent.\n{text}")
        .map_err(|error| Error::io("write", path, error))
}

fn on_line(evidence: Arc<Evidence>, channel: Channel) -> crate::console::OnLine {
    Box::new(move |line| {
        if evidence.line(line) == Some(Fatal::Hang) {
            // QEMU would run on; whoever waits for an answer shall know now.
            channel.close();
        }
    })
}

fn on_event(
    evidence: Arc<Evidence>,
    channel: Channel,
    migration: Sender<String>,
) -> crate::qmp::OnEvent {
    Box::new(move |event| {
        if event.name == "MIGRATION" {
            // The receiver lives as long as the machine.
            let _ = migration.send(event.text("status").to_owned());
        }
        evidence.event(&event.name, event.text("reason"));
        if evidence.stopped() {
            channel.close();
        }
    })
}
