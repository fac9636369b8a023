//! Sockets: a port over ordinary sockets, for systems without the kernel extension.
//!
//! The program, its pool and its log are the same. Only the claim is not: every byte of payload
//! is copied once on its way in and once on its way out, and [`Device::copies`] counts them.
//! Dropped registrations are told by `unregister` only, because the device holds the sockets.

use std::{
    collections::{BTreeMap, VecDeque},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::PollFlags,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        socket::{MsgFlags, SockaddrStorage, getpeername, recv, send},
        stat::fstat,
    },
};

use super::{
    Copies, Device, Granted, Ready, Wanted,
    books::{Books, Segment, Take, refused},
};
use crate::{
    error::{Error, Result},
    slot::Event,
    sys,
};

/// Bytes that one socket may have taken from slots and not yet given to the system.
const MOST_PENDING: usize = 256 * 1024;

/// Ready sockets that one look finds.
const EVENTS: usize = 64;

/// A port over ordinary sockets.
#[derive(Debug)]
pub struct SocketDevice {
    epoll: Epoll,
    books: Option<Books>,
    nic: Option<String>,
    conns: BTreeMap<i32, Conn>,
    waiting: VecDeque<Segment>,
    copies: Copies,
    /// Where a read goes before it goes into a buffer.
    scratch: Vec<u8>,
}

/// A registered socket.
#[derive(Debug)]
struct Conn {
    socket: OwnedFd,
    /// What was taken from slots, and how much of the first piece is sent.
    pending: VecDeque<Vec<u8>>,
    pending_bytes: usize,
    sent: usize,
    /// The peer has not ended its stream, and the program wants to hear of it.
    reading: bool,
    /// The program's descriptor once it is done with the socket: its number stays taken until
    /// all is sent.
    closing: Option<OwnedFd>,
    interest: EpollFlags,
}

impl Conn {
    /// Gives the system what it takes now.
    fn flush(&mut self) -> std::result::Result<(), Errno> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        while let Some(piece) = self.pending.front() {
            match send(self.socket.as_raw_fd(), &piece[self.sent..], flags) {
                Ok(bytes) => {
                    self.sent += bytes;
                    self.pending_bytes -= bytes;
                }
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
            if self.pending.front().is_some_and(|piece| piece.len() == self.sent) {
                self.pending.pop_front();
                self.sent = 0;
            }
        }
        Ok(())
    }

    fn give_up(&mut self) {
        self.pending.clear();
        (self.pending_bytes, self.sent) = (0, 0);
    }

    /// What the epoll descriptor should wait for.
    fn wanted(&self) -> EpollFlags {
        let mut wanted = EpollFlags::empty();
        wanted.set(EpollFlags::EPOLLIN, self.reading);
        wanted.set(EpollFlags::EPOLLOUT, !self.pending.is_empty());
        wanted
    }
}

impl SocketDevice {
    /// Slots of each ring unless the port asks for a number.
    pub const SLOTS: u32 = 256;

    /// A device without sockets.
    ///
    /// # Errors
    /// `Io` if the system has no descriptor left.
    pub fn new() -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC);
        Ok(Self {
            epoll: epoll.map_err(Error::io("create", "an epoll descriptor"))?,
            books: None,
            nic: None,
            conns: BTreeMap::new(),
            waiting: VecDeque::new(),
            copies: Copies::default(),
            scratch: Vec::new(),
        })
    }

    fn books(&mut self, request: &'static str) -> Result<&mut Books> {
        self.books.as_mut().ok_or_else(|| refused(request, "", Errno::ENXIO))
    }

    /// Whether the number `fd` stands for the socket that was registered with it.
    fn is_same(&self, fd: i32, socket: BorrowedFd<'_>) -> bool {
        let inode = |fd: BorrowedFd<'_>| fstat(fd).map(|stat| (stat.st_dev, stat.st_ino)).ok();
        self.conns.get(&fd).is_some_and(|conn| inode(conn.socket.as_fd()) == inode(socket))
    }

    fn remove(&mut self, fd: i32) {
        let Some(conn) = self.conns.remove(&fd) else { return };
        // It is gone already if neither direction was of interest.
        let _ = self.epoll.delete(&conn.socket);
        self.waiting.retain(|segment| segment.fd != fd);
    }

    /// Lets the epoll descriptor wait for what the socket needs now. A socket that needs nothing
    /// is taken out: a hang-up cannot be masked.
    fn settle(&mut self, fd: i32) -> Result<()> {
        let Some(conn) = self.conns.get_mut(&fd) else { return Ok(()) };
        let (wanted, before) = (conn.wanted(), conn.interest);
        if wanted == before {
            return Ok(());
        }
        let data = u64::from(fd.cast_unsigned());
        let mut event = EpollEvent::new(wanted, data);
        let changed = if wanted.is_empty() {
            self.epoll.delete(&conn.socket)
        } else if before.is_empty() {
            self.epoll.add(&conn.socket, event)
        } else {
            self.epoll.modify(&conn.socket, &mut event)
        };
        conn.interest = wanted;
        changed.map_err(Error::io("wait for", "a socket"))
    }

    /// Reads while slots are free, a piece from each ready socket in turn; sends what sockets
    /// have room for.
    fn exchange(&mut self) -> Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let found = self.epoll.wait(&mut events, EpollTimeout::ZERO);
            let found = match found {
                Err(Errno::EINTR) => continue,
                found => found.map_err(Error::io("look at", "sockets"))?,
            };
            let mut moved = false;
            for event in &events[..found] {
                let fd = i32::try_from(event.data()).unwrap_or(-1);
                if event.events().contains(EpollFlags::EPOLLOUT) {
                    self.flush(fd)?;
                }
                let readable = EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
                moved |= event.events().intersects(readable) && self.read(fd)?;
            }
            if !moved {
                return Ok(());
            }
        }
    }

    /// Reads a piece; false: no slot was free, or there was nothing.
    fn read(&mut self, fd: i32) -> Result<bool> {
        let free = self.books("rxsync")?.room();
        let Some(conn) = self.conns.get_mut(&fd) else { return Ok(false) };
        if self.waiting.len() >= free || !conn.reading {
            return Ok(false);
        }
        let read = recv(conn.socket.as_raw_fd(), &mut self.scratch, MsgFlags::MSG_DONTWAIT);
        let segment = match read {
            Ok(0) => Segment::event(fd, Event::End),
            Ok(bytes) => {
                self.copies.received += bytes as u64;
                Segment::payload(fd, self.scratch[..bytes].to_vec())
            }
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(false),
            Err(errno) => Segment::event(fd, Event::Reset(errno as i32)),
        };
        conn.reading = segment.event.is_none();
        self.waiting.push_back(segment);
        self.settle(fd)?;
        Ok(true)
    }

    fn flush(&mut self, fd: i32) -> Result<()> {
        let Some(conn) = self.conns.get_mut(&fd) else { return Ok(()) };
        let flushed = conn.flush();
        if conn.closing.is_some() && (flushed.is_err() || conn.pending.is_empty()) {
            self.remove(fd);
            return Ok(());
        }
        if let Err(errno) = flushed {
            conn.give_up();
            self.waiting.push_back(Segment::event(fd, Event::SendFailed(errno as i32)));
        }
        self.settle(fd)
    }
}

impl Device for SocketDevice {
    fn register(&mut self, wanted: &Wanted<'_>) -> Result<Granted> {
        if self.books.is_some() {
            return Err(refused("register", wanted.name, Errno::EBUSY));
        }
        let (books, granted) = Books::open(wanted, Self::SLOTS)?;
        self.books = Some(books);
        self.scratch = vec![0; wanted.area.size()];
        Ok(granted)
    }

    fn attach(&mut self, nic: &str) -> Result<()> {
        self.books("attach")?;
        if self.nic.is_some() {
            return Err(refused("attach", nic, Errno::EBUSY));
        }
        // Sockets of whatever NIC are served; the name is kept for `detach` alone.
        self.nic = Some(nic.into());
        Ok(())
    }

    fn detach(&mut self, nic: &str) -> Result<()> {
        if self.nic.as_deref() != Some(nic) {
            return Err(refused("detach", nic, Errno::ENXIO));
        }
        self.nic = None;
        Ok(())
    }

    fn register_socket(&mut self, socket: BorrowedFd<'_>) -> Result<()> {
        let fd = socket.as_raw_fd();
        let fail = |errno| refused("register socket", &fd.to_string(), errno);
        self.books("register socket")?;
        if self.is_same(fd, socket) {
            return Err(fail(Errno::EBUSY));
        }
        getpeername::<SockaddrStorage>(fd).map_err(fail)?;
        // The program has closed the socket that had the number before.
        self.remove(fd);
        let socket = socket.try_clone_to_owned().map_err(Error::io("duplicate", "a socket"))?;
        let conn = Conn {
            socket,
            pending: VecDeque::new(),
            pending_bytes: 0,
            sent: 0,
            reading: true,
            closing: None,
            interest: EpollFlags::empty(),
        };
        self.conns.insert(fd, conn);
        self.settle(fd)
    }

    fn unregister_socket(&mut self, socket: BorrowedFd<'_>) -> Result<()> {
        let fd = socket.as_raw_fd();
        if !self.is_same(fd, socket) {
            return Err(refused("unregister socket", &fd.to_string(), Errno::ENOENT));
        }
        self.flush(fd)?;
        if self.conns.get(&fd).is_some_and(|conn| !conn.pending.is_empty()) {
            return Err(refused("unregister socket", &fd.to_string(), Errno::EBUSY));
        }
        self.remove(fd);
        Ok(())
    }

    fn close_socket(&mut self, socket: OwnedFd) -> Result<()> {
        let fd = socket.as_raw_fd();
        if !self.is_same(fd, socket.as_fd()) {
            return Err(refused("close socket", &fd.to_string(), Errno::ENOENT));
        }
        let conn = self.conns.get_mut(&fd).expect("it is the same");
        conn.reading = false;
        conn.closing = Some(socket);
        self.waiting.retain(|segment| segment.fd != fd);
        self.flush(fd)
    }

    fn rxsync(&mut self) -> Result<()> {
        self.books("rxsync")?.take_back()?;
        self.exchange()?;
        let Self { books, waiting, .. } = self;
        books.as_mut().map_or(Ok(()), |books| books.deliver(waiting))
    }

    fn txsync(&mut self) -> Result<()> {
        let Self { books, conns, .. } = self;
        let books = books.as_mut().ok_or_else(|| refused("txsync", "", Errno::ENXIO))?;
        let mut pending: BTreeMap<i32, usize> = BTreeMap::new();
        let open = |fd| conns.get(&fd).filter(|conn| conn.closing.is_none());
        let taken = books.accept(|fd, len| match open(fd) {
            None => Take::Never,
            Some(conn) => {
                let bytes = pending.entry(fd).or_insert(conn.pending_bytes);
                if *bytes > MOST_PENDING {
                    return Take::Wait;
                }
                *bytes += len;
                Take::Now
            }
        })?;
        let mut touched = Vec::new();
        for out in taken {
            let conn = self.conns.get_mut(&out.fd).filter(|_| !out.refused);
            let Some(conn) = conn else {
                let event = Event::SendFailed(Errno::ENOTCONN as i32);
                self.waiting.push_back(Segment::event(out.fd, event));
                continue;
            };
            self.copies.sent += out.bytes.len() as u64;
            conn.pending_bytes += out.bytes.len();
            conn.pending.push_back(out.bytes);
            touched.push(out.fd);
        }
        touched.sort_unstable();
        touched.dedup();
        touched.into_iter().try_for_each(|fd| self.flush(fd))
    }

    fn poll(
        &mut self,
        others: &[BorrowedFd<'_>],
        tx: bool,
        timeout: Option<Duration>,
    ) -> Result<Ready> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            self.txsync()?;
            self.rxsync()?;
            let books = self.books("poll")?;
            let (port, tx) = (books.has_slots(), tx && books.has_tx_slots());
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let wait = if port || tx { Some(Duration::ZERO) } else { left };
            let mut fds = vec![(self.epoll.0.as_fd(), PollFlags::POLLIN)];
            fds.extend(others.iter().map(|fd| (*fd, PollFlags::POLLIN)));
            let flags = sys::poll(&fds, wait).map_err(Error::io("poll", "sockets"))?;
            let others: Vec<_> = flags[1..].iter().map(|flags| !flags.is_empty()).collect();
            let late = left.is_some_and(|left| left.is_zero());
            if port || tx || late || others.contains(&true) {
                return Ok(Ready { port, tx, others });
            }
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    fn describe(&self) -> String {
        "ordinary sockets (no kernel extension): every byte is copied".into()
    }

    fn copies(&self) -> Copies {
        self.copies
    }
}
