//! Session: the conversation with one frontend.
//!
//! The `vhost` crate does it, except for one message: QEMU sends `SET_VRING_ENABLE` when its NIC is
//! made, before any `SET_FEATURES`, and the crate would end the connection because the protocol
//! features are not acknowledged yet. So until then each message is looked at before the crate is.

use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use vhost::vhost_user::{
    BackendReqHandler, Error as VhostError, Result as VhostResult, VhostUserBackendReqHandlerMut,
};

use crate::protocol::Device;
use crate::sync::lock;

/// Header of a vhost-user message: request, flags and size, 4 bytes each.
const HEADER_LEN: usize = 12;
const REQUEST_SET_VRING_ENABLE: u32 = 18;
const FLAG_VERSION: u32 = 1;
const FLAG_REPLY: u32 = 4;
const FLAG_NEED_REPLY: u32 = 8;

/// Whether the error is our answer to a request, not the end of the session. The request has been
/// read to its end, and an acknowledgement that was asked for said no.
pub(crate) fn is_refusal(error: &VhostError) -> bool {
    matches!(
        error,
        VhostError::InvalidParam
            | VhostError::InvalidOperation(_)
            | VhostError::InactiveFeature(_)
            | VhostError::InactiveOperation(_)
            | VhostError::ReqHandlerError(_)
    )
}

/// A connected frontend.
pub(crate) struct Session {
    stream: UnixStream,
    handler: BackendReqHandler<Mutex<Device>>,
    device: Arc<Mutex<Device>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Session {
    /// Serves the frontend behind `stream`, which sets up `device`.
    pub(crate) fn new(stream: UnixStream, device: Arc<Mutex<Device>>) -> io::Result<Self> {
        let handler = BackendReqHandler::from_stream(stream.try_clone()?, Arc::clone(&device));
        Ok(Self { stream, handler, device })
    }

    /// The socket to wait on.
    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Answers the next message; call it when the socket is readable.
    ///
    /// # Errors
    /// Whatever ends the session: the frontend left, or broke the protocol.
    pub(crate) fn serve(&mut self) -> VhostResult<()> {
        if self.early_enable().map_err(VhostError::SocketError)? {
            return Ok(());
        }
        self.handler.handle_request()
    }

    /// Takes a `SET_VRING_ENABLE` that comes before `SET_FEATURES`; see the top of this file.
    fn early_enable(&mut self) -> io::Result<bool> {
        let mut device = lock(&self.device);
        if !device.is_fresh() {
            return Ok(false);
        }
        let mut message = [0; HEADER_LEN + 8];
        let socket = self.stream.as_raw_fd();
        let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        let peeked = match recv(socket, &mut message, peek) {
            // Woken for nothing: there is no message to serve.
            Err(Errno::EAGAIN) => return Ok(true),
            peeked => peeked?,
        };
        let word = |at: usize| {
            let bytes = message[at..at + 4].try_into().expect("4 bytes of the message");
            u32::from_le_bytes(bytes)
        };
        if peeked < message.len() || word(0) != REQUEST_SET_VRING_ENABLE || word(8) != 8 {
            return Ok(false);
        }
        let (flags, index, enable) = (word(4), word(12), word(16));
        recv(socket, &mut message, MsgFlags::MSG_DONTWAIT)?;
        let done = device.set_vring_enable(index, enable == 1);
        if flags & FLAG_NEED_REPLY != 0 {
            let header = [REQUEST_SET_VRING_ENABLE, FLAG_VERSION | FLAG_REPLY, 8];
            let code = u64::from(done.is_err());
            let mut reply: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
            reply.extend(code.to_le_bytes());
            self.stream.write_all(&reply)?;
        }
        Ok(true)
    }
}
