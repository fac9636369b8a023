//! Power-loss cases: power goes in the middle of what the NIC writes into the NVDIMM.

use std::fmt;

use anyhow::{Context, anyhow, bail, ensure};
use vm::Mib;
use vm::crash::Survivors;
use vm::crash::journal::Head;
use vm::vnet::{Direction, Filter, Frame, Tear, hash};

use super::persistence::{Story, must_fail};
use crate::bench::{Bench, DarkBench, PATIENCE};
use crate::medium::Medium;
use crate::needs::Needs;
use crate::oracle::Span;
use crate::oracle::records::recover;
use crate::oracle::torn::{Told, judge_journal, judge_payload, judge_torn};
use crate::rig::Rig;
use crate::seed::Seed;

/// Bytes of a cache line.
const LINE: u64 = 64;
/// Headers before the payload of a TCP packet of the host, in bytes.
const HEADERS: u64 = 54;
/// A record of one packet, and one of three, in bytes.
const ONE_PACKET: usize = 1024;
const THREE_PACKETS: usize = 4096;
/// The most records before a loss of power.
const MOST: u64 = 8;

/// In which packet of which record power goes, behind how many bytes of the frame, and what
/// survives of that which was not durable.
#[derive(Clone, Copy, Debug)]
struct Cut {
    record: usize,
    packet: u64,
    bytes: u64,
    /// None: everything does, as in the file of an NVDIMM whose QEMU was killed.
    survivors: Option<Survivors>,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { record, packet, bytes, survivors } = self;
        write!(f, "behind byte {bytes} of packet {packet} of a record of {record} bytes")?;
        survivors.map_or(Ok(()), |which| write!(f, ", surviving lines: {which:?}"))
    }
}

/// Within the first line of payload, in one in the middle of any packet, and in the last line.
fn cuts(seed: Seed) -> [Cut; 3] {
    let draw = |label, bound| seed.part(label).below(bound);
    let end = HEADERS + ONE_PACKET as u64;
    let one = |bytes| Cut { record: ONE_PACKET, packet: 1, bytes, survivors: None };
    let packet = 1 + draw(1, 3);
    let middle = HEADERS + LINE + draw(2, ONE_PACKET as u64 - 2 * LINE);
    [
        // At least a word is written, and one is missing, as the judges ask for.
        one(HEADERS + 8 + draw(0, LINE - 8)),
        Cut { record: THREE_PACKETS, packet, bytes: middle, survivors: None },
        one(end - 8 - draw(3, LINE - 8)),
    ]
}

/// After a loss of power in the middle of a packet's way into the NVDIMM all acknowledged records
/// are there, and the torn one is no record.
pub(super) fn torn_dma(rig: &mut Rig) -> anyhow::Result<()> {
    let mut story = Story::begin(rig, "none")?;
    let mut bench = rig.boot(Needs::devdax(Mib(64)).journalled())?;
    rig.step("stop the NIC at each line of a packet");
    let (dark, stopped) = lose_at_every_line(&mut story, bench, rig.seed().part(5))?;
    bench = dark.boot()?;
    let mut torn = vec![stopped];
    for (label, cut) in (0x100..).zip(cuts(rig.seed())) {
        rig.step(format!("cut the power {cut}"));
        let records = 1 + rig.seed().part(label).below(MOST);
        let lost = lose_power(&mut story, bench, records, cut).with_context(|| cut.to_string())?;
        torn.push(lost.1);
        bench = lost.0.boot()?;
    }
    rig.step("recover in the guest");
    let verdict = story.recover(&bench);
    story.report(rig)?;
    verdict?;
    judge_written(&bench, &torn, &std::fs::read(rig.journal()).context("read the journal")?)
}

/// So it is if lines are lost that were not durable: all of them, and some.
pub(super) fn torn_lines(rig: &mut Rig) -> anyhow::Result<()> {
    let mut story = Story::begin(rig, "none")?;
    let [first, middle, ..] = cuts(rig.seed());
    let bench = rig.boot(Needs::devdax(Mib(64)))?;
    let cut = Cut { survivors: Some(Survivors::None), ..first };
    let (dark, _) = lose_power(&mut story, bench, MOST, cut).with_context(|| cut.to_string())?;
    rig.step("boot from what was durable");
    let survivors = Some(Survivors::Random(rig.seed().part(4).0));
    let cut = Cut { survivors, ..middle };
    lose_power(&mut story, dark.boot()?, MOST, cut).with_context(|| cut.to_string())?;
    story.report(rig)
}

/// The judge says no when the server replies before it stores.
pub(super) fn ack_early(rig: &mut Rig) -> anyhow::Result<()> {
    let mut story = Story::begin(rig, "ack_early")?;
    let bench = rig.boot(Needs::devdax(Mib(64)))?;
    let [first, ..] = cuts(rig.seed());
    must_fail(lose_power(&mut story, bench, 3, first).map(drop), "were acknowledged")
}

/// One life of the guest, which ends in the middle of a packet; the number of its frame.
fn lose_power(
    story: &mut Story,
    bench: Bench,
    records: u64,
    cut: Cut,
) -> anyhow::Result<(DarkBench, u64)> {
    let session = story.meet(&bench)?;
    story.converse(&session, records)?;
    let before = bench.frame_log().last_seq();
    let filter = payload().after(before);
    let bytes = usize::try_from(cut.bytes).context("a short frame")?;
    let torn = bench.tear(Tear { filter: filter.clone(), nth: cut.packet, bytes });
    let record = story.send(&session, cut.record)?;
    let frame = torn.wait(PATIENCE).context("wait for the packet")?.frame;
    let frames = bench.frame_log().frames(&filter);
    let dark = session.power_fail(bench);

    let earlier = frames.iter().filter(|earlier| earlier.seq < frame.seq);
    let start = earlier.map(|earlier| earlier.payload_len).sum::<usize>();
    let expected = record.get(start..start + frame.payload_len).context("a part of the record")?;
    let written = bytes.saturating_sub(frame.len - frame.payload_len).min(frame.payload_len);
    let found = bytes_at(dark.nvdimm()?, &frame)?;
    judge_payload(expected, &found, written).map_err(|why| anyhow!(why))?;
    if let Some(survivors) = cut.survivors {
        dark.settle(survivors)?;
    }
    if cut.survivors == Some(Survivors::None) {
        let left = bytes_at(dark.nvdimm()?, &frame)?;
        ensure!(left[..written] != expected[..written], "what nobody flushed has survived");
    }
    let held = recover(&dark.nvdimm()?.device()?).map_err(|why| anyhow!(why))?;
    let recovered = held.context("find the pool")?;
    judge_torn(story.sent(), story.acked(), &recovered).map_err(|why| anyhow!(why))?;
    Ok((dark, frame.seq))
}

/// One life of the guest, in which the NIC stands still before each line of a packet's payload,
/// and behind the last: whatever is left if the power goes then, it has no torn record. The life
/// ends when the packet is whole, and the guest has not been told; the number of its frame.
fn lose_at_every_line(
    story: &mut Story,
    bench: Bench,
    seed: Seed,
) -> anyhow::Result<(DarkBench, u64)> {
    let session = story.meet(&bench)?;
    story.converse(&session, MOST)?;
    let filter = payload().after(bench.frame_log().last_seq());
    let torn = bench.tear(Tear { filter, nth: 1, bytes: 0 });
    let record = story.send(&session, ONE_PACKET)?;
    let stopped = torn.wait(PATIENCE).context("wait for the packet")?;
    let headers = stopped.frame.len - stopped.frame.payload_len;
    for (label, written) in (0..).zip(line_ends(bench.nvdimm()?, &stopped.frame)?) {
        stopped.write_on(headers + written).context("write on")?;
        let found = bytes_at(bench.nvdimm()?, &stopped.frame)?;
        judge_payload(&record, &found, written).map_err(|why| anyhow!(why))?;
        let left = story.look(&bench, seed.part(label), judge_torn);
        left.with_context(|| format!("behind {written} bytes of a packet's payload"))?;
    }
    Ok((session.power_fail(bench), stopped.frame.seq))
}

/// Where in a frame's payload, which lies in one piece, another line of the NVDIMM begins; and its
/// start and its end.
fn line_ends(nvdimm: &Medium, frame: &Frame) -> anyhow::Result<Vec<usize>> {
    let [place] = &*frame.payload else { bail!("a payload in pieces: {:?}", frame.payload) };
    let start = nvdimm.offset(place.file).context("a packet in the NVDIMM")?;
    let first = usize::try_from(LINE - start % LINE).context("a part of a line")?;
    let line = usize::try_from(LINE).context("a line")?;
    let ends = (first..place.len).step_by(line);
    Ok(std::iter::once(0).chain(ends).chain([place.len]).collect())
}

/// What is written to the guest half.
fn payload() -> Filter {
    Filter::new().direction(Direction::ToGuest).payload_only()
}

/// What lies where the backend wrote, or was to write, a packet's payload.
fn bytes_at(nvdimm: &Medium, frame: &Frame) -> anyhow::Result<Vec<u8>> {
    let part = |range: &vm::vnet::Range| {
        let offset = nvdimm.offset(range.file).context("a packet in the NVDIMM")?;
        nvdimm.read(offset, range.len)
    };
    let parts = frame.payload.iter().map(part).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(parts.concat())
}

/// The journal is of the memory that is the NVDIMM, and has every payload that went there, except
/// for the torn ones, which it cannot have whole.
fn judge_written(bench: &Bench, torn: &[u64], journal: &[u8]) -> anyhow::Result<()> {
    let head = Head::parse(journal).context("read the journal")?;
    ensure!(!head.full, "the journal is full");
    let regions = bench.regions();
    let nvdimm = bench.nvdimm()?;
    let is_there = |region: &&vm::vnet::Region| nvdimm.offset(Some(region.file)) == Some(0);
    let region = regions.iter().find(is_there).context("find the NVDIMM in guest memory")?;
    ensure!((region.guest.0, region.len) == (head.base, head.len), "{region:?} is not {head:?}");
    let writes = head.records(journal).context("read the journal")?;
    let writes: Vec<_> = writes.iter().map(|write| (write.offset.0, write.bytes)).collect();
    let frames = bench.frame_log().frames(&payload());
    let whole = frames.iter().filter(|frame| !torn.contains(&frame.seq));
    let told: Vec<_> = whole.filter_map(|frame| told(nvdimm, frame)).collect();
    ensure!(!told.is_empty(), "nothing was written into the NVDIMM");
    judge_journal(&told, &writes, hash).map_err(|why| anyhow!(why))
}

/// A payload that the backend says it wrote into the NVDIMM.
fn told(nvdimm: &Medium, frame: &Frame) -> Option<Told> {
    let place = |range: &vm::vnet::Range| {
        let start = nvdimm.offset(range.file)?;
        Some(Span { start, len: range.len as u64 })
    };
    let places = frame.payload.iter().map(place).collect::<Option<_>>()?;
    Some(Told { places, hash: frame.payload_hash })
}
