//! Frame: one message, its kind byte and its fields.

use crate::codec::{Fields, Writer};
use crate::{MAX_FRAME, ProtoError};

/// One message between host (H) and guest agent (G).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// G: the agent is ready. Sent once, first.
    Hello {
        /// The agent's [`crate::VERSION`].
        proto: u32,
        /// Kernel release, as `uname -r` prints it.
        kernel: Vec<u8>,
        /// `/proc/sys/kernel/random/boot_id`: differs for every boot.
        boot_id: Vec<u8>,
    },
    /// H: answer with [`Frame::Pong`].
    Ping(u64),
    /// G: the answer to a ping, with its number.
    Pong(u64),
    /// H: run a program. Answers: `Out`, `Err`, then `Exit` or `Refused`.
    Run {
        /// Request id.
        id: u32,
        /// What to run.
        run: Run,
    },
    /// H: bytes for a program's standard input; none = end of file.
    Stdin(u32, Vec<u8>),
    /// G: bytes that a program wrote to standard output.
    Out(u32, Vec<u8>),
    /// G: bytes that a program wrote to standard error.
    Err(u32, Vec<u8>),
    /// G: a program ended; nothing follows for this id.
    Exit(u32, End),
    /// H: send this signal to the program's process group.
    Kill(u32, i32),
    /// H: write a file; `len` bytes follow as [`Frame::Data`]. Answer: `Done` or `Refused`.
    Put {
        /// Request id.
        id: u32,
        /// Where to; missing directories are made.
        path: Vec<u8>,
        /// Permission bits.
        mode: u32,
        /// Size in bytes.
        len: u64,
        /// [`crate::Checksum`] of the content.
        sum: u64,
    },
    /// H: read a file. Answers: `Data`, then `Done` or `Refused`.
    Get(u32, Vec<u8>),
    /// Both: a piece of a file.
    Data(u32, Vec<u8>),
    /// G: a file is complete.
    Done {
        /// Request id.
        id: u32,
        /// Size in bytes.
        len: u64,
        /// [`crate::Checksum`] of the content.
        sum: u64,
    },
    /// G: the request could not be carried out; the reason in words. Nothing follows for this id.
    Refused(u32, Vec<u8>),
    /// Both: so many bytes of a program's stream were taken by their reader. The guest tells of
    /// standard input, the host of both outputs together.
    Taken(u32, u64),
    /// H: end all programs, sync and unmount file systems, switch the machine off.
    PowerOff,
}

/// A program to run in the guest. All strings are bytes, as in the guest's kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// Program and arguments; never empty.
    pub argv: Vec<Vec<u8>>,
    /// Environment variables added to the agent's default ones.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Working directory; empty = `/`.
    pub cwd: Vec<u8>,
    /// Milliseconds after which the whole process group is killed; 0 = never.
    pub timeout_ms: u64,
    /// Whether [`Frame::Stdin`] will follow; otherwise standard input is `/dev/null`.
    pub stdin: bool,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It exited with this code.
    Code(i32),
    /// A signal killed it.
    Signal(i32),
    /// Its time was over; it was killed.
    Timeout,
}

const HELLO: u8 = 1;
const PING: u8 = 2;
const PONG: u8 = 3;
const RUN: u8 = 4;
const STDIN: u8 = 5;
const OUT: u8 = 6;
const ERR: u8 = 7;
const EXIT: u8 = 8;
const KILL: u8 = 9;
const PUT: u8 = 10;
const GET: u8 = 11;
const DATA: u8 = 12;
const DONE: u8 = 13;
const REFUSED: u8 = 14;
const POWER_OFF: u8 = 15;
const TAKEN: u8 = 16;

impl Frame {
    /// The frame as it goes over the wire, length field included.
    ///
    /// # Errors
    /// [`ProtoError::TooLong`] if the peer would not accept it.
    pub fn encode(&self) -> Result<Vec<u8>, ProtoError> {
        let bytes = self.written().finish();
        match bytes.len() - 4 {
            body if body > MAX_FRAME => Err(ProtoError::TooLong(body)),
            _ => Ok(bytes),
        }
    }

    fn written(&self) -> Writer {
        match self {
            Frame::Hello { proto, kernel, boot_id } => {
                Writer::new(HELLO).u32(*proto).bytes(kernel).bytes(boot_id)
            }
            Frame::Ping(token) => Writer::new(PING).u64(*token),
            Frame::Pong(token) => Writer::new(PONG).u64(*token),
            Frame::Run { id, run } => run.write(Writer::new(RUN).u32(*id)),
            Frame::Stdin(id, data) => Writer::new(STDIN).u32(*id).bytes(data),
            Frame::Out(id, data) => Writer::new(OUT).u32(*id).bytes(data),
            Frame::Err(id, data) => Writer::new(ERR).u32(*id).bytes(data),
            Frame::Exit(id, end) => {
                let (how, value) = end.parts();
                Writer::new(EXIT).u32(*id).u32(how).u32(value.cast_unsigned())
            }
            Frame::Kill(id, signal) => Writer::new(KILL).u32(*id).u32(signal.cast_unsigned()),
            Frame::Put { id, path, mode, len, sum } => {
                Writer::new(PUT).u32(*id).bytes(path).u32(*mode).u64(*len).u64(*sum)
            }
            Frame::Get(id, path) => Writer::new(GET).u32(*id).bytes(path),
            Frame::Data(id, data) => Writer::new(DATA).u32(*id).bytes(data),
            Frame::Done { id, len, sum } => Writer::new(DONE).u32(*id).u64(*len).u64(*sum),
            Frame::Refused(id, why) => Writer::new(REFUSED).u32(*id).bytes(why),
            Frame::PowerOff => Writer::new(POWER_OFF),
            Frame::Taken(id, bytes) => Writer::new(TAKEN).u32(*id).u64(*bytes),
        }
    }

    /// A frame from its kind and the bytes of its fields.
    pub(crate) fn parse(kind: u8, body: &[u8]) -> Result<Self, ProtoError> {
        let mut f = Fields::new(kind, body);
        let frame = match kind {
            HELLO => Frame::Hello { proto: f.u32()?, kernel: f.bytes()?, boot_id: f.bytes()? },
            PING => Frame::Ping(f.u64()?),
            PONG => Frame::Pong(f.u64()?),
            RUN => Frame::Run { id: f.u32()?, run: Run::read(&mut f)? },
            STDIN => Frame::Stdin(f.u32()?, f.bytes()?),
            OUT => Frame::Out(f.u32()?, f.bytes()?),
            ERR => Frame::Err(f.u32()?, f.bytes()?),
            EXIT => {
                let (id, how, value) = (f.u32()?, f.u32()?, f.u32()?.cast_signed());
                Frame::Exit(id, End::from_parts(how, value).ok_or(ProtoError::BadField(kind))?)
            }
            KILL => Frame::Kill(f.u32()?, f.u32()?.cast_signed()),
            PUT => Frame::Put {
                id: f.u32()?,
                path: f.bytes()?,
                mode: f.u32()?,
                len: f.u64()?,
                sum: f.u64()?,
            },
            GET => Frame::Get(f.u32()?, f.bytes()?),
            DATA => Frame::Data(f.u32()?, f.bytes()?),
            DONE => Frame::Done { id: f.u32()?, len: f.u64()?, sum: f.u64()? },
            REFUSED => Frame::Refused(f.u32()?, f.bytes()?),
            POWER_OFF => Frame::PowerOff,
            TAKEN => Frame::Taken(f.u32()?, f.u64()?),
            unknown => return Err(ProtoError::UnknownKind(unknown)),
        };
        f.end()?;
        Ok(frame)
    }
}

impl Run {
    fn write(&self, mut w: Writer) -> Writer {
        w = w.u32(count(self.argv.len()));
        for arg in &self.argv {
            w = w.bytes(arg);
        }
        w = w.u32(count(self.env.len()));
        for (name, value) in &self.env {
            w = w.bytes(name).bytes(value);
        }
        w.bytes(&self.cwd).u64(self.timeout_ms).u32(self.stdin.into())
    }

    fn read(f: &mut Fields<'_>) -> Result<Self, ProtoError> {
        // No capacity from a count: a liar would make us allocate.
        let argv = (0..f.u32()?).map(|_| f.bytes()).collect::<Result<Vec<_>, _>>()?;
        let env =
            (0..f.u32()?).map(|_| Ok((f.bytes()?, f.bytes()?))).collect::<Result<Vec<_>, _>>()?;
        let (cwd, timeout_ms) = (f.bytes()?, f.u64()?);
        let stdin = match f.u32()? {
            0 => false,
            1 => true,
            _ => return Err(f.bad()),
        };
        let nul = |bytes: &Vec<u8>| bytes.contains(&0);
        let nuls = argv.iter().any(nul) || env.iter().any(|(n, v)| nul(n) || nul(v)) || nul(&cwd);
        // A name with '=' would set another variable than it says.
        let names = env.iter().all(|(name, _)| !name.is_empty() && !name.contains(&b'='));
        if argv.is_empty() || nuls || !names {
            return Err(f.bad());
        }
        Ok(Self { argv, env, cwd, timeout_ms, stdin })
    }
}

impl End {
    fn parts(self) -> (u32, i32) {
        match self {
            End::Code(code) => (0, code),
            End::Signal(signal) => (1, signal),
            End::Timeout => (2, 0),
        }
    }

    fn from_parts(how: u32, value: i32) -> Option<Self> {
        match (how, value) {
            (0, code) => Some(End::Code(code)),
            (1, signal) => Some(End::Signal(signal)),
            (2, 0) => Some(End::Timeout),
            _ => None,
        }
    }
}

fn count(len: usize) -> u32 {
    // Longer lists make the frame longer than MAX_FRAME, which `encode` refuses.
    u32::try_from(len).unwrap_or(u32::MAX)
}
