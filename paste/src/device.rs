//! Device: the seam between ports and whoever moves packets.
//!
//! Two implementors: [`KernelDevice`], a descriptor of `/dev/paste`, and [`Loopback`], the
//! kernel's half of the ring protocol played in this process, for tests.

mod kernel;
mod loopback;

use std::{fmt::Debug, os::fd::BorrowedFd, sync::Arc, time::Duration};

pub use kernel::KernelDevice;
pub use loopback::Loopback;

use crate::{
    error::Result,
    map::{Area, Words},
};

/// One descriptor: at most one port, its rings and its sockets.
pub trait Device: Debug + Send {
    /// Binds a port over the wanted buffers; afterwards its rings are in the granted memory.
    ///
    /// # Errors
    /// `Version` if the other side speaks another API, `Refused` with its errno.
    fn register(&mut self, wanted: &Wanted<'_>) -> Result<Granted>;

    /// Ties the NIC `nic` to the port.
    ///
    /// # Errors
    /// `Refused` with the errno.
    fn attach(&mut self, nic: &str) -> Result<()>;

    /// Unties the NIC `nic`.
    ///
    /// # Errors
    /// `Refused` with the errno.
    fn detach(&mut self, nic: &str) -> Result<()>;

    /// From now on the payload of the connected TCP `socket` appears in the port's RX slots.
    ///
    /// # Errors
    /// `Refused` with the errno.
    fn register_socket(&mut self, socket: BorrowedFd<'_>) -> Result<()>;

    /// Takes the slots before `head` back and publishes new ones up to `tail`.
    ///
    /// # Errors
    /// `Ring` or `Refused` if the user's half broke the ring protocol.
    fn rxsync(&mut self) -> Result<()>;

    /// Like `rxsync`, but waits until a slot is there, one of `others` can be read, or the
    /// timeout passed. `None` waits for ever.
    ///
    /// # Errors
    /// As `rxsync`.
    fn poll(&mut self, others: &[BorrowedFd<'_>], timeout: Option<Duration>) -> Result<Ready>;

    /// The descriptor, if there is one, for a poll loop of the program's own.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}

/// What a port asks its device for.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Port name, e.g. `pst:0`.
    pub(crate) name: &'a str,
    /// The buffers, in memory of ours.
    pub(crate) area: &'a Arc<Area>,
    /// Slots of an RX ring; 0: as many as the device likes.
    pub(crate) slots: u32,
    /// Extra buffers; fewer may be granted.
    pub(crate) extra: u32,
    /// Bit `i` set: a persistent structure owns buffer `i`.
    pub(crate) reserve: &'a [u64],
}

/// What a port got.
#[derive(Debug)]
pub struct Granted {
    /// `netmap_if` and rings.
    pub(crate) rings: Words,
    /// Where the `netmap_if` is in `rings`, bytes.
    pub(crate) netmap_if: usize,
    /// Extra buffers, listed from `ni_bufs_head`.
    pub(crate) extra: u32,
}

/// What [`Device::poll`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ready {
    pub(crate) port: bool,
    pub(crate) others: Vec<bool>,
}

impl Ready {
    /// The port has slots to read.
    pub fn port(&self) -> bool {
        self.port
    }

    /// The descriptor `others[index]` can be read, was hung up, or has an error.
    pub fn other(&self, index: usize) -> bool {
        self.others.get(index).copied().unwrap_or(false)
    }

    /// Nothing happened before the timeout.
    pub fn timed_out(&self) -> bool {
        !self.port && !self.others.contains(&true)
    }
}
