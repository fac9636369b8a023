//! Zero copy: programs that hold what they received, so that the host half can look for it.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use anyhow::{Context, ensure};
use paste_net::{Buffers, ConnFd, KernelDevice, Log, Packet, Pool, PoolSpec, Port, PortSpec};
use serde_json::json;
use xxhash_rust::xxh3::xxh3_64;

use crate::tell::{tell, wait_for_host};

/// Buffers for packets in flight, beside one for each packet that is kept.
const SLACK: u32 = 1024;

/// Receives `len` bytes through an ordinary socket and holds them until told to end.
pub(crate) fn hold_in_socket(port: u16, len: usize) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).context("listen")?;
    tell(&json!({ "ready": 1 }))?;
    let (mut socket, _) = listener.accept().context("accept")?;
    let mut bytes = vec![0; len];
    socket.read_exact(&mut bytes).context("receive")?;
    tell(&json!({ "held": 1, "hash": xxh3_64(&bytes) }))?;
    wait_for_host()
}

/// Registers `connections` sockets, keeps every packet until `bytes` bytes have come, tells
/// where each lies, and holds all until told to end. The payload is read in place only.
pub(crate) fn hold_in_slots(
    path: &str,
    port_number: u16,
    connections: usize,
    bytes: usize,
) -> anyhow::Result<()> {
    let pool = Pool::create(&PoolSpec::new(path).overwrite(true)).context("create the pool")?;
    let log = Log::open(&pool).context("open the log")?;
    let buffers = log.buffers();
    let packets = u32::try_from(bytes / 512).context("count packets")?;
    let spec = PortSpec::new("pst:0", buffers).extra(packets + SLACK);
    let mut port = Port::open(KernelDevice::open()?, &spec).context("open the port")?;
    port.attach("eth0").context("attach the NIC")?;
    let sockets = accept(&mut port, port_number, connections)?;
    let (mut kept, mut received) = (Vec::new(), 0);
    while received < bytes {
        port.poll(&[], None).context("wait for packets")?;
        received += keep(&mut port, buffers, &sockets, &mut kept)?;
    }
    tell(&json!({ "held": kept.len(), "bytes": received }))?;
    wait_for_host()?;
    tell(&json!({ "kept": kept.len(), "spares": buffers.spares(), "granted": port.extra_bufs() }))
}

/// Registered sockets and their peers.
pub(crate) type Sockets = BTreeMap<ConnFd, (TcpStream, SocketAddr)>;

/// Accepts and registers; tells when the peer may send.
pub(crate) fn accept(port: &mut Port, number: u16, connections: usize) -> anyhow::Result<Sockets> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).context("listen")?;
    tell(&json!({ "listening": true }))?;
    let mut sockets = Sockets::new();
    for _ in 0..connections {
        let (socket, peer) = listener.accept().context("accept")?;
        sockets.insert(port.register(socket.as_fd()).context("register")?, (socket, peer));
    }
    tell(&json!({ "ready": sockets.len() }))?;
    Ok(sockets)
}

/// Keeps what the last sync brought; the number of its bytes.
fn keep(
    port: &mut Port,
    buffers: &Buffers,
    sockets: &Sockets,
    kept: &mut Vec<Packet>,
) -> anyhow::Result<usize> {
    let mut bytes = 0;
    let mut view = port.rx().context("look at the ring")?;
    while let Some(slot) = view.next().context("look at a slot")? {
        ensure!(!slot.is_end_of_stream(), "the peer ended its stream early");
        let (_, peer) = sockets.get(&slot.fd()).context("find the slot's socket")?;
        let payload = slot.payload();
        bytes += payload.len();
        tell(&json!({
            "port": peer.port(),
            "offset": slot.location().0,
            "len": payload.len(),
            "hash": xxh3_64(payload),
        }))?;
        let spare = buffers.spare().context("take a spare buffer")?;
        kept.push(slot.keep(spare));
    }
    Ok(bytes)
}
