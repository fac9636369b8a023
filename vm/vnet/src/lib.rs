//! A NIC for a guest, and a network behind it that lives in this process.
//!
//! [`Vnet`] is a vhost-user-net backend: QEMU connects to its socket and hands over the guest's
//! memory and virtqueues. At the other end of the cable is a TCP/IP stack of our own, used through
//! [`Host`]: ping, connect, listen. The [`FrameLog`] has every frame with the guest addresses (and
//! their places in the file behind guest memory) at which the backend really read or wrote it, and
//! [`Vnet::census`] finds every copy of some bytes in all of guest memory. A [`Journal`] keeps the
//! bytes themselves, for those who have to know what a device wrote and when; [`Vnet::tear`] has
//! the device stop in the middle of a frame, as a loss of power does.
//!
//! One thread runs all of it (`event_loop`); it sleeps while nothing happens. `protocol` is what a
//! frontend sets up, `memory` and `vring` are the guest's side, `chain`, `net_header` and `packet`
//! read what the guest wrote and trust none of it. `port` holds the two ends of the cable; a tap
//! device or the kernel's vhost-net would be further ports. The crate knows nothing of guest life.

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

mod census;
mod chain;
mod connection;
mod counters;
mod error;
mod event_loop;
mod frame_log;
mod host;
mod journal;
mod mailbox;
mod memory;
mod net_header;
mod packet;
mod partial;
mod port;
mod protocol;
mod session;
mod sync;
mod vring;

pub use census::Occurrence;
pub use connection::UNREAD_LIMIT;
pub use counters::Counters;
pub use error::{Error, Result};
pub use frame_log::{Direction, Filter, Frame, FrameLog, Range, hash};
pub use host::{Host, Listener, Tcp};
pub use journal::{Journal, Window};
pub use memory::{FileId, FileOffset, GuestAddress, Region};
pub use packet::Flow;
pub use port::fault::Fault;
pub use port::tear::{Stopped, Tear, Torn};

use counters::Tally;
use event_loop::{EventLoop, Link, Parts, SharedLink};
use mailbox::Mailbox;
use port::host_port::HostPort;
use port::tear::Trap;
use port::wire::Wire;
use sync::{lock, wait};

/// The host's address on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostAddress {
    /// IPv4 address.
    pub ip: Ipv4Addr,
    /// Length of the network's prefix in bits, 0 to 30.
    pub prefix_len: u8,
    /// Ethernet address; unicast.
    pub mac: [u8; 6],
}

/// What a network is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// Path of the vhost-user socket, at most 107 bytes; must not be in use.
    pub socket: PathBuf,
    /// The host's end.
    pub host: HostAddress,
    /// How many frames the frame log keeps, about 200 bytes each.
    pub logged_frames: usize,
    /// How long the host's TCP may hold back an acknowledgement for data to ride on. `None`:
    /// everything is acknowledged at once (once per batch).
    pub ack_delay: Option<Duration>,
    /// What is wrong with the cable; `None`: nothing.
    pub fault: Option<Fault>,
    /// Takes what the device writes into its window.
    pub journal: Option<Journal>,
}

impl Config {
    /// A network on `socket` whose frame log keeps a million frames.
    pub fn new(socket: impl Into<PathBuf>, host: HostAddress) -> Self {
        Self {
            socket: socket.into(),
            host,
            logged_frames: 1_000_000,
            ack_delay: None,
            fault: None,
            journal: None,
        }
    }
}

/// A running network. Dropping it ends its thread and removes its socket.
#[derive(Debug)]
pub struct Vnet {
    socket: PathBuf,
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
    host: Host,
    frame_log: FrameLog,
    trap: Trap,
    tally: Arc<Tally>,
    link: SharedLink,
}

impl Vnet {
    /// Listens on the socket and starts the network. Start it before QEMU, which wants to connect.
    ///
    /// # Errors
    /// `Listen` when the socket cannot be made, `Address`, `Host`.
    pub fn start(config: Config) -> Result<Self> {
        check(&config.host)?;
        let doing = |doing| move |source| Error::Host { doing, source };
        let listener = listen(&config.socket)
            .map_err(|source| Error::Listen { socket: config.socket.clone(), source })?;
        let mailbox = Arc::new(Mailbox::new().map_err(doing("make an event descriptor"))?);
        let frame_log = FrameLog::new(config.logged_frames);
        let trap = Trap::default();
        let tally = Arc::new(Tally::default());
        let link: SharedLink = Arc::new((Mutex::new(Link::default()), Condvar::new()));
        let event_loop = EventLoop::new(Parts {
            listener,
            mailbox: Arc::clone(&mailbox),
            host: HostPort::new(&config.host, config.ack_delay, Wire::new(config.fault, &tally)),
            frame_log: frame_log.clone(),
            journal: config.journal,
            trap: trap.clone(),
            tally: Arc::clone(&tally),
            link: Arc::clone(&link),
        })
        .map_err(doing("prepare the event loop"))?;
        let thread = std::thread::Builder::new()
            .name("vnet".into())
            .spawn(move || event_loop.run())
            .map_err(doing("start the event loop"))?;
        let host = Host::new(Arc::clone(&mailbox), config.host.ip);
        let thread = Some(thread);
        Ok(Self { socket: config.socket, mailbox, thread, host, frame_log, trap, tally, link })
    }

    /// Waits until a driver in a guest has set up both virtqueues.
    ///
    /// # Errors
    /// `NoLink` with the last thing the frontend did.
    pub fn wait_link(&self, within: Duration) -> Result<()> {
        let (mutex, changed) = &*self.link;
        let waited = wait((mutex, changed), within, "wait for the link", |link| {
            let gone = link.gone.then_some(Err(Error::Gone));
            if link.up { Some(Ok(())) } else { gone }
        });
        match waited {
            Err(Error::Timeout(_)) => Err(Error::NoLink { why: self.link().news.clone() }),
            other => other,
        }
    }

    /// Whether a driver in a guest has set up both virtqueues.
    pub fn is_up(&self) -> bool {
        self.link().up
    }

    /// The host's end of the network.
    pub fn host(&self) -> Host {
        self.host.clone()
    }

    /// The log of all frames.
    pub fn frame_log(&self) -> FrameLog {
        self.frame_log.clone()
    }

    /// Has the device stand still in the middle of a frame, as in a loss of power: cut the
    /// guest's when it is told. One tear waits at a time; a new one takes the old one's place.
    pub fn tear(&self, tear: Tear) -> Torn {
        self.trap.arm(tear)
    }

    /// What was done and refused since the start.
    pub fn counters(&self) -> Counters {
        self.tally.read()
    }

    /// The guest memory that the frontend shares, ordered by guest address.
    pub fn regions(&self) -> Vec<Region> {
        self.link().memory.regions().iter().map(|region| region.describe()).collect()
    }

    /// Finds `needle` in all guest memory; overlapping occurrences count once. Pause the guest.
    ///
    /// A needle that crosses a page may be cut by the guest's own mapping: keep it within one.
    ///
    /// # Errors
    /// `Census` for an empty needle or when a file cannot be read.
    pub fn census(&self, needle: &[u8]) -> Result<Vec<Occurrence>> {
        let memory = self.link().memory.clone();
        census::census(memory.regions(), needle)
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        lock(&self.link.0)
    }
}

impl Drop for Vnet {
    fn drop(&mut self) {
        self.mailbox.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the loop has been printed by its thread; a drop must not panic again.
            let _ = thread.join();
        }
        // Gone already if somebody cleaned the directory.
        let _ = fs::remove_file(&self.socket);
    }
}

fn check(host: &HostAddress) -> Result<()> {
    let ip = host.ip;
    let odd = ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() || ip.is_loopback();
    if odd || host.prefix_len > 30 || host.mac[0] & 1 != 0 || host.mac == [0; 6] {
        return Err(Error::Address(format!("{ip}/{} {:02x?}", host.prefix_len, host.mac)));
    }
    Ok(())
}

/// Listens on `path`; a socket there that nobody listens on is left over and replaced.
fn listen(path: &Path) -> io::Result<UnixListener> {
    // Only a socket is ours to replace: connecting to any other file is refused, too.
    if path.metadata().is_ok_and(|meta| meta.file_type().is_socket()) {
        match UnixStream::connect(path) {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            _ => return Err(io::Error::from(io::ErrorKind::AddrInUse)),
        }
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
