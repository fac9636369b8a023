//! Zero-copy cases: where received payload lies, seen from outside the guest.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::Value;
use vm::Mib;
use vm::vnet::{Direction, Filter, Frame, Occurrence, Tcp, hash};

use crate::bench::{Bench, PATIENCE, PORT};
use crate::medium::Medium;
use crate::needs::Needs;
use crate::oracle::Span;
use crate::oracle::copies::{
    Found, Placed, Received, copied_bytes, judge_census, judge_pieces, judge_slots,
};
use crate::part::number;
use crate::rig::Rig;
use crate::stream::{NEEDLE, Stream, tag};
use crate::way::Way;

/// How many connections receive at once.
const CONNECTIONS: usize = 64;

/// Lengths of the messages on each connection, in bytes.
const MESSAGES: [usize; 7] = [64, 256, 1024, 1440, 2016, 3008, 4096];

/// Where the guest's pool lies.
#[derive(Clone, Copy)]
enum Place {
    /// A character device over the NVDIMM.
    Devdax,
    /// A file on ext4 over the NVDIMM, mounted without page cache.
    Ext4,
}

/// Through an ordinary socket a message lies in guest memory at least twice.
pub(super) fn socket_control(rig: &mut Rig) -> anyhow::Result<()> {
    let bench = rig.boot(Needs::default())?;
    bench.address()?;
    let message = Stream::new(rig.seed(), 0, 1024);
    let len = message.bytes().len();
    let mut part =
        bench.part("zero_copy::socket_control", &[&PORT.to_string(), &len.to_string()])?;
    part.hear_of("ready")?;
    let tcp = bench.connect()?;
    tcp.send_all(message.bytes(), PATIENCE).context("send")?;
    let held = part.hear_of("held")?;
    ensure!(number(&held, "hash")? == hash(message.bytes()), "the guest holds other bytes");
    let needle = message.needle(0).context("a message has a needle")?;
    let found = bench.paused(|vnet| vnet.census(needle).context("search guest memory"))?;
    ensure!(found.len() >= 2, "the needle was found {} times, 2 expected", found.len());
    part.go_on()?;
    part.end()
}

/// With the module, payload lies where the device wrote it and nowhere else.
pub(super) fn receive(rig: &mut Rig) -> anyhow::Result<()> {
    judge_receive(rig, Place::Devdax)
}

/// So it is if the pool is a file: its extents tell where its bytes lie.
pub(super) fn receive_on_ext4(rig: &mut Rig) -> anyhow::Result<()> {
    judge_receive(rig, Place::Ext4)
}

fn judge_receive(rig: &mut Rig, place: Place) -> anyhow::Result<()> {
    let sight = look(rig, &[], place)?;
    sight.report(rig)?;
    rig.way(sight.way.clone());
    sight.judge().map_err(|why| anyhow!(why))
}

/// The same judge says no when the module copies.
pub(super) fn forced_copy(rig: &mut Rig) -> anyhow::Result<()> {
    let sight = look(rig, &["PASTE_FORCE_COPY=1"], Place::Devdax)?;
    sight.report(rig)?;
    rig.way(sight.way.clone());
    ensure!(sight.copied_bytes() > 0, "the search of guest memory saw no copy");
    match sight.judge() {
        Ok(()) => bail!("a module that copies passed for one that does not"),
        Err(why) if why.contains("the backend wrote it at") => Ok(()),
        Err(why) => bail!("the copy was not what the judge saw: {why}"),
    }
}

impl Place {
    /// A guest whose pool will lie here, and the pool's path.
    fn bench(self, rig: &Rig) -> anyhow::Result<(Bench, &'static str)> {
        match self {
            Self::Devdax => Ok((rig.boot(Needs::devdax(Mib(64)))?, "/dev/dax0.0")),
            Self::Ext4 => {
                let bench = rig.boot(Needs::fsdax(Mib(64)))?;
                bench.shell(
                    "mkfs.ext4 -q -b 4096 /dev/pmem0; mkdir -p /mnt; \
                     mount -o dax=always /dev/pmem0 /mnt; fallocate -l 32M /mnt/pool",
                )?;
                Ok((bench, "/mnt/pool"))
            }
        }
    }
}

/// What was sent, written by the backend, received in slots, and found in guest memory.
struct Sight {
    streams: Vec<Stream>,
    placed: Vec<Placed>,
    received: Vec<Received>,
    /// Tags in the NVDIMM.
    found: Vec<Found>,
    /// Tags anywhere else, by guest address.
    elsewhere: Vec<Found>,
    /// How the first payload of all went.
    way: Way,
}

impl Sight {
    /// Bytes of needles that lie where nobody but a CPU can have put them.
    fn copied_bytes(&self) -> u64 {
        copied_bytes(&self.placed, self.found.len() + self.elsewhere.len())
    }

    fn report(&self, rig: &mut Rig) -> anyhow::Result<()> {
        let bytes: usize = self.streams.iter().map(|stream| stream.bytes().len()).sum();
        rig.count("received_packets", self.received.len() as u64)?;
        rig.count("payload_bytes", bytes as u64)?;
        rig.count("cpu_copied_bytes", self.copied_bytes())
    }

    fn judge(&self) -> Result<(), String> {
        judge_pieces(&self.placed)?;
        judge_slots(&self.streams, &self.placed, &self.received)?;
        if !self.elsewhere.is_empty() {
            let places: Vec<_> = self.elsewhere.iter().map(|hit| self.describe(hit)).collect();
            let why = "outside the NVDIMM, where nothing was received";
            return Err(format!("needles lie {why}: {}", places.join(", ")));
        }
        judge_census(&self.streams, &self.placed, &self.found)
    }
}

impl Sight {
    /// Where a needle lies and where it belongs.
    fn describe(&self, hit: &Found) -> String {
        let of = self.streams.iter().enumerate().find_map(|(number, stream)| {
            let at = stream.bytes().chunks(NEEDLE).position(|needle| needle == hit.bytes)?;
            Some(format!("connection {number} at {}", at * NEEDLE))
        });
        format!("{:#x} ({})", hit.offset, of.unwrap_or_else(|| "a part".to_owned()))
    }
}

/// Sends to a guest that receives through slots, and looks while it holds everything.
fn look(rig: &mut Rig, flags: &[&str], place: Place) -> anyhow::Result<Sight> {
    let module = rig.module(flags)?;
    let (mut bench, pool) = place.bench(rig)?;
    bench.address()?;
    bench.load(&module)?;
    let len: usize = MESSAGES.iter().sum();
    let seed = rig.seed();
    let streams: Vec<_> =
        (0..CONNECTIONS as u64).map(|number| Stream::new(seed, number, len)).collect();
    let args = [pool, &PORT.to_string(), &CONNECTIONS.to_string()].map(str::to_owned);
    let total = (CONNECTIONS * len).to_string();
    let args: Vec<_> = args.iter().map(String::as_str).chain([total.as_str()]).collect();
    let mut part = bench.part("zero_copy::receive", &args)?;
    part.hear_of("listening")?;
    rig.step("connect");
    let tcps = streams.iter().map(|_| bench.connect()).collect::<anyhow::Result<Vec<_>>>()?;
    part.hear_of("ready")?;
    rig.step("send");
    send(&tcps, &streams)?;
    let (slots, _) = part.collect_until("held")?;
    rig.step("search guest memory");
    let (found, elsewhere) = bench.paused(|vnet| {
        let places = vnet.census(&tag(seed)).context("search guest memory")?;
        whole_needles(&bench, &streams, &places)
    })?;
    if let Place::Ext4 = place {
        bench.map_file(pool)?;
    }
    let nvdimm = bench.nvdimm()?;
    let numbers = numbers(&tcps);
    let placed = placed(&bench, nvdimm, &numbers)?;
    let received = slots.iter().map(|slot| received(slot, nvdimm, &numbers));
    let received = received.collect::<anyhow::Result<Vec<_>>>()?;
    let way = first_way(&bench, nvdimm, &placed, &received)?;
    part.go_on()?;
    part.end()?;
    Ok(Sight { streams, placed, received, found, elsewhere, way })
}

/// How the first payload of all went: where it was written, and the first slot of its connection.
fn first_way(
    bench: &Bench,
    nvdimm: &Medium,
    placed: &[Placed],
    received: &[Received],
) -> anyhow::Result<Way> {
    let frame = bench.frame_log().frames(&payload()).into_iter().next().context("a frame")?;
    let stream = placed.first().context("a place")?.stream;
    let slot = received.iter().find(|slot| slot.stream == stream).context("a slot")?;
    let way = Way::new("a payload arrives", nvdimm)?.frame(&frame, nvdimm);
    Ok(way.program("slot", &format!("hash {:016x}", slot.hash), slot.file))
}

/// Frames to the guest with payload for it.
fn payload() -> Filter {
    Filter::new().direction(Direction::ToGuest).dst_port(PORT).payload_only()
}

/// The places that hold a whole needle, in the NVDIMM and elsewhere. A tag alone is no copy of
/// payload: the guest program hashes it, and the kernel saves the registers of a program.
fn whole_needles(
    bench: &Bench,
    streams: &[Stream],
    places: &[Occurrence],
) -> anyhow::Result<(Vec<Found>, Vec<Found>)> {
    let needles: HashSet<_> =
        streams.iter().flat_map(|stream| stream.bytes().chunks(NEEDLE)).collect();
    let (mut found, mut elsewhere) = (Vec::new(), Vec::new());
    for place in places {
        let (list, offset, bytes) = if let Some(offset) = bench.nvdimm()?.offset(place.file) {
            (&mut found, offset, bench.nvdimm()?.read(offset, NEEDLE)?)
        } else {
            (&mut elsewhere, place.guest.0, bench.read_ram(place.file, NEEDLE)?)
        };
        if needles.contains(bytes.as_slice()) {
            list.push(Found { offset, bytes });
        }
    }
    Ok((found, elsewhere))
}

/// Sends message by message, one on each connection in turn, each as segments of its own.
fn send(tcps: &[Tcp], streams: &[Stream]) -> anyhow::Result<()> {
    let mut done = 0;
    for len in MESSAGES {
        for (tcp, stream) in tcps.iter().zip(streams) {
            let message = &stream.bytes()[done..done + len];
            tcp.send_all(message, PATIENCE).with_context(|| format!("send {len} bytes"))?;
        }
        for tcp in tcps {
            tcp.wait_acked(PATIENCE).with_context(|| format!("deliver {len} bytes"))?;
        }
        done += len;
    }
    Ok(())
}

/// The number of each connection by the host's TCP port.
fn numbers(tcps: &[Tcp]) -> BTreeMap<u16, usize> {
    tcps.iter().enumerate().map(|(number, tcp)| (tcp.local().port(), number)).collect()
}

/// Where the backend wrote each part of each stream.
fn placed(
    bench: &Bench,
    nvdimm: &Medium,
    numbers: &BTreeMap<u16, usize>,
) -> anyhow::Result<Vec<Placed>> {
    let frame_log = bench.frame_log();
    ensure!(frame_log.dropped() == 0, "the frame log has lost frames");
    let frames = frame_log.frames(&payload());
    let mut firsts = BTreeMap::new();
    let mut placed = Vec::new();
    for frame in &frames {
        let (port, seq) = conversation(frame)?;
        let number = *numbers.get(&port).context("a frame of a known connection")?;
        let first = *firsts.entry(port).or_insert(seq);
        let mut position = seq.wrapping_sub(first) as usize;
        for range in &frame.payload {
            let start = nvdimm.offset(range.file);
            let start = start.with_context(|| format!("frame {} outside the pool", frame.seq))?;
            let file = Span { start, len: range.len as u64 };
            placed.push(Placed { stream: number, position, file });
            position += range.len;
        }
    }
    Ok(placed)
}

fn conversation(frame: &Frame) -> anyhow::Result<(u16, u32)> {
    let flow = frame.flow.as_ref().context("a TCP frame has a flow")?;
    Ok((flow.src.port(), frame.tcp_seq.context("a TCP frame has a sequence number")?))
}

/// A slot as the guest told of it.
fn received(
    slot: &Value,
    nvdimm: &Medium,
    numbers: &BTreeMap<u16, usize>,
) -> anyhow::Result<Received> {
    let port = u16::try_from(number(slot, "port")?).context("read a slot's port")?;
    let stream = *numbers.get(&port).with_context(|| format!("a slot names port {port}"))?;
    let file = nvdimm.of_pool(number(slot, "offset")?, number(slot, "len")?)?;
    Ok(Received { stream, file, hash: number(slot, "hash")? })
}
