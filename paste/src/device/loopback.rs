//! Loopback: the kernel's half of a `pst:` port, played in this process for tests.
//!
//! A test keeps a clone, injects payload and looks at what was sent; a port drives the other
//! clone as it would drive the kernel. It knows no threads: a `poll` with nothing to deliver ends
//! at once.

use std::{
    collections::{HashSet, VecDeque},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::PollFlags,
    sys::eventfd::{EfdFlags, EventFd},
};

use super::{
    Device, Granted, Ready, Wanted,
    books::{Books, Segment, Take, refused},
};
use crate::{
    abi,
    buf::{BufIndex, RegionOffset},
    error::{Error, Result},
    slot::{ConnFd, Event},
    sys,
};

/// What a loopback's socket took from a TX slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The connection.
    pub conn: ConnFd,
    /// The payload.
    pub bytes: Vec<u8>,
    /// The buffer that it lay in.
    pub index: BufIndex,
    /// Where it lay in the pool's file or device.
    pub location: RegionOffset,
    /// The program owns the buffer as before.
    pub kept: bool,
}

/// A port without a kernel. Clones are the same port.
#[derive(Debug, Clone)]
pub struct Loopback {
    state: Arc<Mutex<State>>,
    /// Readable while something waits for a sync.
    bell: Arc<EventFd>,
}

#[derive(Debug)]
struct State {
    version: u32,
    books: Option<Books>,
    nic: Option<String>,
    sockets: HashSet<i32>,
    /// Sockets that take nothing.
    full: HashSet<i32>,
    waiting: VecDeque<Segment>,
    sent: Vec<Sent>,
    /// Where buffer 0 lies in the pool's file or device, and the size of buffers.
    buffers: (usize, usize),
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
    ///
    /// # Panics
    /// If the system has no event descriptor left.
    pub fn with_version(version: u32) -> Self {
        let state = State {
            version,
            books: None,
            nic: None,
            sockets: HashSet::new(),
            full: HashSet::new(),
            waiting: VecDeque::new(),
            sent: Vec::new(),
            buffers: (0, 0),
        };
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC);
        let bell = bell.expect("an event descriptor");
        Self { state: Arc::new(Mutex::new(state)), bell: Arc::new(bell) }
    }

    /// Payload arrives for the socket `fd`, after `headers` bytes of headers (at most 1023).
    /// Nobody sees it before the next sync. False: the socket is not registered or no NIC is
    /// attached, so the payload would go the ordinary way.
    pub fn inject(&self, fd: i32, payload: &[u8], headers: u16) -> bool {
        self.receive(Segment { headers, ..Segment::payload(fd, payload.to_vec()) })
    }

    /// As `inject`, with the netmap offset `offset` before the headers.
    pub fn inject_at(&self, fd: i32, payload: &[u8], offset: u8, headers: u16) -> bool {
        self.receive(Segment { offset, headers, ..Segment::payload(fd, payload.to_vec()) })
    }

    /// The peer of socket `fd` ends its stream.
    pub fn end_stream(&self, fd: i32) -> bool {
        self.receive(Segment::event(fd, Event::End))
    }

    /// The connection of socket `fd` dies with this errno.
    pub fn reset(&self, fd: i32, errno: i32) -> bool {
        self.receive(Segment::event(fd, Event::Reset(errno)))
    }

    /// From now on socket `fd` takes nothing, or takes again what is sent.
    pub fn set_full(&self, fd: i32, full: bool) {
        let mut state = self.lock();
        if full {
            state.full.insert(fd)
        } else {
            state.full.remove(&fd)
        };
    }

    /// What sockets have taken since the last call.
    pub fn sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.lock().sent)
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

    /// Buffers that the user side holds, beside those in its slots: extra and reserved ones.
    pub fn user_buffers(&self) -> usize {
        self.lock().books.as_ref().map_or(0, Books::user_buffers)
    }

    fn receive(&self, segment: Segment) -> bool {
        let mut state = self.lock();
        let taken = state.nic.is_some() && state.sockets.contains(&segment.fd);
        if taken {
            state.waiting.push_back(segment);
            // Fails only when the bell rings already.
            let _ = self.bell.write(1);
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
        state.buffers = (wanted.area.offset(0), wanted.area.size());
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

    fn unregister_socket(&mut self, socket: BorrowedFd<'_>) -> Result<()> {
        let fd = socket.as_raw_fd();
        let mut state = self.lock();
        state.bound("unregister socket", &fd.to_string())?;
        if !state.sockets.remove(&fd) {
            return Err(refused("unregister socket", &fd.to_string(), Errno::ENOENT));
        }
        state.waiting.retain(|segment| segment.fd != fd);
        Ok(())
    }

    fn close_socket(&mut self, socket: OwnedFd) -> Result<()> {
        // What was taken from slots is sent already.
        self.unregister_socket(socket.as_fd())
    }

    fn rxsync(&mut self) -> Result<()> {
        let mut state = self.lock();
        let state = &mut *state;
        let books = state.books.as_mut().ok_or_else(|| refused("rxsync", "", Errno::ENXIO))?;
        books.take_back()?;
        books.deliver(&mut state.waiting)?;
        if state.waiting.is_empty() {
            // Fails only when the bell is silent already.
            let _ = self.bell.read();
        }
        Ok(())
    }

    fn txsync(&mut self) -> Result<()> {
        let mut state = self.lock();
        let State { books, sockets, full, waiting, sent, buffers, .. } = &mut *state;
        let books = books.as_mut().ok_or_else(|| refused("txsync", "", Errno::ENXIO))?;
        let ask = |fd, _| match (sockets.contains(&fd), full.contains(&fd)) {
            (false, _) => Take::Never,
            (true, true) => Take::Wait,
            (true, false) => Take::Now,
        };
        for out in books.accept(ask)? {
            if out.refused {
                let event = Event::SendFailed(Errno::ENOTCONN as i32);
                waiting.push_back(Segment::event(out.fd, event));
                continue;
            }
            let at = buffers.0 + out.index as usize * buffers.1 + out.start;
            sent.push(Sent {
                conn: ConnFd(out.fd),
                bytes: out.bytes,
                index: BufIndex(out.index),
                location: RegionOffset(at as u64),
                kept: out.kept,
            });
        }
        Ok(())
    }

    fn poll(
        &mut self,
        others: &[BorrowedFd<'_>],
        tx: bool,
        timeout: Option<Duration>,
    ) -> Result<Ready> {
        self.txsync()?;
        self.rxsync()?;
        let port = self.lock().books.as_ref().is_some_and(Books::has_slots);
        let tx = tx && self.lock().books.as_ref().is_some_and(Books::has_tx_slots);
        // Nothing arrives at the port while we wait, so only others can end a wait.
        let timeout = if port || tx || others.is_empty() { Some(Duration::ZERO) } else { timeout };
        let fds: Vec<_> = others.iter().map(|fd| (*fd, PollFlags::POLLIN)).collect();
        let flags = sys::poll(&fds, timeout).map_err(Error::io("poll", "other descriptors"))?;
        Ok(Ready { port, tx, others: flags.iter().map(|flags| !flags.is_empty()).collect() })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    fn describe(&self) -> String {
        "a loopback without a network".into()
    }
}
