//! Loopback: the kernel's half of a `pst:` port, played in this process for tests.
//!
//! A test keeps a clone and injects payload; a port drives the other clone as it would drive
//! the kernel. The loopback keeps the kernel's books of who owns which buffer and refuses, with
//! a sentence, what the kernel would answer with `EINVAL` or worse. It knows no threads: a
//! `poll` with nothing to deliver ends at once.

mod books;

use std::{
    collections::{HashSet, VecDeque},
    io,
    os::fd::{AsRawFd, BorrowedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::errno::Errno;

use self::books::{Books, Segment};
use super::{Device, Granted, Ready, Wanted};
use crate::{
    abi,
    error::{Error, Result},
    sys,
};

/// A port without a kernel. Clones are the same port.
#[derive(Debug, Clone)]
pub struct Loopback {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    version: u32,
    books: Option<Books>,
    nic: Option<String>,
    sockets: HashSet<i32>,
    waiting: VecDeque<Segment>,
}

impl Default for Loopback {
    fn default() -> Self {
        Self::new()
    }
}

impl Loopback {
    /// Slots of the RX ring unless the port asks for a number.
    pub const SLOTS: u32 = 64;

    /// A device that speaks this library's API version.
    pub fn new() -> Self {
        Self::with_version(u32::from(abi::NETMAP_API))
    }

    /// A device that speaks another API version.
    pub fn with_version(version: u32) -> Self {
        let (sockets, waiting) = (HashSet::new(), VecDeque::new());
        let state = State { version, books: None, nic: None, sockets, waiting };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Payload arrives for the socket `fd`, after `headers` bytes of headers (at most 1023).
    /// Nobody sees it before the next sync. False: the socket is not registered or no NIC is
    /// attached, so the payload would go the ordinary way.
    pub fn inject(&self, fd: i32, payload: &[u8], headers: u16) -> bool {
        self.receive(Segment { fd, offset: 0, headers, payload: payload.to_vec() })
    }

    /// As `inject`, with the netmap offset `offset` before the headers.
    pub fn inject_at(&self, fd: i32, payload: &[u8], offset: u8, headers: u16) -> bool {
        self.receive(Segment { fd, offset, headers, payload: payload.to_vec() })
    }

    /// The peer of socket `fd` ends its stream.
    pub fn end_stream(&self, fd: i32) -> bool {
        self.receive(Segment { fd, offset: 0, headers: 66, payload: Vec::new() })
    }

    /// Overwrites a 32-bit word of ring memory, as a broken kernel would.
    ///
    /// # Panics
    /// If no port is bound or the word is not in ring memory.
    pub fn scribble(&self, offset: usize, value: u32) {
        let state = self.lock();
        state.books.as_ref().expect("a bound port").scribble(offset, value);
    }

    /// Bytes of ring memory, 0 without a port.
    pub fn ring_bytes(&self) -> usize {
        self.lock().books.as_ref().map_or(0, Books::ring_bytes)
    }

    /// Buffers that the user side holds: extra and reserved ones.
    pub fn user_buffers(&self) -> usize {
        self.lock().books.as_ref().map_or(0, Books::user_buffers)
    }

    fn receive(&self, segment: Segment) -> bool {
        let mut state = self.lock();
        let taken = state.nic.is_some() && state.sockets.contains(&segment.fd);
        if taken {
            state.waiting.push_back(segment);
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bound(&mut self, request: &'static str, what: &str) -> Result<&mut Books> {
        self.books.as_mut().ok_or_else(|| refused(request, what, Errno::ENXIO))
    }
}

impl Device for Loopback {
    fn register(&mut self, wanted: &Wanted<'_>) -> Result<Granted> {
        let mut state = self.lock();
        if state.version != u32::from(abi::NETMAP_API) {
            let library = u32::from(abi::NETMAP_API);
            return Err(Error::Version { library, kernel: state.version });
        }
        if state.books.is_some() {
            return Err(refused("register", wanted.name, Errno::EBUSY));
        }
        let (books, granted) = Books::open(wanted, Self::SLOTS)?;
        state.books = Some(books);
        Ok(granted)
    }

    fn attach(&mut self, nic: &str) -> Result<()> {
        let mut state = self.lock();
        state.bound("attach", nic)?;
        if state.nic.is_some() {
            return Err(refused("attach", nic, Errno::EBUSY));
        }
        state.nic = Some(nic.into());
        Ok(())
    }

    fn detach(&mut self, nic: &str) -> Result<()> {
        let mut state = self.lock();
        if state.nic.as_deref() != Some(nic) {
            return Err(refused("detach", nic, Errno::ENXIO));
        }
        state.nic = None;
        Ok(())
    }

    fn register_socket(&mut self, socket: BorrowedFd<'_>) -> Result<()> {
        let fd = socket.as_raw_fd();
        let mut state = self.lock();
        state.bound("register socket", &fd.to_string())?;
        if !state.sockets.insert(fd) {
            return Err(refused("register socket", &fd.to_string(), Errno::EBUSY));
        }
        Ok(())
    }

    fn rxsync(&mut self) -> Result<()> {
        let mut state = self.lock();
        let state = &mut *state;
        let books = state.books.as_mut().ok_or_else(|| refused("rxsync", "", Errno::ENXIO))?;
        books.take_back()?;
        books.deliver(&mut state.waiting)
    }

    fn poll(&mut self, others: &[BorrowedFd<'_>], timeout: Option<Duration>) -> Result<Ready> {
        self.rxsync()?;
        let port = self.lock().books.as_ref().is_some_and(Books::has_slots);
        // Nothing arrives at the port while we wait, so only others can end a wait.
        let timeout = if port || others.is_empty() { Some(Duration::ZERO) } else { timeout };
        let flags = sys::poll(others, timeout).map_err(Error::io("poll", "other descriptors"))?;
        Ok(Ready { port, others: flags.iter().map(|flags| !flags.is_empty()).collect() })
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

fn refused(request: &'static str, what: &str, errno: Errno) -> Error {
    Error::Refused { request, what: what.into(), option: None, source: io::Error::from(errno) }
}
