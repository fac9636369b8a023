//! Device: the seam between ports and whoever moves packets.
//!
//! Three implementors: [`KernelDevice`], a descriptor of `/dev/paste`; [`SocketDevice`], the same
//! over ordinary sockets, for systems without the module; and [`Loopback`], for tests. The last
//! two play the kernel's half of the ring protocol in this process.

mod books;
mod kernel;
mod loopback;
mod sockets;

use std::{
    fmt::Debug,
    os::fd::{BorrowedFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

pub use kernel::KernelDevice;
pub use loopback::{Loopback, Sent};
pub use sockets::SocketDevice;

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

    /// The `socket` is an ordinary one again.
    ///
    /// # Errors
    /// `Refused` with the errno: EBUSY as long as it has to send something that was taken from
    /// TX slots, or has received something that is in no slot.
    fn unregister_socket(&mut self, socket: BorrowedFd<'_>) -> Result<()>;

    /// Closes the registered `socket`; what was taken from TX slots is sent before it ends.
    ///
    /// # Errors
    /// `Refused` with the errno; it is closed all the same.
    fn close_socket(&mut self, socket: OwnedFd) -> Result<()>;

    /// Takes the slots before `head` back and publishes new ones up to `tail`.
    ///
    /// # Errors
    /// `Ring` or `Refused` if the user's half broke the ring protocol.
    fn rxsync(&mut self) -> Result<()>;

    /// Sends what the TX slots before `head` hold, as much as the sockets take.
    ///
    /// # Errors
    /// As `rxsync`.
    fn txsync(&mut self) -> Result<()>;

    /// Like `rxsync`, but waits until a slot is there, one of `others` can be read, or the
    /// timeout passed. `None` waits for ever.
    ///
    /// # Errors
    /// As `rxsync`. What TX slots hold is sent, too; with `tx` a free TX slot ends the wait.
    fn poll(
        &mut self,
        others: &[BorrowedFd<'_>],
        tx: bool,
        timeout: Option<Duration>,
    ) -> Result<Ready>;

    /// The descriptor for a poll loop of the program's own: readable when a sync would bring
    /// something.
    fn fd(&self) -> BorrowedFd<'_>;

    /// What the device is, in words for people.
    fn describe(&self) -> String;

    /// What this side of the device has copied. A kernel counts its copies itself.
    fn copies(&self) -> Copies {
        Copies::default()
    }
}

/// Bytes of payload that this process copied on their way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copies {
    /// Into the slots' buffers.
    pub received: u64,
    /// Out of the slots' buffers, or between two of them.
    pub sent: u64,
    /// Out of received packets that several records share, by [`Slot::copy`](crate::Slot::copy).
    pub shared: u64,
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
    /// Slots of a TX ring; 0: as many as the device likes.
    pub(crate) tx_slots: u32,
    /// Resets and failed sends are to be told.
    pub(crate) events: bool,
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
    pub(crate) tx: bool,
    pub(crate) others: Vec<bool>,
}

impl Ready {
    /// The port has slots to read.
    pub fn port(&self) -> bool {
        self.port
    }

    /// A TX slot is free, if that was waited for.
    pub fn tx(&self) -> bool {
        self.tx
    }

    /// The descriptor `others[index]` can be read, was hung up, or has an error.
    pub fn other(&self, index: usize) -> bool {
        self.others.get(index).copied().unwrap_or(false)
    }

    /// Nothing happened before the timeout.
    pub fn timed_out(&self) -> bool {
        !self.port && !self.tx && !self.others.contains(&true)
    }
}
