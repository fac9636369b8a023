//! Echo: the host sends back what guests send, on every connection that they make.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, scope};
use std::time::Duration;

use anyhow::Context;
use vm::vnet::{Error, Listener, Tcp};

use crate::bench::{Bench, PATIENCE, PORT};

/// How long a thread may overlook that nobody needs it any more.
const TURN: Duration = Duration::from_millis(100);

/// Does something while the host echoes; what that gave.
///
/// # Errors
/// The host cannot listen, or what was done failed.
pub(crate) fn while_echoing<T>(
    bench: &Bench,
    act: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let listener = bench.host().listen(PORT).context("listen")?;
    let done = AtomicBool::new(false);
    scope(|scope| {
        scope.spawn(|| accept(scope, &listener, &done));
        let _ends = Ends(&done);
        act()
    })
}

/// Says that nobody needs the threads any more, also when that is a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn accept<'scope>(
    scope: &'scope Scope<'scope, '_>,
    listener: &'scope Listener,
    done: &'scope AtomicBool,
) {
    while !done.load(Ordering::Relaxed) {
        match listener.accept(TURN) {
            Ok(tcp) => drop(scope.spawn(move || echo(&tcp, done))),
            Err(Error::Timeout(_)) => {}
            Err(_) => return,
        }
    }
}

/// A guest that lets a connection go has its reasons; this end then goes, too.
fn echo(tcp: &Tcp, done: &AtomicBool) {
    let mut bytes = vec![0; 1 << 16];
    while !done.load(Ordering::Relaxed) {
        match tcp.recv(&mut bytes, TURN) {
            Ok(0) => return tcp.shut_write(),
            Ok(len) if tcp.send_all(&bytes[..len], PATIENCE).is_ok() => {}
            Err(Error::Timeout(_)) => {}
            Ok(_) | Err(_) => return,
        }
    }
}
