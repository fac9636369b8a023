//! Signals: SIGINT and SIGTERM end a command in order; a second one ends it at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::Exit;

/// How long a command may take to end in order.
const PATIENCE: Duration = Duration::from_secs(15);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Tells a command that ends its guests itself; false if it does not listen any more.
type Listener = Box<dyn Fn() -> bool + Send>;

/// The command that is to hear of an interrupt.
static LISTENER: Mutex<Option<Listener>> = Mutex::new(None);

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

/// Lets a command hear of an interrupt: `listener` is told, and says whether anybody heard.
pub(crate) fn on_interrupt(listener: impl Fn() -> bool + Send + 'static) {
    let mut slot = LISTENER.lock().unwrap_or_else(PoisonError::into_inner);
    if interrupted() {
        // The interrupt came first; the caller is still there.
        listener();
    }
    *slot = Some(Box::new(listener));
}

/// Some commands end their guests themselves, so that they know why they ended; others lose
/// their children, and end with the error that they get for it.
fn tell() {
    let listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner);
    if !listener.as_ref().is_some_and(|heard| heard()) {
        vm::process::kill_all();
    }
}

/// Children die with this process.
fn end_at_once() {
    std::process::exit(Exit::Interrupted as i32);
}
