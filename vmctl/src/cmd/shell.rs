//! Command `shell`: a look around in a guest of its own.

use std::io::IsTerminal;
use std::path::Path;
use std::thread;

use anyhow::Context;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use signal_hook::consts::SIGWINCH;
use signal_hook::iterator::Signals;
use vm::process::{Program, Stdin};
use vm::{Command, Guest};

use crate::cli::guest::{HOME, ShellArgs};
use crate::env;
use crate::report::progress::Progress;
use crate::session::Session;
use crate::transfer;

use super::gate;
use super::run::{FOREVER, status, stdin_is_ours, stream};

/// The agent's own file, which can give a program a terminal. It is not in the guest's root.
const AGENT: &str = "/proc/1/exe";

/// The first terminal of a guest that has just booted.
const TERMINAL: &str = "/dev/pts/0";

/// Where systems keep descriptions of terminals.
const TERMINFO: [&str; 3] = ["/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo"];

/// Runs a shell in a guest; its exit status.
pub(crate) fn run(args: &ShellArgs) -> anyhow::Result<u8> {
    gate::pass(&args.host)?;
    let mut progress = Progress::new(args.guest.quiet);
    let opened = Session::open(&args.guest, &args.host, &mut progress);
    progress.close();
    let session = opened?;
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let played = if is_terminal && stdin_is_ours() {
        on_terminal(session.guest())
    } else {
        from_input(session.guest())
    };
    let copied = match &played {
        Ok(_) => args.guest.get.iter().try_for_each(|copy| transfer::get(session.guest(), copy)),
        Err(_) => Ok(()),
    };
    let status = session.end(played)?;
    copied.map(|()| status)
}

/// A shell that reads commands like any program.
fn from_input(guest: &Guest) -> anyhow::Result<u8> {
    let command = Command::new("/bin/sh").cwd(HOME).timeout(FOREVER);
    let running = guest.spawn(&command).context("start the shell")?;
    stream(&running, stdin_is_ours().then(|| running.input())).map(status)
}

/// A shell with a terminal of its own; ours only carries keys and characters meanwhile.
fn on_terminal(guest: &Guest) -> anyhow::Result<u8> {
    let (rows, columns) = size().unwrap_or((24, 80));
    let mut command = Command::new(AGENT).arg("pty");
    command = command.args([rows.to_string(), columns.to_string()]);
    command = command.args(["/bin/bash", "-i"]).cwd(HOME).timeout(FOREVER);
    if let Some(name) = env::terminal().filter(|name| describe(guest, name)) {
        command = command.env("TERM", name);
    }
    eprintln!("vmctl: {}, kernel {}; the guest ends with this shell", guest.name(), guest.kernel());
    let mut resized = Signals::new([SIGWINCH]).context("watch the size of the terminal")?;
    let handle = resized.handle();
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in &mut resized {
                resize(guest);
            }
        });
        let _raw = Raw::begin();
        let running = guest.spawn(&command).context("start the shell");
        let ended = running.and_then(|running| stream(&running, Some(running.input())));
        handle.close();
        ended.map(status)
    })
}

/// Gives the guest the description of our terminal; without one it is called "dumb".
fn describe(guest: &Guest, name: &str) -> bool {
    let Some(initial) = name.chars().next().filter(|_| !name.contains('/')) else { return false };
    let file = format!("{initial}/{name}");
    let found = TERMINFO.iter().find_map(|dir| std::fs::read(Path::new(dir).join(&file)).ok());
    let to = format!("{HOME}/.terminfo/{file}");
    found.is_some_and(|description| guest.put(&description, to, 0o644).is_ok())
}

fn resize(guest: &Guest) {
    if let Some((rows, columns)) = size() {
        let stty = Command::new("stty").args(["-F", TERMINAL, "rows"]).arg(rows.to_string());
        // A shell that has just ended has no size.
        let _ = guest.run(&stty.arg("cols").arg(columns.to_string()));
    }
}

/// Rows and columns of our terminal.
fn size() -> Option<(u16, u16)> {
    let text = Program::new("stty").arg("size").stdin(Stdin::Inherit).run_ok().ok()?.text();
    parse_size(&text)
}

fn parse_size(text: &str) -> Option<(u16, u16)> {
    let (rows, columns) = text.trim().split_once(' ')?;
    let size = (rows.parse().ok()?, columns.parse().ok()?);
    // What a terminal says that does not know.
    (size != (0, 0)).then_some(size)
}

/// Our terminal without echo, line editing and keys that mean signals. Dropped: as before.
struct Raw(Termios);

impl Raw {
    fn begin() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(std::io::stdin(), SetArg::TCSANOW, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rows_and_columns() {
        assert_eq!(parse_size("24 80\n"), Some((24, 80)));
        assert_eq!(parse_size("0 0\n"), None);
        assert_eq!(parse_size(""), None);
    }
}
