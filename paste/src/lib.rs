//! PASTE: packets that are their own records.
//!
//! A NIC writes a packet into a buffer of persistent memory; the kernel's TCP shows its payload
//! in a slot of a ring; the program swaps a spare buffer into the slot, flushes the payload where
//! it lies, and adds 32 bytes to a log. Nothing is copied, and after a power loss the log says
//! which buffers hold what.
//!
//! ```text
//!   Pool (file or devdax) --Log::open--> Log, Buffers --PortSpec--> Port --rx()--> RxView
//!                                         ^                                          |
//!                                         +-- append(Batch) -- Packet -- Slot::keep -+
//! ```
//!
//! What the types keep: a buffer is in exactly one place ([`Buf`] is neither `Copy` nor `Clone`,
//! and a slot's buffer leaves only by [`Slot::swap`]); slots go back to the kernel when their
//! view ends; no port can be opened before the log was recovered; [`Log::append`] returns when
//! its records are durable.
//!
//! The library does not know whether memory and NIC are emulated. It reads no environment
//! variable and starts no process or thread.
//!
//! ```
//! # use std::os::fd::AsFd;
//! use paste_net::{Batch, Log, Loopback, Pool, PoolSpec, Port, PortSpec};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let socket = tempfile::tempfile()?;
//! let pool = Pool::volatile(&PoolSpec::new("memory").size(1 << 20).log_entries(128))?;
//! let mut log = Log::open(&pool)?; // recovery
//! let device = Loopback::new(); // or KernelDevice::open()?
//! let spec = PortSpec::new("pst:0", log.buffers()).extra(64);
//! let mut port = Port::open(device.clone(), &spec)?;
//! port.attach("eth0")?;
//! let fd = port.register(socket.as_fd())?;
//! device.inject(fd.raw(), b"hello", 66); // what a peer sent
//!
//! port.poll(&[], None)?;
//! let mut batch = Batch::new();
//! let mut view = port.rx()?;
//! while let Some(slot) = view.next()? {
//!     let spare = log.buffers().spare().ok_or("no spare buffer")?;
//!     batch.record([slot.keep(spare)]);
//! }
//! drop(view); // the slots go back
//! log.append(batch)?; // durable: only now answer through the socket
//!
//! assert_eq!(log.records().next().ok_or("no record")?.to_vec(), b"hello");
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

pub mod abi;
mod blank;
mod buf;
mod device;
mod error;
mod log;
#[expect(unsafe_code, reason = "atomics and leases over memory shared with the kernel")]
mod map;
pub mod marker;
mod pmem;
mod pool;
mod port;
#[cfg(test)]
mod random;
mod ring;
mod slot;
#[expect(unsafe_code, reason = "the ioctls of /dev/paste")]
mod sys;
mod tx;

pub use blank::Blank;
pub use buf::{Buf, BufIndex, BufSet, BufSize, Buffers, Packet, RegionOffset};
pub use device::{
    Copies, Device, Granted, KernelDevice, Loopback, Ready, Sent, SocketDevice, Wanted,
};
pub use error::{Error, Result};
pub use log::{
    Appended, Batch, Epoch, Log, MOST_IN_BATCH, Record, Records, Rejected, Remains, Sequence,
    Stored,
};
pub use pmem::region::Granularity;
pub use pool::{
    Pool, PoolSpec,
    superblock::{Geometry, PoolId},
};
pub use port::{Port, PortSpec, RxView};
pub use slot::{ConnFd, Event, Slot};
pub use tx::{FURTHEST_START, TxView, Unsent};
