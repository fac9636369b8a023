//! Error: what the library was doing to which thing when it could not go on.

use std::{io, path::PathBuf};

/// The library's result.
pub type Result<T> = std::result::Result<T, Error>;

/// One variant per reaction of the caller.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a call on a file or device.
    #[error("{action} {what}")]
    Io {
        /// Verb: `open`, `map`, `lock` ...
        action: &'static str,
        /// The thing it was done to.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Library and kernel extension speak different versions of the API.
    #[error("netmap API version: the library speaks {library}, the kernel extension {kernel}")]
    Version {
        /// `abi::NETMAP_API`.
        library: u32,
        /// What the other side wrote.
        kernel: u32,
    },
    /// The kernel extension refused a request.
    #[error("{request} {what}{}", option.map_or(String::new(), |o| format!(" (option {o})")))]
    Refused {
        /// Name of the request: `register`, `attach` ...
        request: &'static str,
        /// The port, NIC or socket that it named.
        what: String,
        /// The option whose status says so, if one does.
        option: Option<&'static str>,
        /// The errno.
        source: io::Error,
    },
    /// A name does not fit into the field that carries it (63 bytes, no NUL).
    #[error("port or NIC name {name:?}: at most 63 bytes, no NUL")]
    Name {
        /// The name.
        name: String,
    },
    /// Shared memory contradicts the ring protocol; nothing outside the mapping was touched.
    #[error("ring memory contradicts the protocol: {reason}")]
    Ring {
        /// Which rule, with the values seen.
        reason: String,
    },
    /// Every TX slot holds something that was not sent yet: `txsync`, or wait with `poll_both`.
    #[error("all TX slots are in use")]
    TxFull,
    /// A copy was needed and no spare was there to take it.
    #[error("no spare buffer to copy into")]
    NoSpare,
    /// There is no pool: the file is absent or empty, or page 0 holds only zeros.
    #[error("{path} holds no pool")]
    NoPool {
        /// File or device.
        path: PathBuf,
    },
    /// Page 0 holds something that is not a pool. It was not touched.
    #[error("{path} holds other data (not a pool); say overwrite to lose them")]
    Foreign {
        /// File or device.
        path: PathBuf,
    },
    /// A pool is already there. It was not touched.
    #[error("{path} already holds a pool; open it, or say overwrite to lose it")]
    Exists {
        /// File or device.
        path: PathBuf,
    },
    /// The pool's format is newer or older than this library's.
    #[error("{path}: pool format {found}, this library knows {known}")]
    PoolVersion {
        /// File or device.
        path: PathBuf,
        /// Number in the superblock.
        found: u32,
        /// Number that this library writes.
        known: u32,
    },
    /// The pool claims to be one but does not hold what it claims.
    #[error("{path}: corrupt pool: {reason}")]
    Corrupt {
        /// File or device.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A pool that cannot exist: too small, too large, misaligned.
    #[error("{path}: no room for such a pool: {reason}")]
    Geometry {
        /// File or device.
        path: PathBuf,
        /// Which number does not fit.
        reason: String,
    },
    /// Another process, or another handle of this one, uses the pool, its log or its port.
    #[error("{what} is in use")]
    Busy {
        /// What is in use.
        what: String,
    },
    /// Flushing would not make data durable here.
    #[error("{what}: stores cannot be made durable: {reason}")]
    NotDurable {
        /// File or device.
        what: String,
        /// Why.
        reason: String,
    },
    /// The log cannot take the batch. Nothing was written.
    #[error("log full: {wanted} entries wanted, {free} free")]
    LogFull {
        /// Entries of the batch.
        wanted: usize,
        /// Entries left.
        free: usize,
    },
    /// The batch is larger than one append may be. Nothing was written.
    #[error("batch of {wanted} entries: one append takes at most {most}")]
    BatchTooLarge {
        /// Entries of the batch.
        wanted: usize,
        /// The bound.
        most: usize,
    },
    /// A packet of another pool. Nothing was written or sent.
    #[error("a packet of another pool")]
    OtherPool,
    /// The log lost data that had been durable, or names what cannot be. See docs/log-format.md.
    #[error("corrupt log at entry {position}: {reason}")]
    LogCorrupt {
        /// Index of the entry in the log area.
        position: u64,
        /// Which rule.
        reason: String,
    },
    /// An earlier append met an error after it had begun to store; only recovery tells what holds.
    #[error("the log met an error before; open the pool again")]
    LogPoisoned,
    /// A range that does not lie in its buffer.
    #[error("range {start}..{end} does not lie in a buffer of {size} bytes")]
    Range {
        /// First byte.
        start: usize,
        /// Byte after the last one.
        end: usize,
        /// Bytes of the buffer.
        size: usize,
    },
}

impl Error {
    /// `io` as the failure of `action` on `what`, for `map_err`.
    pub(crate) fn io<E: Into<io::Error>>(
        action: &'static str,
        what: impl ToString,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { action, what: what.to_string(), source: source.into() }
    }
}
