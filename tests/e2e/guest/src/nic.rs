//! NIC: an ordinary TCP end, for a network device that has nobody registered.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener};

use anyhow::Context;
use serde_json::json;
use xxhash_rust::xxh3::xxh3_64;

use crate::tell::tell;

/// Receives a stream to its end, tells its hash, and sends it all back.
pub(crate) fn echo(port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).context("listen")?;
    tell(&json!({ "ready": true }))?;
    let (mut socket, _) = listener.accept().context("accept")?;
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).context("receive")?;
    tell(&json!({ "len": bytes.len(), "hash": xxh3_64(&bytes) }))?;
    socket.write_all(&bytes).context("send back")?;
    socket.shutdown(Shutdown::Write).context("end the stream")
}
