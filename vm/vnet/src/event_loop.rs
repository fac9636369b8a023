//! Event loop: the one thread that serves the frontend, both virtqueues and the host's stack.
//!
//! It sleeps in epoll without a timeout unless the stack has a timer running. Kicks are refused
//! while it works and asked for again before it sleeps.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::counters::{Tally, count};
use crate::frame_log::FrameLog;
use crate::journal::Journal;
use crate::mailbox::Mailbox;
use crate::memory::MemTable;
use crate::port::host_port::HostPort;
use crate::port::tear::Trap;
use crate::port::vhost_port::{Received, Sent, VhostPort};
use crate::protocol::{Device, RX, TX};
use crate::session::{Session, is_refusal};
use crate::sync::lock;

/// Frames taken from the guest before other work gets its turn.
const BATCH: usize = 128;
/// Rounds of work before the descriptors are looked at again.
const ROUNDS: usize = 16;
/// A frontend that stalls in the middle of a message must not stall the network for ever.
const STALL: Duration = Duration::from_secs(5);
/// Shortest sleep when the stack asks for a poll that then does nothing.
const NAP: Duration = Duration::from_millis(1);

const TOKEN_LISTENER: u64 = 0;
const TOKEN_MAILBOX: u64 = 1;
const TOKEN_SESSION: u64 = 2;
/// Kick of virtqueue n is this and n.
const TOKEN_KICK: u64 = 4;

/// What other threads may know of the link.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) up: bool,
    /// What the frontend did last.
    pub(crate) news: String,
    pub(crate) memory: MemTable,
    /// The loop has ended.
    pub(crate) gone: bool,
}

/// The link's state and the condition that it changed.
pub(crate) type SharedLink = Arc<(Mutex<Link>, Condvar)>;

/// What a loop is made of.
pub(crate) struct Parts {
    pub(crate) listener: UnixListener,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) host: HostPort,
    pub(crate) frame_log: FrameLog,
    pub(crate) journal: Option<Journal>,
    pub(crate) trap: Trap,
    pub(crate) tally: Arc<Tally>,
    pub(crate) link: SharedLink,
}

/// However the loop ends, nobody may wait for it in vain.
impl Drop for EventLoop {
    fn drop(&mut self) {
        self.mailbox.stop();
        // After a panic the state of connections may be anything; their handles time out.
        if !std::thread::panicking() {
            self.host.shut_down(self.mailbox.leftovers());
        }
        let (mutex, changed) = &*self.link;
        if let Ok(mut link) = mutex.lock() {
            *link = Link { gone: true, ..Link::default() };
        }
        changed.notify_all();
    }
}

/// The loop's state.
#[derive(Debug)]
pub(crate) struct EventLoop {
    epoll: Epoll,
    listener: UnixListener,
    mailbox: Arc<Mailbox>,
    session: Option<Session>,
    device: Arc<Mutex<Device>>,
    vhost: VhostPort,
    host: HostPort,
    tally: Arc<Tally>,
    link: SharedLink,
    /// Own copies of the kick descriptors. Only a copy can be taken out of epoll for sure: the
    /// frontend's descriptor may be closed in between, and its open file lives on there.
    kicks: [Option<File>; 2],
    was_up: bool,
    /// `Device::changes` when the descriptors were last looked at.
    seen: u64,
    /// The guest has no buffers for the frame at the head of the outbox.
    blocked: bool,
}

impl EventLoop {
    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
        let Parts { listener, mailbox, host, frame_log, journal, trap, tally, link } = parts;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, TOKEN_LISTENER))?;
        epoll.add(mailbox.event(), EpollEvent::new(EpollFlags::EPOLLIN, TOKEN_MAILBOX))?;
        let device = Arc::new(Mutex::new(Device::new(journal)));
        let vhost = VhostPort::new(Arc::clone(&device), frame_log, Arc::clone(&tally), trap);
        Ok(Self {
            epoll,
            listener,
            mailbox,
            session: None,
            device,
            vhost,
            host,
            tally,
            link,
            kicks: [None, None],
            was_up: false,
            seen: 0,
            blocked: false,
        })
    }

    /// Runs until the mailbox is stopped.
    pub(crate) fn run(mut self) {
        let mut timeout = None;
        let mut events = [EpollEvent::empty(); 8];
        loop {
            let ready = match self.epoll.wait(&mut events, epoll_timeout(timeout)) {
                Ok(ready) => ready,
                Err(Errno::EINTR) => 0,
                // A bad descriptor set is a bug of this file; ending is better than spinning.
                Err(_) => break,
            };
            count(&self.tally.wakeups);
            let tokens: Vec<u64> = events[..ready].iter().map(EpollEvent::data).collect();
            if !tokens.into_iter().all(|token| self.handle(token)) {
                break;
            }
            timeout = self.work();
        }
    }

    /// Handles one ready descriptor; false when the loop is to end.
    fn handle(&mut self, token: u64) -> bool {
        match token {
            TOKEN_LISTENER => self.accept(),
            TOKEN_SESSION => self.serve(),
            TOKEN_MAILBOX => match self.mailbox.take() {
                Some(orders) => orders.into_iter().for_each(|order| self.host.order(order)),
                None => return false,
            },
            kick => {
                let index = usize::from(kick != TOKEN_KICK);
                if let Some(mut kick) = self.kicks[index].as_ref() {
                    // Nothing to read means that the descriptor was replaced: no harm.
                    let _ = kick.read(&mut [0; 8]);
                }
                self.blocked &= index != RX;
            }
        }
        true
    }

    /// Takes the next frontend. While it is there others wait in the socket's backlog.
    fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        let prepared = stream
            .set_nonblocking(false)
            .and_then(|()| stream.set_read_timeout(Some(STALL)))
            .and_then(|()| stream.set_write_timeout(Some(STALL)))
            .and_then(|()| Session::new(stream, Arc::clone(&self.device)));
        let Ok(session) = prepared else { return };
        self.vhost.device().clear();
        let event = EpollEvent::new(EpollFlags::EPOLLIN, TOKEN_SESSION);
        let added = self.epoll.add(session.stream(), event);
        let removed = self.epoll.delete(&self.listener);
        debug_assert!(added.is_ok() && removed.is_ok(), "descriptors are open and known");
        self.session = Some(session);
        count(&self.tally.sessions);
        self.tell("a frontend connected");
    }

    fn serve(&mut self) {
        let Some(session) = &mut self.session else { return };
        match session.serve() {
            Ok(()) => self.follow(None),
            Err(e) if is_refusal(&e) => self.follow(Some(&format!("a request was refused: {e}"))),
            Err(e) => self.end_session(&format!("the frontend left: {e}")),
        }
    }

    fn end_session(&mut self, why: &str) {
        self.vhost.device().clear();
        // Nobody else holds the session's socket, so closing it takes it out of epoll.
        self.session = None;
        self.follow(Some(why));
        self.host.lose_link();
        let event = EpollEvent::new(EpollFlags::EPOLLIN, TOKEN_LISTENER);
        let added = self.epoll.add(&self.listener, event);
        debug_assert!(added.is_ok(), "the listener is open and not watched");
    }

    /// Follows what the last message changed: descriptors, link and memory.
    fn follow(&mut self, news: Option<&str>) {
        let device = self.vhost.device();
        let (changes, up) = (device.changes, device.is_up());
        if changes != self.seen {
            let copy = |kick: Option<&File>| kick.and_then(|kick| kick.try_clone().ok());
            let kicks = [RX, TX].map(|index| copy(device.vrings[index].kick()));
            drop(device);
            self.watch_kicks(kicks);
            self.seen = changes;
            self.blocked = false;
        } else if news.is_none() {
            return;
        } else {
            drop(device);
        }
        if up != self.was_up {
            self.was_up = up;
            self.host.set_link(up);
        }
        let standard = if up { "the driver is up" } else { "the driver is not up yet" };
        self.tell(news.unwrap_or(standard));
    }

    fn watch_kicks(&mut self, kicks: [Option<File>; 2]) {
        let tokens = [TOKEN_KICK, TOKEN_KICK + 1];
        for ((old, new), token) in self.kicks.iter_mut().zip(kicks).zip(tokens) {
            if let Some(old) = old.take() {
                // Fails only for one that was refused below.
                let _ = self.epoll.delete(&old);
            }
            *old = new.filter(|kick| {
                // A read must never block the loop, whoever else empties the descriptor.
                let quick = fcntl(kick, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).is_ok();
                let event = EpollEvent::new(EpollFlags::EPOLLIN, token);
                quick && self.epoll.add(kick, event).is_ok()
            });
        }
    }

    /// Moves frames until nothing is left to do; returns how long to sleep if nothing happens.
    fn work(&mut self) -> Option<Duration> {
        if self.vhost.device().partial.is_some() {
            return None;
        }
        self.vhost.refuse_kicks(TX);
        if !self.blocked {
            self.vhost.refuse_kicks(RX);
        }
        for _ in 0..ROUNDS {
            let (taken, drained) = self.take_from_guest();
            self.host.poll();
            let jammed = self.host.wire.is_jammed();
            if !self.give_to_guest() {
                return None;
            }
            self.vhost.publish();
            if taken || (jammed && !self.blocked) {
                continue;
            }
            if drained && self.vhost.want_kicks(TX) {
                self.vhost.refuse_kicks(TX);
                continue;
            }
            if self.host.wire.is_jammed() {
                // The stack wants to go on but cannot: only the guest's kick changes that.
                return None;
            }
            return self.host.delay().map(|delay| delay.max(NAP));
        }
        Some(Duration::ZERO)
    }

    /// Moves a batch of transmitted frames to the stack. Tells whether there was anything, and
    /// whether the queue is empty now.
    fn take_from_guest(&mut self) -> (bool, bool) {
        let mut any = false;
        for _ in 0..BATCH {
            if self.host.wire.is_full() {
                return (any, false);
            }
            let mut frame = self.host.wire.buffer();
            match self.vhost.receive(&mut frame) {
                Received::Frame => self.host.wire.put(frame),
                Received::Nothing => self.host.wire.recycle(frame),
                Received::Empty => {
                    self.host.wire.recycle(frame);
                    return (any, true);
                }
            }
            any = true;
        }
        (any, false)
    }

    /// Moves frames of the stack to the guest, as far as it has buffers; false when the device
    /// stands still now.
    fn give_to_guest(&mut self) -> bool {
        while !self.blocked
            && let Some(frame) = self.host.wire.outbox.pop_front()
        {
            match self.vhost.send(&frame) {
                Sent::Done => self.host.wire.recycle(frame),
                Sent::NotUp => {
                    self.host.wire.outbox.push_front(frame);
                    self.blocked = true;
                }
                Sent::NoBuffers => {
                    self.host.wire.outbox.push_front(frame);
                    // The wish for a kick may stay: if chains came in meanwhile, it is withdrawn
                    // when the loop works next.
                    self.blocked = !self.vhost.want_kicks(RX);
                }
                Sent::Torn => return false,
            }
        }
        true
    }

    /// Publishes news of the link.
    fn tell(&self, news: &str) {
        let device = self.vhost.device();
        let (mutex, changed) = &*self.link;
        let mut link = lock(mutex);
        link.up = device.is_up();
        link.memory = device.mem.clone();
        news.clone_into(&mut link.news);
        changed.notify_all();
    }
}

fn epoll_timeout(delay: Option<Duration>) -> EpollTimeout {
    let Some(delay) = delay else { return EpollTimeout::NONE };
    // Rounded up: waking before the time would only poll in vain.
    let millis = delay.as_micros().div_ceil(1000);
    EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::MAX)
}

#[cfg(test)]
mod tests;
