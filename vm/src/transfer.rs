//! Transfer: files into a guest and out of it, with checksums.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use agent_proto::{CHUNK, Checksum, Frame};

use crate::error::{Failure, Result};
use crate::machine::{Machine, Silence};

/// A transfer fails after so long without progress.
const STALL: Duration = Duration::from_mins(1);

pub(crate) fn put(machine: &Machine, content: &[u8], path: &Path, mode: u32) -> Result<()> {
    let transfer = Transfer::open(machine, format!("put {}", path.display()))?;
    let id = transfer.id;
    transfer.send(&Frame::Put {
        id,
        path: path.as_os_str().as_bytes().to_vec(),
        mode,
        len: content.len() as u64,
        sum: Checksum::of(content),
    })?;
    for piece in content.chunks(CHUNK) {
        transfer.send(&Frame::Data(id, piece.to_vec()))?;
    }
    match transfer.recv()? {
        Frame::Done { .. } => Ok(()),
        other => Err(transfer.failed(other)),
    }
}

pub(crate) fn get(machine: &Machine, path: &Path) -> Result<Vec<u8>> {
    let transfer = Transfer::open(machine, format!("get {}", path.display()))?;
    transfer.send(&Frame::Get(transfer.id, path.as_os_str().as_bytes().to_vec()))?;
    let mut content = Vec::new();
    loop {
        match transfer.recv()? {
            Frame::Data(_, bytes) => content.extend(bytes),
            Frame::Done { len, sum, .. }
                if (len, sum) == (content.len() as u64, Checksum::of(&content)) =>
            {
                return Ok(content);
            }
            other => return Err(transfer.failed(other)),
        }
    }
}

struct Transfer<'a> {
    machine: &'a Machine,
    id: u32,
    answers: Receiver<Frame>,
    doing: String,
    start: Instant,
}

impl<'a> Transfer<'a> {
    fn open(machine: &'a Machine, doing: String) -> Result<Self> {
        let opened = machine.channel.open();
        let (id, answers) = opened.map_err(|_| machine.error(&doing, Silence::Closed))?;
        Ok(Self { machine, id, answers, doing, start: Instant::now() })
    }

    fn send(&self, frame: &Frame) -> Result<()> {
        let bytes = frame.encode().map_err(|why| self.agent_error(why.to_string()))?;
        let sent = self.machine.channel.send(&bytes);
        sent.map_err(|_| self.machine.error(&self.doing, Silence::Closed))
    }

    fn recv(&self) -> Result<Frame> {
        self.answers.recv_timeout(STALL).map_err(|error| {
            let silence = match error {
                RecvTimeoutError::Timeout => Silence::Deadline(self.start.elapsed()),
                RecvTimeoutError::Disconnected => Silence::Closed,
            };
            self.machine.error(&self.doing, silence)
        })
    }

    fn failed(&self, answer: Frame) -> crate::error::Error {
        self.agent_error(match answer {
            Frame::Refused(_, why) => String::from_utf8_lossy(&why).into_owned(),
            Frame::Done { .. } => "the content arrived damaged".into(),
            other => format!("answer out of place: {other:?}"),
        })
    }

    fn agent_error(&self, why: String) -> crate::error::Error {
        self.machine.guest_error(&self.doing, Failure::Agent(why))
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        self.machine.channel.forget(self.id);
    }
}
