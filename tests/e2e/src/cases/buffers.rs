//! Buffer cases: that none is lost, however many packets come.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use vm::Command;
use vm::vnet::{Direction, Error, Filter, Tcp};

use super::abi::{equip, leave, program};
use crate::bench::{Bench, PATIENCE, PORT, in_time};
use crate::part::{Part, number};
use crate::rig::Rig;

/// How many connections receive at once.
const CONNECTIONS: usize = 64;

/// How many packets are sent before the guest has had the batch before the last.
const BATCH: usize = 128;

/// How many batches come; a retransmission may join a few packets.
const BATCHES: usize = 800;

/// How many packets must have come one by one.
const SLOTS: u64 = 100_000;

/// Length of a packet's payload in bytes.
const LEN: usize = 64;

/// Where the guest leaves the place of each packet.
const PLACES: &str = "/run/places";

/// A packet's payload: the host's TCP port, and where it begins in the NVDIMM.
type Place = (u16, u64);

/// After many packets through a small pool, in and most of them out again, some held for a while,
/// every buffer is there.
pub(super) fn conserved(rig: &mut Rig) -> anyhow::Result<()> {
    let bench = equip(rig, "conserved")?;
    let received = flow(rig, &bench, BATCHES, PLACES)?;
    ensure!(received >= SLOTS, "only {received} slots came");
    let copied = copied_bytes(&bench)?;
    rig.count("cpu_copied_bytes", copied)?;
    ensure!(copied == 0, "{copied} bytes are not where the backend wrote them");
    leave(rig, &bench)
}

/// The same with ten times as many packets, without a look at the place of each.
pub(super) fn conserved_long(rig: &mut Rig) -> anyhow::Result<()> {
    let bench = equip(rig, "conserved")?;
    let received = flow(rig, &bench, 10 * BATCHES, "/dev/null")?;
    ensure!(received >= 10 * SLOTS, "only {received} slots came");
    leave(rig, &bench)
}

/// Sends `batches` batches and hears most of them back; how many slots they filled.
fn flow(rig: &mut Rig, bench: &Bench, batches: usize, places: &str) -> anyhow::Result<u64> {
    let sizes =
        [PORT.into(), CONNECTIONS, batches * BATCH, LEN, BATCH].map(|size: usize| size.to_string());
    let command = Command::new(program("conserved")).args(sizes).arg(places);
    let command = command.timeout(rig.time_left());
    let running = bench.guest().spawn(&command).context("start conserved")?;
    let mut part = Part::new("conserved", running);
    part.hear_of("listening")?;
    let tcps = (0..CONNECTIONS).map(|_| bench.connect()).collect::<anyhow::Result<Vec<_>>>()?;
    part.hear_of("ready")?;
    rig.step(format!("send {} packets", batches * BATCH));
    let message = rig.seed().bytes(LEN);
    let mut echoes = Echoes { message: &message, heard: vec![0; CONNECTIONS] };
    for batch in 0..batches {
        let messages = (0..BATCH).map(|number| (&tcps[number % CONNECTIONS], &message[..]));
        bench.host().send_each(messages, PATIENCE).context("send")?;
        echoes.hear(&tcps)?;
        if batch > 0 {
            part.hear_of("batch")?;
        }
    }
    let sent = number(&part.hear_of("echoed")?, "echoed")?;
    echoes.hear_all(&tcps, sent)?;
    // Once a ping comes back, the guest knows of the last acknowledgement, too.
    bench.ping()?;
    part.go_on()?;
    let told = part.hear_of("received")?;
    part.end()?;
    let (received, leaked) = (number(&told, "received")?, number(&told, "leaked")?);
    rig.count("received_packets", received)?;
    rig.count("sent_bytes", sent)?;
    rig.count("leaked_buffers", leaked)?;
    ensure!(leaked == 0, "{leaked} buffers are lost after {received} packets");
    Ok(received)
}

/// What came back: on each connection nothing but the message, again and again.
struct Echoes<'a> {
    message: &'a [u8],
    heard: Vec<u64>,
}

impl Echoes<'_> {
    /// Takes what there is.
    fn hear(&mut self, tcps: &[Tcp]) -> anyhow::Result<()> {
        let mut bytes = [0; 16 * LEN];
        for (tcp, heard) in tcps.iter().zip(&mut self.heard) {
            loop {
                let len = match tcp.recv(&mut bytes, Duration::ZERO) {
                    Ok(len) => len,
                    Err(Error::Timeout(_)) => break,
                    Err(error) => return Err(error).context("receive"),
                };
                ensure!(len > 0, "the guest ended a stream");
                let from = usize::try_from(*heard % LEN as u64).context("find the place")?;
                let wanted = self.message.iter().cycle().skip(from);
                ensure!(bytes[..len].iter().eq(wanted.take(len)), "another message came back");
                *heard += len as u64;
            }
        }
        Ok(())
    }

    /// Waits until so many bytes have come.
    fn hear_all(&mut self, tcps: &[Tcp], bytes: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.heard.iter().sum::<u64>() != bytes {
            in_time(deadline, "all echoes")?;
            self.hear(tcps)?;
            std::thread::yield_now();
        }
        Ok(())
    }
}

/// How many bytes of payload came to a slot elsewhere than the backend wrote them.
fn copied_bytes(bench: &Bench) -> anyhow::Result<u64> {
    let mut written = written(bench)?;
    let told = bench.guest().get(PLACES).context("fetch the places")?;
    let mut copied = 0;
    for record in told.chunks_exact(8) {
        let (port, len, offset) = fields(record).context("read a place")?;
        let start = bench.nvdimm()?.of_pool(offset.into(), len.into())?.start;
        match written.get_mut(&(port, start)) {
            Some(count) if *count > 0 => *count -= 1,
            _ => copied += u64::from(len),
        }
    }
    Ok(copied)
}

/// How often the backend wrote payload where.
fn written(bench: &Bench) -> anyhow::Result<HashMap<Place, u32>> {
    let frame_log = bench.frame_log();
    ensure!(frame_log.dropped() == 0, "the frame log has lost frames");
    let filter = Filter::new().direction(Direction::ToGuest).dst_port(PORT).payload_only();
    let mut written = HashMap::new();
    for frame in frame_log.frames(&filter) {
        let flow = frame.flow.as_ref().context("a TCP frame has a flow")?;
        for range in &frame.payload {
            if let Some(start) = bench.nvdimm()?.offset(range.file) {
                *written.entry((flow.src.port(), start)).or_default() += 1;
            }
        }
    }
    Ok(written)
}

/// The host's TCP port, length and offset in the pool.
fn fields(record: &[u8]) -> Option<(u16, u16, u32)> {
    let (port, rest) = record.split_first_chunk()?;
    let (len, rest) = rest.split_first_chunk()?;
    let offset = rest.first_chunk()?;
    Some((u16::from_le_bytes(*port), u16::from_le_bytes(*len), u32::from_le_bytes(*offset)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_the_guest_writes_them() {
        assert_eq!(fields(&[1, 2, 64, 0, 0, 16, 0, 0]), Some((513, 64, 4096)));
        assert_eq!(fields(&[1, 2, 64, 0, 0, 16, 0]), None);
    }
}
