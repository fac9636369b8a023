//! Progress: what a command does before its result is there, told on standard error.
//!
//! On a terminal one moving line; elsewhere a plain line for each step that takes long, so that
//! what is quick stays quiet.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A step that takes longer is told.
const LONG: Duration = Duration::from_secs(2);

/// Tells the steps of one command.
#[derive(Debug)]
pub(crate) enum Progress {
    Moving(ProgressBar),
    Plain(Sender<String>, JoinHandle<()>),
    Quiet,
}

impl Progress {
    /// Progress on standard error, or none.
    pub(crate) fn new(quiet: bool) -> Self {
        if quiet {
            return Self::Quiet;
        }
        if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
            return Self::Moving(ProgressBar::new_spinner().with_style(style));
        }
        let (sender, steps) = channel();
        let thread = std::thread::spawn(move || tell(&steps, LONG, &mut std::io::stderr()));
        Self::Plain(sender, thread)
    }

    /// The next step begins.
    pub(crate) fn step(&mut self, what: &str) {
        match self {
            Self::Moving(bar) => {
                bar.reset_elapsed();
                bar.set_message(what.to_owned());
                bar.enable_steady_tick(Duration::from_millis(200));
            }
            // The thread listens as long as this sender lives.
            Self::Plain(sender, _) => drop(sender.send(what.to_owned())),
            Self::Quiet => {}
        }
    }

    /// All steps are done; the screen belongs to somebody else now.
    pub(crate) fn close(self) {
        match self {
            Self::Moving(bar) => bar.finish_and_clear(),
            Self::Plain(sender, thread) => {
                drop(sender);
                // A thread that panicked has said so itself.
                let _ = thread.join();
            }
            Self::Quiet => {}
        }
    }
}

/// Writes a line for every step that lasts.
fn tell(steps: &Receiver<String>, long: Duration, out: &mut dyn Write) {
    let mut pending = None;
    loop {
        let next = match pending {
            Some(_) => steps.recv_timeout(long),
            None => steps.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(step) => pending = Some(step),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(step) = pending.take() {
                    // Nobody reads it: nothing to tell.
                    let _ = writeln!(out, "vmctl: {step} ...");
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_long_is_told() {
        let (sender, steps) = channel();
        let mut out = Vec::new();
        sender.send("quick".to_owned()).unwrap();
        sender.send("slow".to_owned()).unwrap();
        let teller = std::thread::spawn(move || {
            tell(&steps, Duration::from_millis(1), &mut out);
            out
        });
        std::thread::park_timeout(Duration::from_millis(200));
        drop(sender);
        assert_eq!(String::from_utf8(teller.join().unwrap()).unwrap(), "vmctl: slow ...\n");
    }
}
