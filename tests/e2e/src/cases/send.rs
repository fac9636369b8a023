//! Send cases: where a reply leaves guest memory, seen from outside the guest.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::Value;
use vm::Mib;
use vm::vnet::{Direction, Filter, Tcp};

use crate::bench::{Bench, PATIENCE, PORT};
use crate::needs::Needs;
use crate::oracle::Span;
use crate::oracle::replies::{Taken, judge_replies};
use crate::part::{Part, number};
use crate::rig::Rig;
use crate::stream::Stream;
use crate::way::Way;

/// How many connections are answered at once.
const CONNECTIONS: usize = 8;

/// Bytes of each connection's record.
const LEN: usize = 16 * 1024;

/// How often each record is sent back.
const TIMES: usize = 4;

/// The guest's pool.
const POOL: &str = "/dev/dax0.0";

/// Replies leave from the very bytes of the NVDIMM that hold the stored record, and a close behind
/// them costs none.
pub(super) fn send(rig: &mut Rig) -> anyhow::Result<()> {
    let sight = look(rig, &[])?;
    rig.count("sent_bytes", (CONNECTIONS * LEN * TIMES) as u64)?;
    rig.count("sent_bytes_copied", sight.copied)?;
    rig.way(sight.way.clone());
    sight.judge().map_err(|why| anyhow!(why))?;
    ensure!(sight.copied == 0, "the module says that it copied {} bytes", sight.copied);
    let waited = sight.waited;
    ensure!(waited == CONNECTIONS as u64, "only {waited} closes had something to hand over");
    Ok(())
}

/// The same judge says no when the module copies.
pub(super) fn forced_copy(rig: &mut Rig) -> anyhow::Result<()> {
    let sight = look(rig, &["PASTE_FORCE_COPY=1"])?;
    match sight.judge() {
        Ok(()) => bail!("a module that copies passed for one that does not"),
        Err(why) if why.contains("outside the NVDIMM") => Ok(()),
        Err(why) => bail!("the copy was not what the judge saw: {why}"),
    }
}

/// Where records were stored, and where replies left from.
struct Sight {
    stored: Vec<Vec<Span>>,
    taken: Vec<Taken>,
    /// Bytes that the module says it copied for sending.
    copied: u64,
    /// Connections on which something waited for room when they were closed.
    waited: u64,
    /// How the first part of the first record went.
    way: Way,
}

impl Sight {
    fn judge(&self) -> Result<(), String> {
        judge_replies(&self.stored, TIMES as u64, &self.taken)
    }
}

/// Lets a guest store what it is sent and send it back.
fn look(rig: &mut Rig, flags: &[&str]) -> anyhow::Result<Sight> {
    let bench = rig.boot_with_module(Needs::devdax(Mib(64)), flags)?;
    let args = [PORT as usize, CONNECTIONS, LEN, TIMES].map(|number| number.to_string());
    let args: Vec<_> = [POOL].into_iter().chain(args.iter().map(String::as_str)).collect();
    let mut part = bench.part("zero_copy::send", &args)?;
    part.hear_of("listening")?;
    let tcps = (0..CONNECTIONS).map(|_| bench.connect()).collect::<anyhow::Result<Vec<_>>>()?;
    part.hear_of("ready")?;
    rig.step("send");
    let streams: Vec<_> =
        (0..CONNECTIONS as u64).map(|number| Stream::new(rig.seed(), number, LEN)).collect();
    for (tcp, stream) in tcps.iter().zip(&streams) {
        tcp.send_all(stream.bytes(), PATIENCE).context("send a record")?;
    }
    let (told, _) = part.collect_until("stored")?;
    let before = bench.frame_log().last_seq();
    rig.step("receive");
    part.go_on()?;
    receive(&tcps, &streams)?;
    let taken = taken(&bench, before, &tcps)?;
    part.go_on()?;
    let end = part.hear_of("sent")?;
    let kept = usize::try_from(number(&end, "bytes")?)?;
    ensure!(kept == CONNECTIONS * LEN, "the log holds {kept} bytes after sending");
    let copied = bench.module_counter("tx_copied_bytes")?;
    rig.step("receive what a close follows at once");
    let waited = receive_last(&bench, &mut part, &tcps, &streams)?;
    part.go_on()?;
    part.end()?;
    let stored = stored(&bench, &told, &tcps)?;
    let way = first_way(&bench, before, &tcps[0], &stored[0])?;
    Ok(Sight { stored, taken, copied, waited, way })
}

/// How the first part of the first connection's record came, was stored, and left after `before`.
fn first_way(bench: &Bench, before: u64, tcp: &Tcp, stored: &[Span]) -> anyhow::Result<Way> {
    let (nvdimm, port) = (bench.nvdimm()?, tcp.local().port());
    let first = |filter: Filter| {
        let frames = bench.frame_log().frames(&filter.payload_only());
        frames.into_iter().next().context("a frame with payload")
    };
    let came = first(Filter::new().direction(Direction::ToGuest).src_port(port))?;
    let left = first(Filter::new().direction(Direction::FromGuest).dst_port(port).after(before))?;
    let begin = *stored.first().context("a stored part")?;
    let way = Way::new("a payload arrives, is stored, and leaves", nvdimm)?;
    let way = way.frame(&came, nvdimm);
    let way = way.program("log record", "the first part of the record", begin);
    Ok(way.frame(&left, nvdimm))
}

/// Every record comes back whole, as often as wanted.
fn receive(tcps: &[Tcp], streams: &[Stream]) -> anyhow::Result<()> {
    for time in 0..TIMES {
        for (number, (tcp, stream)) in tcps.iter().zip(streams).enumerate() {
            let mut bytes = vec![0; LEN];
            let name = || format!("receive reply {time} of connection {number}");
            tcp.recv_exact(&mut bytes, PATIENCE).with_context(name)?;
            ensure!(bytes == stream.bytes(), "{}: other bytes than stored", name());
        }
    }
    Ok(())
}

/// Lets the guest send all once more and close, while it hears no ACK. Everything comes, and then
/// the end; on how many connections something waited for room when they were closed.
fn receive_last(
    bench: &Bench,
    part: &mut Part,
    tcps: &[Tcp],
    streams: &[Stream],
) -> anyhow::Result<u64> {
    let chain = format!("chain i {{ type filter hook input priority 0; tcp dport {PORT} drop; }};");
    bench.shell(&format!("nft 'table ip t {{ {chain} }}'"))?;
    part.go_on()?;
    let waited = number(&part.hear_of("closed")?, "waited")?;
    bench.shell("nft flush ruleset")?;
    receive(tcps, streams)?;
    for (number, tcp) in tcps.iter().enumerate() {
        let more = tcp.recv(&mut [0], PATIENCE).context("receive the end")?;
        ensure!(more == 0, "connection {number} goes on after its end");
    }
    Ok(waited)
}

/// Where each record lies in the NVDIMM's file, by the connection's number.
fn stored(bench: &Bench, told: &[Value], tcps: &[Tcp]) -> anyhow::Result<Vec<Vec<Span>>> {
    let mut stored = vec![Vec::new(); tcps.len()];
    for record in told {
        let port = number(record, "port")?;
        let conn = tcps.iter().position(|tcp| u64::from(tcp.local().port()) == port);
        let conn = conn.with_context(|| format!("find the connection of port {port}"))?;
        for place in record["places"].as_array().context("a record has places")? {
            let (offset, len) = place[0].as_u64().zip(place[1].as_u64()).context("read a place")?;
            stored[conn].push(bench.nvdimm()?.of_pool(offset, len)?);
        }
    }
    Ok(stored)
}

/// Where the backend read what the guest sent after frame `before`.
fn taken(bench: &Bench, before: u64, tcps: &[Tcp]) -> anyhow::Result<Vec<Taken>> {
    let frame_log = bench.frame_log();
    ensure!(frame_log.dropped() == 0, "the frame log has lost frames");
    let filter = Filter::new().direction(Direction::FromGuest).src_port(PORT).payload_only();
    let mut firsts = BTreeMap::new();
    let mut taken = Vec::new();
    for frame in frame_log.frames(&filter.after(before)) {
        let flow = frame.flow.as_ref().context("a TCP frame has a flow")?;
        let port = flow.dst.port();
        let stream = tcps.iter().position(|tcp| tcp.local().port() == port);
        let stream = stream.context("a frame of a known connection")?;
        let seq = frame.tcp_seq.context("a TCP frame has a sequence number")?;
        let first = *firsts.entry(port).or_insert(seq);
        let mut position = u64::from(seq.wrapping_sub(first));
        for range in &frame.payload {
            let file = bench.nvdimm()?.offset(range.file);
            taken.push(Taken { stream, position, len: range.len as u64, file });
            position += range.len as u64;
        }
    }
    Ok(taken)
}
