//! PASTE: packets that are their own records.
#![deny(unsafe_code)]

pub mod abi;
mod buf;
mod device;
mod error;
mod log;
#[expect(unsafe_code, reason = "atomics and leases over memory shared with the kernel")]
mod map;
mod pmem;
mod pool;
mod port;
#[cfg(test)]
mod random;
mod ring;
mod slot;
#[expect(unsafe_code, reason = "the ioctls of /dev/paste")]
mod sys;

pub use buf::{Buf, BufIndex, BufSet, BufSize, Buffers, Packet, RegionOffset};
pub use device::{Device, Granted, KernelDevice, Loopback, Ready, Wanted};
pub use error::{Error, Result};
pub use log::{Appended, Batch, Epoch, Log, MOST_IN_BATCH, Record, Records, Rejected, Sequence};
pub use pmem::region::Granularity;
pub use pool::{
    Pool, PoolSpec,
    superblock::{Geometry, PoolId},
};
pub use port::{Port, PortSpec, RxView};
pub use slot::{ConnFd, Slot};
