//! Error: what went wrong, one variant per reaction of the caller.

use std::io;
use std::path::PathBuf;

/// Every failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The vhost-user socket could not be made (path too long, taken, no directory).
    #[error("listen on {socket}", socket = .socket.display())]
    Listen {
        /// The path asked for.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The host refused a thread, an event descriptor or the like.
    #[error("{doing}")]
    Host {
        /// What was being done.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The host address of the configuration cannot be used.
    #[error("host address {0} is not a unicast address of its network")]
    Address(String),
    /// No guest brought the link up in time.
    #[error("no link: {why}")]
    NoLink {
        /// What the frontend did last, as far as it is known.
        why: String,
    },
    /// The budget of a call ran out.
    #[error("timeout: {0}")]
    Timeout(&'static str),
    /// The peer answered the connection attempt with a reset.
    #[error("connection refused by {0}")]
    Refused(std::net::SocketAddrV4),
    /// The connection was ended by a reset.
    #[error("connection reset")]
    Reset,
    /// The frontend vanished (QEMU ended), and every connection with it.
    #[error("link lost: the frontend disconnected")]
    LinkLost,
    /// The call makes no sense in the connection's state (send after `shut_write`).
    #[error("connection is closed for sending")]
    Closed,
    /// The network ended: `Vnet` was dropped or its thread failed.
    #[error("the network is gone")]
    Gone,
    /// All ephemeral ports are in use, or the port is listened on already.
    #[error("no port: {0}")]
    Port(u16),
    /// The file of a journal could not be made.
    #[error("make the journal {path}", path = .path.display())]
    Journal {
        /// The path asked for.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A census was asked for an empty needle or could not read guest memory.
    #[error("search guest memory")]
    Census(#[source] io::Error),
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
