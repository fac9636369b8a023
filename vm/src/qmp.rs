//! QMP: QEMU's own control protocol, as much of it as guests need.
//!
//! One JSON object a line. Replies carry the id of their command; events come in between. A thread
//! reads; waiting callers get their reply through a channel, with a deadline. Reference:
//! docs/interop/qmp-spec.rst of QEMU.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::{Error, Result};

/// The largest accepted line; QEMU's replies to our commands are far smaller.
const LONGEST: u64 = 8 << 20;

/// An event of QEMU.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// Its name, e.g. `SHUTDOWN`.
    pub(crate) name: String,
    /// Its data; null if it has none.
    pub(crate) data: Value,
}

impl Event {
    /// The string at `key`, or nothing.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.data.get(key).and_then(Value::as_str).unwrap_or_default()
    }
}

/// What is told about every event, on the reader's thread.
pub(crate) type OnEvent = Box<dyn Fn(&Event) + Send>;

/// Why a command got no reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoReply {
    /// QEMU closed the connection.
    Closed,
    /// The deadline passed.
    Timeout,
    /// QEMU refused the command; its words.
    Refused(String),
}

/// A connection to one QEMU.
#[derive(Debug)]
pub(crate) struct Qmp {
    stream: Mutex<UnixStream>,
    replies: Arc<Mutex<Replies>>,
    greeting: Mutex<Receiver<()>>,
}

#[derive(Debug, Default)]
struct Replies {
    next: u64,
    closed: bool,
    waiting: HashMap<u64, Sender<std::result::Result<Value, String>>>,
}

impl Qmp {
    /// Takes over a connected socket. Everything received is appended to `log`.
    pub(crate) fn start(
        stream: UnixStream,
        log: &Path,
        on_event: OnEvent,
    ) -> Result<(Self, JoinHandle<()>)> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.map_err(|error| Error::io("open", log, error))?;
        let io = |source| Error::Io { doing: "start QMP client".into(), source };
        let reading = stream.try_clone().map_err(io)?;
        let replies = Arc::new(Mutex::new(Replies::default()));
        let (greet, greeting) = channel();
        let reader = Reader { replies: replies.clone(), file, on_event, greet };
        let thread = thread::Builder::new().name("qmp".into());
        let thread = thread.spawn(move || reader.read(BufReader::new(reading))).map_err(io)?;
        let (stream, greeting) = (Mutex::new(stream), Mutex::new(greeting));
        Ok((Self { stream, replies, greeting }, thread))
    }

    /// Waits for the greeting and enters command mode. To be called once, first.
    pub(crate) fn negotiate(&self, deadline: Instant) -> std::result::Result<(), NoReply> {
        let greeting = self.greeting.lock().unwrap_or_else(PoisonError::into_inner);
        greeting.recv_timeout(left(deadline)).map_err(no_reply)?;
        self.execute("qmp_capabilities", &Value::Null, deadline).map(drop)
    }

    /// Executes a command and waits for its reply.
    pub(crate) fn execute(
        &self,
        command: &str,
        arguments: &Value,
        deadline: Instant,
    ) -> std::result::Result<Value, NoReply> {
        let (sender, reply) = channel();
        let id = {
            let mut replies = lock(&self.replies);
            if replies.closed {
                return Err(NoReply::Closed);
            }
            replies.next += 1;
            let id = replies.next;
            replies.waiting.insert(id, sender);
            id
        };
        let mut message = json!({"execute": command, "id": id});
        if !arguments.is_null() {
            message["arguments"] = arguments.clone();
        }
        let sent = {
            let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
            stream.write_all(format!("{message}\n").as_bytes())
        };
        let result = match sent {
            Ok(()) => reply.recv_timeout(left(deadline)).map_err(no_reply),
            Err(_) => Err(NoReply::Closed),
        };
        lock(&self.replies).waiting.remove(&id);
        result?.map_err(NoReply::Refused)
    }
}

struct Reader {
    replies: Arc<Mutex<Replies>>,
    file: File,
    on_event: OnEvent,
    greet: Sender<()>,
}

impl Reader {
    fn read(mut self, mut source: impl BufRead) {
        let mut line = Vec::new();
        loop {
            line.clear();
            match source.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
                Ok(len) if len > 0 => {}
                _ => break,
            }
            // A log that cannot be written must not stop the guest's control.
            let _ = self.file.write_all(&line);
            match serde_json::from_slice(&line) {
                Ok(message) => self.take(&message),
                // Not QMP: nothing that follows can be trusted.
                Err(_) => break,
            }
        }
        let mut replies = lock(&self.replies);
        replies.closed = true;
        // Dropping the senders wakes everybody who waits.
        replies.waiting.clear();
    }

    fn take(&self, message: &Value) {
        if message.get("QMP").is_some() {
            // Gone if `negotiate` gave up.
            let _ = self.greet.send(());
        } else if let Some(name) = message.get("event").and_then(Value::as_str) {
            let data = message.get("data").cloned().unwrap_or_default();
            (self.on_event)(&Event { name: name.to_owned(), data });
        } else if let Some(id) = message.get("id").and_then(Value::as_u64) {
            let Some(sender) = lock(&self.replies).waiting.remove(&id) else { return };
            let error = message.get("error").map(|error| match error["desc"].as_str() {
                Some(text) => text.to_owned(),
                None => error.to_string(),
            });
            let value = message.get("return").cloned().unwrap_or_default();
            // Gone if its deadline passed meanwhile.
            let _ = sender.send(error.map_or(Ok(value), Err));
        }
    }
}

fn lock(replies: &Mutex<Replies>) -> MutexGuard<'_, Replies> {
    replies.lock().unwrap_or_else(PoisonError::into_inner)
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn no_reply(error: RecvTimeoutError) -> NoReply {
    match error {
        RecvTimeoutError::Timeout => NoReply::Timeout,
        RecvTimeoutError::Disconnected => NoReply::Closed,
    }
}

#[cfg(test)]
mod tests;
