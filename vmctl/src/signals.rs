//! Signals: SIGINT and SIGTERM end a command in order; a second one ends it at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use e2e::runner::Message;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::Exit;

/// How long a command may take to end in order.
const PATIENCE: Duration = Duration::from_secs(15);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The run of cases that is to hear of an interrupt.
static RUN: Mutex<Option<Sender<Message>>> = Mutex::new(None);

/// Begins to watch for SIGINT and SIGTERM.
pub(crate) fn watch() {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if INTERRUPTED.swap(true, Ordering::SeqCst) {
                end_at_once();
            }
            eprintln!("interrupted: ending guests; interrupt again to leave at once");
            tell();
            std::thread::spawn(|| {
                std::thread::park_timeout(PATIENCE);
                end_at_once();
            });
        }
    });
}

/// Whether the user wants the command to end.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Lets a run of cases hear of an interrupt.
pub(crate) fn send_to(run: Sender<Message>) {
    let mut slot = RUN.lock().unwrap_or_else(PoisonError::into_inner);
    if interrupted() {
        // The interrupt came first; the receiver is the caller's and still there.
        let _ = run.send(Message::Interrupt);
    }
    *slot = Some(run);
}

/// A run ends its guests itself, so that it knows why they ended; other commands lose their
/// children, and end with the error that they get for it.
fn tell() {
    let run = RUN.lock().unwrap_or_else(PoisonError::into_inner);
    match &*run {
        Some(run) if run.send(Message::Interrupt).is_ok() => {}
        _ => vm::process::kill_all(),
    }
}

/// Children die with this process.
fn end_at_once() {
    std::process::exit(Exit::Interrupted as i32);
}
