//! Pty: a program on a terminal of its own, for a person at the other end of the channel.
//!
//! PID 1 cannot do this itself without unsafe code, so it runs its own file again, as
//! `/proc/1/exe pty ROWS COLUMNS PROGRAM ...`; `setsid -c` gives the program its terminal.

use std::ffi::OsString;
use std::fs::File;
use std::io::{PipeReader, Read, Write, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};

use crate::Result;

/// Runs a program on a new terminal; its end is ours.
pub(crate) fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let size = [args.next(), args.next()].map(|arg| arg?.to_str()?.parse().ok());
    let [Some(rows), Some(columns)] = size else {
        eprintln!("paste-agent: pty ROWS COLUMNS PROGRAM ...");
        return ExitCode::from(2);
    };
    match play(rows, columns, args) {
        Ok(status) => {
            use std::os::unix::process::ExitStatusExt;
            let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
        }
        Err(why) => {
            eprintln!("paste-agent: {why}");
            ExitCode::from(127)
        }
    }
}

fn play(rows: u16, columns: u16, args: impl Iterator<Item = OsString>) -> Result<ExitStatus> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).map_err(|error| format!("open a terminal: {error}"))?;
    let (ended, waiter) = start(pty.slave, args)?;
    let master = File::from(pty.master);
    let keys = master.try_clone().map_err(|error| format!("share the terminal: {error}"))?;
    thread::spawn(move || pass_on(std::io::stdin().lock(), keys));
    show(&master, &ended)?;
    waiter.join().map_err(|_| "wait for the program: a thread panicked".to_owned())?
}

/// Starts the program; the pipe closes when it has ended, whoever else keeps the terminal open.
fn start(
    slave: OwnedFd,
    args: impl Iterator<Item = OsString>,
) -> Result<(PipeReader, JoinHandle<Result<ExitStatus>>)> {
    let clone = || slave.try_clone().map_err(|error| format!("share the terminal: {error}"));
    let mut command = Command::new("setsid");
    command.args(["-c", "--"]).args(args);
    command.stdin(Stdio::from(clone()?)).stdout(Stdio::from(clone()?)).stderr(Stdio::from(slave));
    let mut child = command.spawn().map_err(|error| format!("start setsid: {error}"))?;
    let (ended, alive) = pipe().map_err(|error| format!("open a pipe: {error}"))?;
    let waiter = thread::spawn(move || {
        let status = child.wait().map_err(|error| format!("wait for the program: {error}"));
        drop(alive);
        status
    });
    Ok((ended, waiter))
}

/// What the host sends becomes what is typed; at its end the person has hung up (Ctrl-D).
fn pass_on(mut from: impl Read, mut keys: File) {
    let mut bytes = [0; 4096];
    while let Ok(len) = from.read(&mut bytes) {
        let typed: &[u8] = if len == 0 { b"\x04" } else { &bytes[..len] };
        if keys.write_all(typed).is_err() || len == 0 {
            return;
        }
    }
}

/// Shows what the program writes until it has ended and everything was shown.
fn show(mut master: &File, ended: &PipeReader) -> Result<()> {
    let (mut bytes, mut stdout, mut over) = ([0; 4096], std::io::stdout().lock(), false);
    loop {
        let mut fds = [master.as_fd(), ended.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let timeout = if over { PollTimeout::ZERO } else { PollTimeout::NONE };
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(format!("wait for the program: {error}")),
            Ok(_) => {}
        }
        let [output, end] = fds.map(|fd| fd.revents().is_some_and(|events| !events.is_empty()));
        over |= end;
        if !output {
            if over {
                return Ok(());
            }
            continue;
        }
        match master.read(&mut bytes) {
            // The last program has closed the terminal.
            Ok(0) | Err(_) => return Ok(()),
            Ok(len) => {
                let shown = stdout.write_all(&bytes[..len]).and_then(|()| stdout.flush());
                shown.map_err(|error| format!("write to the host: {error}"))?;
            }
        }
    }
}
