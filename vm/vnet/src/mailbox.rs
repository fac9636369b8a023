//! Mailbox: orders from any thread to the event loop, which it wakes.

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::connection::{Accepting, Connection, Echo};
use crate::error::{Error, Result};
use crate::sync::lock;

/// What the event loop is asked to do.
#[derive(Debug)]
pub(crate) enum Order {
    Connect(Arc<Connection>),
    Listen(u16, Arc<Accepting>),
    Ping(Ipv4Addr, Arc<Echo>),
}

#[derive(Debug, Default)]
struct Inside {
    orders: Vec<Order>,
    stopped: bool,
}

/// The queue and the descriptor that wakes its reader.
#[derive(Debug)]
pub(crate) struct Mailbox {
    inside: Mutex<Inside>,
    event: EventFd,
    /// The event was signalled and not yet taken: no need to signal it again.
    signalled: AtomicBool,
}

impl Mailbox {
    pub(crate) fn new() -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { inside: Mutex::default(), event, signalled: AtomicBool::new(false) })
    }

    /// Puts an order in and wakes the loop.
    ///
    /// # Errors
    /// `Gone` when the loop has ended.
    pub(crate) fn post(&self, order: Order) -> Result<()> {
        let mut inside = lock(&self.inside);
        if inside.stopped {
            return Err(Error::Gone);
        }
        inside.orders.push(order);
        drop(inside);
        self.wake();
        Ok(())
    }

    /// Wakes the loop, so that it looks at shared connections.
    pub(crate) fn wake(&self) {
        if !self.signalled.swap(true, Ordering::AcqRel) {
            // Only a full counter can refuse, and then the loop is awake.
            let _ = self.event.write(1);
        }
    }

    /// Asks the loop to end.
    pub(crate) fn stop(&self) {
        lock(&self.inside).stopped = true;
        self.wake();
    }

    /// What was posted and never taken, once the loop has ended: nobody may wait for it in vain.
    pub(crate) fn leftovers(&self) -> Vec<Order> {
        std::mem::take(&mut lock(&self.inside).orders)
    }

    /// The descriptor to wait on.
    pub(crate) fn event(&self) -> &EventFd {
        &self.event
    }

    /// Takes all orders; None when the loop is to end.
    pub(crate) fn take(&self) -> Option<Vec<Order>> {
        // Event first, flag second: the other way round, a wake in between would lose its event
        // and leave the flag set for ever. What that wake tells of is read below.
        let _ = self.event.read();
        self.signalled.swap(false, Ordering::AcqRel);
        let mut inside = lock(&self.inside);
        if inside.stopped { None } else { Some(std::mem::take(&mut inside.orders)) }
    }
}
