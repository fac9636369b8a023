//! Persistence cases: what a client was told is stored survives the loss of power.

use std::path::PathBuf;

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::Value;
use vm::Mib;
use vm::crash::{CrashState, Plan, Survivors, Verdict, View, explore_state};
use vm::vnet::{Direction, Filter, Tcp};

use crate::bench::{Bench, DarkBench, PATIENCE, PORT};
use crate::medium::Medium;
use crate::needs::Needs;
use crate::oracle::records::{
    Record, judge_ownership, judge_recovery, judge_writers, lost, recover,
};
use crate::oracle::{self, Span};
use crate::part::{Part, number};
use crate::rig::Rig;
use crate::seed::Seed;

/// How often the power is cut in one run of the case.
const CUTS: u64 = 8;

/// At how many moments of each life a loss of power is judged, beside that of the cut.
const MOMENTS: u64 = 3;

/// Lengths of the records, in turn, in bytes.
const LENGTHS: [usize; 3] = [64, 1024, 4096];

/// The most records between two of these moments.
const MOST: u64 = 24;

/// Records that each of two CPUs would append if the power did not go.
const BY_EACH: u64 = 100;

/// The guest's pool.
const POOL: &str = "/dev/dax0.0";

/// Whenever the power goes, all acknowledged records are there, and the log goes on.
///
/// A boot costs more than all states of a moment: most moments are judged while the guest stands
/// still, and goes on.
pub(super) fn log(rig: &mut Rig) -> anyhow::Result<()> {
    let mut story = Story::begin(rig, "none")?;
    let mut bench = rig.boot(Needs::devdax(Mib(32)))?;
    for cut in 0..CUTS {
        rig.step(format!("cut the power, {} of {CUTS}", cut + 1));
        let session = story.live(&bench, cut).with_context(|| format!("life {cut}"))?;
        let dark = session.power_fail(bench);
        let seed = rig.seed().part(0x30_0000 + cut);
        story.lose(&dark, seed).with_context(|| format!("life {cut}"))?;
        bench = dark.boot()?;
    }
    rig.step("shut down in order");
    drop(story.serve(&bench, 1 + MOST)?);
    let bench = bench.shut_down()?.boot()?;
    let verdict = story.recover(&bench);
    story.report(rig)?;
    verdict
}

/// Two CPUs append to one log at the same time until the power goes; what each was told to be
/// durable is there.
pub(super) fn two_cpus(rig: &mut Rig) -> anyhow::Result<()> {
    let bench = rig.boot(Needs::devdax(Mib(32)).cpus(2))?;
    let mut part = bench.part("persistence::two_cpus", &[POOL, &BY_EACH.to_string()])?;
    let mut planned = vec![Vec::new(); 2];
    for told in part.collect_until("ready")?.0 {
        let writer = planned.get_mut(index(&told, "writer")?).context("one of two writers")?;
        writer.push(record(&told)?);
    }
    let mut acked = Vec::new();
    for _ in 0..BY_EACH / 2 + rig.seed().part(1).below(BY_EACH) {
        acked.push(index(&part.hear()?, "durable")?);
    }
    rig.step("cut the power under two CPUs");
    let dark = bench.power_fail();
    let both = [0, 1].map(|writer| acked.contains(&writer));
    ensure!(both == [true; 2], "only one CPU appended: {acked:?}");
    let judge = |recovered: &[Record]| judge_writers(&planned, &acked, recovered);
    rig.count("states", lose(&dark, rig.seed(), judge)?)?;
    rig.count("records_acked", acked.len() as u64)?;
    rig.step("recover in the guest");
    let bench = dark.boot()?;
    let mut part = bench.part("persistence::recover", &[POOL])?;
    judge(&records(&part.collect_until("recovered")?.0)?).map_err(|why| anyhow!(why))?;
    part.end()
}

/// The judge says no when the server replies before it stores.
pub(super) fn ack_early(rig: &mut Rig) -> anyhow::Result<()> {
    let mut story = Story::begin(rig, "ack_early")?;
    let bench = rig.boot(Needs::devdax(Mib(64)))?;
    let session = story.serve(&bench, 5)?;
    if bench.is_watched() {
        must_fail(story.look(&bench, rig.seed(), judge_recovery), "were acknowledged")?;
    }
    let dark = session.power_fail(bench);
    must_fail(story.lose(&dark, rig.seed()), "were acknowledged")?;
    must_fail(story.recover(&dark.boot()?), "were acknowledged")
}

/// The judge says no when the kernel is not told which buffers the log owns.
pub(super) fn no_reserve(rig: &mut Rig) -> anyhow::Result<()> {
    let mut story = Story::begin(rig, "none")?;
    let bench = rig.boot(Needs::devdax(Mib(64)))?;
    let bench = story.serve(&bench, MOST)?.power_fail(bench).boot()?;
    story.fault = "no_reserve";
    must_fail(story.serve(&bench, MOST).map(drop), "a frame was written at")
}

/// Turns the verdict of a case in which something is wrong round.
pub(super) fn must_fail(verdict: anyhow::Result<()>, words: &str) -> anyhow::Result<()> {
    match verdict {
        Ok(()) => bail!("the judge saw nothing wrong"),
        Err(why) if format!("{why:#}").contains(words) => Ok(()),
        Err(why) => Err(why.context("the judge saw something else")),
    }
}

/// A server and its client in the middle of their work.
pub(super) struct Session {
    _part: Part,
    tcp: Tcp,
    /// Where in the NVDIMM the records lie that the guest recovered.
    owned: Vec<Span>,
    /// The last frame before the session.
    before: u64,
    /// How many records were acknowledged before the session.
    first: usize,
}

impl Session {
    /// Cuts the power under them; they are there until it is gone.
    pub(super) fn power_fail(self, bench: Bench) -> DarkBench {
        let dark = bench.power_fail();
        drop(self);
        dark
    }
}

/// A row of runs of one log: what was sent and what the client was told, over all of them.
pub(super) struct Story {
    module: PathBuf,
    seed: Seed,
    fault: &'static str,
    sent: Vec<Record>,
    acked: usize,
    lost: usize,
    /// Crash states that were judged.
    states: u64,
}

impl Story {
    /// A log that is empty, and what is done wrong on purpose.
    pub(super) fn begin(rig: &Rig, fault: &'static str) -> anyhow::Result<Self> {
        let (module, seed) = (rig.module(&[])?, rig.seed());
        Ok(Self { module, seed, fault, sent: Vec::new(), acked: 0, lost: 0, states: 0 })
    }

    /// One life of the guest, judged at each of its moments.
    fn live(&mut self, bench: &Bench, life: u64) -> anyhow::Result<Session> {
        let session = self.meet(bench)?;
        for moment in life * MOMENTS..(life + 1) * MOMENTS {
            self.go_on(bench, &session, 1 + self.seed.part(moment).below(MOST))?;
            self.look(bench, self.seed.part(0x20_0000 + moment), judge_recovery)?;
        }
        if bench.is_watched() {
            let promised = bench.watch()?.assertions().context("read what was promised")?;
            ensure!(!promised.is_empty(), "the library has promised nothing");
        }
        Ok(session)
    }

    /// The guest recovers, then serves as in [`Story::go_on`].
    fn serve(&mut self, bench: &Bench, replies: u64) -> anyhow::Result<Session> {
        let session = self.meet(bench)?;
        self.go_on(bench, &session, replies)?;
        Ok(session)
    }

    /// The guest serves until so many further records are acknowledged; one more is on its way
    /// when this returns.
    fn go_on(&mut self, bench: &Bench, session: &Session, replies: u64) -> anyhow::Result<()> {
        let served = self.converse(session, replies);
        // Whoever writes into the log's buffers may break the server, too: name the cause.
        let written = written(bench, session.before)?;
        judge_ownership(&session.owned, &written).map_err(|why| anyhow!(why))?;
        served?;
        if self.fault == "none" {
            self.send_next(session)?;
        }
        Ok(())
    }

    /// The guest recovers and takes a connection.
    pub(super) fn meet(&mut self, bench: &Bench) -> anyhow::Result<Session> {
        bench.address()?;
        bench.load(&self.module)?;
        let mut part = bench.part("persistence::log", &[POOL, &PORT.to_string(), self.fault])?;
        let owned = self.judge(&mut part, bench.nvdimm()?)?;
        part.hear_of("listening")?;
        let before = bench.frame_log().last_seq();
        let tcp = bench.connect()?;
        part.hear_of("ready")?;
        Ok(Session { _part: part, tcp, owned, before, first: self.acked })
    }

    /// Sends records, each after the reply to the last, until so many were acknowledged; one may
    /// be on its way already.
    pub(super) fn converse(&mut self, session: &Session, replies: u64) -> anyhow::Result<()> {
        for _ in 0..replies {
            if self.sent.len() == self.acked {
                self.send_next(session)?;
            }
            let mut told = [0; 8];
            session.tcp.recv_exact(&mut told, PATIENCE).context("wait for a reply")?;
            self.acked = self.sent.len();
            let reply = (self.acked - session.first) as u64;
            ensure!(u64::from_le_bytes(told) == reply, "a reply counts {told:?}, not {reply}");
        }
        Ok(())
    }

    /// Judges everything that a loss of power would leave now, if somebody knows of it, by what
    /// was sent, how much of it was acknowledged, and what is recovered.
    pub(super) fn look(
        &mut self,
        bench: &Bench,
        seed: Seed,
        judge: impl Fn(&[Record], usize, &[Record]) -> oracle::Verdict,
    ) -> anyhow::Result<()> {
        if !bench.is_watched() {
            return Ok(());
        }
        let judge = |recovered: &[Record]| judge(&self.sent, self.acked, recovered);
        self.states += judge_states(bench.states()?, bench.nvdimm()?, seed, judge)?;
        Ok(())
    }

    /// Judges everything that the loss of power may have left, and leaves one of it.
    fn lose(&mut self, dark: &DarkBench, seed: Seed) -> anyhow::Result<()> {
        let judge = |recovered: &[Record]| judge_recovery(&self.sent, self.acked, recovered);
        self.states += lose(dark, seed, judge)?;
        Ok(())
    }

    /// Recovery without a run after it.
    pub(super) fn recover(&mut self, bench: &Bench) -> anyhow::Result<()> {
        let mut part = bench.part("persistence::recover", &[POOL])?;
        self.judge(&mut part, bench.nvdimm()?)?;
        part.end()
    }

    /// Judges what the guest recovered; what was recovered beyond the acknowledged counts as
    /// acknowledged from now on. The places of the records in the NVDIMM.
    fn judge(&mut self, part: &mut Part, nvdimm: &Medium) -> anyhow::Result<Vec<Span>> {
        let (told, _) = part.collect_until("recovered")?;
        let recovered = records(&told)?;
        self.lost += lost(&self.sent, self.acked, &recovered);
        judge_recovery(&self.sent, self.acked, &recovered).map_err(|why| anyhow!(why))?;
        self.sent.truncate(recovered.len());
        self.acked = recovered.len();
        let places = told.iter().map(|record| places(record, nvdimm));
        Ok(places.collect::<anyhow::Result<Vec<_>>>()?.concat())
    }

    fn send_next(&mut self, session: &Session) -> anyhow::Result<()> {
        self.send(session, LENGTHS[self.sent.len() % LENGTHS.len()]).map(drop)
    }

    /// Sends a record of so many bytes; does not wait for the reply. Its bytes.
    pub(super) fn send(&mut self, session: &Session, len: usize) -> anyhow::Result<Vec<u8>> {
        let number = self.sent.len();
        let mut bytes = self.seed.part(0x10_0000 + number as u64).bytes(len);
        bytes[..4].copy_from_slice(&u32::try_from(len).context("a short record")?.to_le_bytes());
        session.tcp.send_all(&bytes, PATIENCE).with_context(|| format!("send record {number}"))?;
        self.sent.push(Record::of(&bytes));
        Ok(bytes)
    }

    /// What was sent and may be there.
    pub(super) fn sent(&self) -> &[Record] {
        &self.sent
    }

    /// How many of them must be there.
    pub(super) fn acked(&self) -> usize {
        self.acked
    }

    pub(super) fn report(&self, rig: &mut Rig) -> anyhow::Result<()> {
        rig.count("records_acked", self.acked as u64)?;
        rig.count("records_lost", self.lost as u64)?;
        if self.states > 0 {
            rig.count("states", self.states)?;
        }
        Ok(())
    }
}

/// Judges everything that a loss of power may have left in a pool, and leaves one of it; how many
/// states that are.
fn lose(
    dark: &DarkBench,
    seed: Seed,
    judge: impl Fn(&[Record]) -> Result<(), String>,
) -> anyhow::Result<u64> {
    if !dark.was_watched() {
        // Nobody knows of another state than the one that an abrupt end leaves.
        let recovered = remains(&dark.nvdimm()?.device()?);
        recovered.and_then(|recovered| judge(&recovered)).map_err(|why| anyhow!(why))?;
        return Ok(1);
    }
    let states = judge_states(dark.states()?, dark.nvdimm()?, seed, judge)?;
    dark.settle(Survivors::Random(seed.0))?;
    Ok(states)
}

/// Judges everything that a loss of power may leave in a pool; how many states that are.
fn judge_states(
    (state, durable): (CrashState, Vec<u8>),
    nvdimm: &Medium,
    seed: Seed,
    judge: impl Fn(&[Record]) -> Result<(), String>,
) -> anyhow::Result<u64> {
    let start = usize::try_from(nvdimm.of_pool(0, 0)?.start).context("a place")?;
    let plan = Plan { seed: seed.0, ..Plan::default() };
    let mut checker = |view: &View<'_>| {
        let verdict = remains(&view.image[start..]).and_then(|records| judge(&records));
        Ok(verdict.map_or_else(Verdict::Bad, |()| Verdict::Good))
    };
    let found = explore_state(durable, state.lines, Vec::new(), &plan, &mut checker);
    if let Some(failure) = found.failures.first() {
        let (failing, states) = (found.failing, found.states);
        bail!("{failing} of {states} states: {} ({:?})", failure.why, failure.choice);
    }
    Ok(found.states)
}

/// The records in an image of a pool that must be there.
pub(super) fn remains(image: &[u8]) -> Result<Vec<Record>, String> {
    recover(image)?.ok_or_else(|| "the pool is lost".to_owned())
}

fn records(told: &[Value]) -> anyhow::Result<Vec<Record>> {
    told.iter().map(record).collect()
}

fn index(told: &Value, name: &str) -> anyhow::Result<usize> {
    usize::try_from(number(told, name)?).with_context(|| format!("read {name:?}"))
}

fn record(told: &Value) -> anyhow::Result<Record> {
    let len = usize::try_from(number(told, "len")?).context("read a record's length")?;
    Ok(Record { len, hash: number(told, "hash")? })
}

/// Where a record's parts lie in the NVDIMM.
fn places(told: &Value, nvdimm: &Medium) -> anyhow::Result<Vec<Span>> {
    let parts = told["places"].as_array().context("a record has places")?;
    let place = |part: &Value| {
        let (offset, len) = part[0].as_u64().zip(part[1].as_u64()).context("read a place")?;
        nvdimm.of_pool(offset, len)
    };
    parts.iter().map(place).collect()
}

/// Where in the NVDIMM the backend wrote payload after frame `before`.
fn written(bench: &Bench, before: u64) -> anyhow::Result<Vec<Span>> {
    let nvdimm = bench.nvdimm()?;
    let filter = Filter::new().direction(Direction::ToGuest).payload_only().after(before);
    let frames = bench.frame_log().frames(&filter);
    let ranges = frames.iter().flat_map(|frame| &frame.payload);
    let inside = ranges.filter_map(|range| {
        let start = nvdimm.offset(range.file)?;
        Some(Span { start, len: range.len as u64 })
    });
    Ok(inside.collect())
}
