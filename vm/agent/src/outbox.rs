//! Outbox: frames to the host, whole ones, from any thread.

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use agent_proto::Frame;

use crate::fatal;

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
        let bytes = match frame.encode() {
            Ok(bytes) => bytes,
            Err(why) => fatal(&format!("encode frame: {why}")),
        };
        let mut port = self.port.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = port.write_all(&bytes) {
            while self.closing.load(Ordering::Acquire) {
                thread::park();
            }
            fatal(&format!("write to the host: {error}"));
        }
    }

    /// Answers that a request cannot be carried out.
    pub(crate) fn refuse(&self, id: u32, why: &str) {
        self.send(&Frame::Refused(id, why.as_bytes().to_vec()));
    }
}
