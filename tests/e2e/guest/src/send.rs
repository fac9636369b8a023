//! Send: a server that stores what it received and answers with the stored buffers.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use anyhow::{Context, ensure};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::SndBuf;
use paste_net::{
    Batch, ConnFd, KernelDevice, Log, Packet, Pool, PoolSpec, Port, PortSpec, Sequence, TxView,
};
use serde_json::json;

use crate::tell::{tell, wait_for_host};
use crate::zero_copy::{Sockets, accept};

/// Spares: one for each packet that is kept, and those in flight.
const SPARES: u32 = 4096;

/// Receives `len` bytes on each connection and stores them as one record; when told, sends every
/// record back `times` times from where it lies; and, when told, again with a close behind.
pub(crate) fn stored(
    path: &str,
    port_number: u16,
    connections: usize,
    len: usize,
    times: usize,
) -> anyhow::Result<()> {
    let pool = Pool::create(&PoolSpec::new(path).overwrite(true)).context("create the pool")?;
    let mut log = Log::open(&pool).context("open the log")?;
    let spec = PortSpec::new("pst:0", log.buffers()).extra(SPARES);
    let mut port = Port::open(KernelDevice::open()?, &spec).context("open the port")?;
    port.attach("eth0").context("attach the NIC")?;
    let sockets = accept(&mut port, port_number, connections)?;
    let records = store(&mut port, &mut log, &sockets, len)?;
    for (conn, sequence) in &records {
        let (_, peer) = sockets.get(conn).context("find a record's socket")?;
        let record = log.record(*sequence).context("find a record")?;
        let places: Vec<_> =
            record.stored().map(|part| json!([part.location().0, part.bytes().len()])).collect();
        tell(&json!({ "port": peer.port(), "places": places }))?;
    }
    tell(&json!({ "stored": records.len() }))?;
    wait_for_host()?;
    for _ in 0..times {
        for (conn, sequence) in &records {
            send(&mut port, &log, *conn, *sequence)?;
        }
    }
    wait_for_host()?;
    let after = log.records().map(|record| record.len()).sum::<usize>();
    tell(&json!({ "sent": true, "copied": port.copies().sent, "bytes": after }))?;
    wait_for_host()?;
    let waited = send_and_close(&mut port, &log, sockets, &records, times)?;
    tell(&json!({ "closed": true, "waited": waited }))?;
    wait_for_host()
}

/// One record per connection, each of all that came on it.
fn store(
    port: &mut Port,
    log: &mut Log,
    sockets: &Sockets,
    len: usize,
) -> anyhow::Result<BTreeMap<ConnFd, Sequence>> {
    let mut parts: BTreeMap<ConnFd, Vec<Packet>> = BTreeMap::new();
    let mut missing = sockets.len() * len;
    while missing > 0 {
        port.poll(&[], None).context("wait for packets")?;
        let mut view = port.rx().context("look at the ring")?;
        while let Some(slot) = view.next().context("look at a slot")? {
            ensure!(!slot.is_end_of_stream(), "a peer ended its stream early");
            missing = missing.checked_sub(slot.payload().len()).context("more than was sent")?;
            let (conn, spare) = (slot.fd(), log.buffers().spare().context("take a spare")?);
            parts.entry(conn).or_default().push(slot.keep(spare));
        }
    }
    let mut records = BTreeMap::new();
    for (conn, parts) in parts {
        let mut batch = Batch::new();
        batch.record(parts);
        records.insert(conn, log.append(batch).context("append")?.first);
    }
    Ok(records)
}

/// All parts of a record, waiting for free slots if need be.
fn send(port: &mut Port, log: &Log, conn: ConnFd, sequence: Sequence) -> anyhow::Result<()> {
    let record = log.record(sequence).context("find a record")?;
    let mut parts = record.stored().peekable();
    while parts.peek().is_some() {
        let mut tx: TxView<'_> = port.tx().context("look at the TX ring")?;
        while tx.room() > 0 {
            let Some(next) = parts.next() else { break };
            tx.send_stored(conn, next).context("fill a slot")?;
        }
        drop(tx);
        port.txsync().context("send")?;
        if parts.peek().is_some() {
            port.poll_both(&[], None).context("wait for a free slot")?;
        }
    }
    Ok(())
}

/// Sends every record `times` times on sockets that have room for next to nothing, and closes
/// them at once; how many of them still had something waiting for room.
fn send_and_close(
    port: &mut Port,
    log: &Log,
    sockets: Sockets,
    records: &BTreeMap<ConnFd, Sequence>,
    times: usize,
) -> anyhow::Result<usize> {
    for (socket, _) in sockets.values() {
        setsockopt(socket, SndBuf, &1).context("make a socket small")?;
    }
    let mut tx = port.tx().context("look at the TX ring")?;
    for (conn, sequence) in records {
        let record = log.record(*sequence).context("find a record")?;
        for part in (0..times).flat_map(|_| record.stored()) {
            tx.send_stored(*conn, part).context("fill a slot")?;
        }
    }
    drop(tx);
    port.txsync().context("send")?;
    let mut waited = 0;
    for (conn, (socket, _)) in sockets {
        let unsent = port.tx().context("look at the TX ring")?.unsent(conn);
        ensure!(unsent == 0, "{unsent} slots of a connection were not taken");
        waited += usize::from(port.unregister(socket.as_fd()).is_err());
        port.close(socket).context("close")?;
    }
    Ok(waited)
}
