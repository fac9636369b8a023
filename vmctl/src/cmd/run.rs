//! Command `run`: one program in a guest of its own.

use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::Signal;
use nix::unistd::{getpgrp, tcgetpgrp};
use vm::{Command, Event, ExitCode, Input, Running};

use crate::cli::guest::{HOME, RunArgs, in_guest};
use crate::elf::Wants;
use crate::exit::{Exit, Usage};
use crate::report::progress::Progress;
use crate::session::{NotStarted, Session};
use crate::transfer;

use super::gate;

/// As good as for ever, and still no overflow.
pub(super) const FOREVER: Duration = Duration::from_hours(10 * 365 * 24);

/// The status of a program that a shell cannot start, and a loader's that misses a library.
const NOT_STARTED: u8 = 127;

/// The program that is to run.
pub(super) enum Program {
    /// One of the guest's, by name.
    OfGuest,
    /// A file of this machine.
    File { path: PathBuf, mode: u32, bytes: Vec<u8> },
}

/// Runs a program in a guest; its exit status.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<u8> {
    let program = Program::find(Path::new(&args.command[0]))?;
    gate::pass(&args.host)?;
    let mut progress = Progress::new(args.guest.quiet);
    let session = match Session::open(&args.guest, &args.host, &mut progress) {
        Ok(session) => session,
        Err(error) => {
            progress.close();
            return Err(error);
        }
    };
    let played = play(args, &program, &session, progress);
    let copied = match &played {
        Ok(_) => args.guest.get.iter().try_for_each(|copy| transfer::get(session.guest(), copy)),
        Err(_) => Ok(()),
    };
    let status = session.end(played)?;
    if let Err(error) = copied {
        // A program that failed may well have left nothing to copy.
        eprintln!("error: {error:#}");
        return Ok(if status == 0 { Exit::Infrastructure as u8 } else { status });
    }
    Ok(status)
}

/// Runs the program; its exit status.
pub(super) fn play(
    args: &RunArgs,
    program: &Program,
    session: &Session,
    mut progress: Progress,
) -> anyhow::Result<u8> {
    let guest = session.guest();
    let mut first = args.command[0].clone();
    if let Program::File { path, mode, bytes } = program {
        let to = in_guest(path.file_name().unwrap_or_default());
        progress.step("copying the program in");
        guest.put(bytes, &to, *mode).context("copy the program in")?;
        first = to.into_os_string();
    }
    progress.close();
    let command = Command::new(first).args(&args.command[1..]).cwd(HOME);
    let ended = guest
        .spawn(&command.timeout(args.timeout.unwrap_or(FOREVER)))
        .map_err(anyhow::Error::from)
        .and_then(|running| stream(&running, stdin_is_ours().then(|| running.input())));
    let why = || program.missing(args, session.tree());
    let code = ended.map_err(|error| match refusal(&error) {
        Some(words) => NotStarted(why().unwrap_or(words)).into(),
        None => error,
    })?;
    let status = status(code);
    if status == NOT_STARTED
        && let Some(why) = why()
    {
        eprintln!("vmctl: {why}");
    }
    if let Some(note) = ambiguity(code) {
        eprintln!("vmctl: {note}");
    }
    Ok(status)
}

impl Program {
    pub(super) fn find(name: &Path) -> anyhow::Result<Self> {
        if !name.as_os_str().as_bytes().contains(&b'/') {
            if name.is_file() {
                let name = name.display();
                eprintln!("vmctl: {name} means the guest's own; the file here is ./{name}");
            }
            return Ok(Self::OfGuest);
        }
        let wrong = |why: &str| Usage(format!("{}: {why}", name.display()));
        let metadata = std::fs::metadata(name).map_err(|error| wrong(&error.to_string()))?;
        let mode = metadata.permissions().mode() & 0o777;
        if !metadata.is_file() || mode & 0o111 == 0 {
            return Err(wrong("no program: not a file that may be executed").into());
        }
        let bytes = std::fs::read(name).with_context(|| format!("read {}", name.display()))?;
        Ok(Self::File { path: name.to_owned(), mode, bytes })
    }

    /// Its bytes, if it is a file of this machine.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::OfGuest => None,
            Self::File { bytes, .. } => Some(bytes),
        }
    }

    /// What the guest lacks for this program.
    fn missing(&self, args: &RunArgs, tree: &Path) -> Option<String> {
        let Self::File { bytes, .. } = self else { return None };
        let names = args.guest.put.iter().flat_map(|copy| [&copy.host, &copy.guest]);
        let names = names.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        Wants::of(bytes).missing(tree, &names.collect::<Vec<_>>())
    }
}

/// The words of a guest that is fine, but could not start the program.
fn refusal(error: &anyhow::Error) -> Option<String> {
    let of_guest = error.chain().find_map(|cause| cause.downcast_ref::<vm::Error>());
    match of_guest.and_then(vm::Error::failure) {
        Some(vm::Failure::Agent(words)) => Some(words.clone()),
        _ => None,
    }
}

/// Whether reading standard input cannot stop us: a background job must not read its terminal.
pub(super) fn stdin_is_ours() -> bool {
    let stdin = std::io::stdin();
    !stdin.is_terminal() || tcgetpgrp(&stdin).is_ok_and(|group| group == getpgrp())
}

/// Passes standard input on and both outputs back until the program ends.
pub(super) fn stream(running: &Running, input: Option<Input>) -> anyhow::Result<ExitCode> {
    match input {
        // Reading may wait for ever; the thread ends with the process.
        Some(input) => drop(std::thread::spawn(move || feed(input))),
        None => running.input().close()?,
    }
    let (mut stdout, mut stderr) = (Some(std::io::stdout()), Some(std::io::stderr()));
    let deadline = Instant::now() + FOREVER;
    loop {
        let kept = match running.recv(deadline)? {
            Event::Stdout(bytes) => pass_on(&bytes, &mut stdout).context("write standard output"),
            Event::Stderr(bytes) => pass_on(&bytes, &mut stderr).context("write standard error"),
            Event::Exit(code) => return Ok(code),
        };
        if !kept? {
            // As if the program itself had written to the closed pipe.
            running.kill(Signal::SIGPIPE as i32)?;
        }
    }
}

/// Writes what the program wrote; false when its reader has just gone.
fn pass_on<W: Write>(bytes: &[u8], to: &mut Option<W>) -> std::io::Result<bool> {
    let Some(writer) = to else { return Ok(true) };
    match writer.write_all(bytes).and_then(|()| writer.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            *to = None;
            Ok(false)
        }
        result => result.map(|()| true),
    }
}

fn feed(input: Input) {
    let (mut stdin, mut bytes) = (std::io::stdin().lock(), vec![0; 32 << 10]);
    loop {
        match stdin.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // What cannot be read has ended. A guest that is gone is told elsewhere.
            Ok(0) | Err(_) => return drop(input.close()),
            Ok(len) if input.write(&bytes[..len]).is_ok_and(|more| more) => {}
            Ok(_) => return,
        }
    }
}

/// The exit status that a shell would show.
pub(super) fn status(code: ExitCode) -> u8 {
    match code {
        ExitCode::Code(code) => code.to_le_bytes()[0],
        ExitCode::Signal(signal) => 128_u8.wrapping_add(signal.to_le_bytes()[0]),
        ExitCode::Timeout => Exit::Timeout as u8,
    }
}

/// Says so if a program's own exit status looks like one of ours.
fn ambiguity(code: ExitCode) -> Option<String> {
    match code {
        ExitCode::Code(code @ (124..=126 | 129..)) => {
            Some(format!("{code} is the program's own exit status"))
        }
        ExitCode::Timeout => Some("the program was killed: its time was over".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_a_shell() {
        assert_eq!(status(ExitCode::Code(0)), 0);
        assert_eq!(status(ExitCode::Code(123)), 123);
        assert_eq!(status(ExitCode::Code(255)), 255);
        assert_eq!(status(ExitCode::Signal(11)), 139);
        assert_eq!(status(ExitCode::Timeout), 124);
        assert!(ambiguity(ExitCode::Code(1)).is_none());
        assert!(ambiguity(ExitCode::Signal(9)).is_none());
        assert!(ambiguity(ExitCode::Code(125)).unwrap().contains("125"));
    }

    #[test]
    fn a_reader_that_goes_is_told_once() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut closed = Some(Closed);
        assert!(!pass_on(b"x", &mut closed).unwrap());
        assert!(pass_on(b"x", &mut closed).unwrap());
    }

    #[test]
    fn a_program_is_a_file_that_may_be_executed() {
        assert!(matches!(Program::find(Path::new("ls")), Ok(Program::OfGuest)));
        assert!(matches!(Program::find(Path::new("/bin/ls")), Ok(Program::File { .. })));
        for wrong in ["/etc/passwd", "/etc/", "/no/such/program"] {
            let error = Program::find(Path::new(wrong)).err().unwrap();
            assert_eq!(Exit::of_error(&error), Exit::Usage, "{wrong}");
        }
    }
}
