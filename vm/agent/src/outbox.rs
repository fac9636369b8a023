//! Outbox: frames to the host, whole ones, from any thread.

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use agent_proto::Frame;

use crate::fatal;

/// Why a frame did not leave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The machine goes off; whoever has something to say waits for that.
    Expected,
    /// Nobody hears us any more.
    Fatal(String),
}

/// Where threads put frames for the host.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    port: Arc<Mutex<File>>,
    closing: Arc<AtomicBool>,
}

impl Outbox {
    /// An outbox on the open port.
    pub(crate) fn new(port: File) -> Self {
        Self { port: Arc::new(Mutex::new(port)), closing: Arc::default() }
    }

    /// The machine is about to go off: frames that can no longer leave are no reason to die. The
    /// kernel breaks its devices first, and somebody may still have output to send.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Sends one frame; waits while the host does not read. Without a host there is no point in
    /// going on.
    pub(crate) fn send(&self, frame: &Frame) {
        match self.put(frame) {
            Ok(()) => {}
            Err(Loss::Fatal(why)) => fatal(&why),
            Err(Loss::Expected) => loop {
                thread::park();
            },
        }
    }

    /// Writes one frame.
    pub(crate) fn put(&self, frame: &Frame) -> std::result::Result<(), Loss> {
        let bytes = frame.encode().map_err(|why| Loss::Fatal(format!("encode frame: {why}")))?;
        let written = self.port.lock().unwrap_or_else(PoisonError::into_inner).write_all(&bytes);
        written.map_err(|error| {
            if self.closing.load(Ordering::Acquire) {
                return Loss::Expected;
            }
            Loss::Fatal(format!("write to the host: {error}"))
        })
    }

    /// Answers that a request cannot be carried out.
    pub(crate) fn refuse(&self, id: u32, why: &str) {
        self.send(&Frame::Refused(id, why.as_bytes().to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_frame_that_cannot_leave_is_fatal_until_the_machine_goes_off() {
        let (unread, port) = std::io::pipe().unwrap();
        let outbox = Outbox::new(File::from(OwnedFd::from(port)));
        assert_eq!(outbox.put(&Frame::Pong(7)), Ok(()));
        drop(unread);
        assert!(matches!(outbox.put(&Frame::Pong(7)), Err(Loss::Fatal(_))));
        outbox.close();
        assert_eq!(outbox.put(&Frame::Pong(7)), Err(Loss::Expected));
    }
}
