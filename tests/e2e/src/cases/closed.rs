//! Closed cases: a guest that nobody reaches from outside does the same thing twice.
//!
//! Server and client are both in the guest, on two NICs of one hub: packets go by DMA into the
//! NVDIMM, and the observer records what the server does there.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use vm::crash::{Event, Op, Plan, Rules, Verdict, View, explore};
use vm::nvdimm::Mode;
use vm::recording::{BASE, TRACE, Traced};
use vm::vnet::hash;
use vm::{Closed, ExitCode, Mac, Mib, Nic, Nvdimm, Spec, Watch};

use super::persistence::remains;
use crate::oracle::records::{Record, judge_recovery};
use crate::rig::Rig;

/// The NVDIMM: a log, and buffers for it and for the rings.
const NVDIMM: Mib = Mib(32);

/// Lengths of the messages, in bytes: one packet, or several.
const LENGTHS: [usize; 8] = [64, 1024, 4096, 64, 2500, 1460, 200, 3000];

/// What one run of the guest left.
struct Run {
    /// The files as they are.
    trace: Vec<u8>,
    base: Vec<u8>,
    traced: Traced,
    /// Where in the NVDIMM the pool begins.
    start: usize,
}

/// The same guest with the same seed leaves the same files, byte for byte, in whatever folder;
/// something else happens with another seed, or with one bit of one message turned. All is well
/// after each loss of power.
pub(super) fn deterministic(rig: &mut Rig) -> anyhow::Result<()> {
    let (seed, mut messages) = (rig.seed().part(0).below(1 << 32), messages(rig));
    let first = run(rig, "first", seed, &messages)?;
    let again = run(rig, "again", seed, &messages)?;
    same(&first.base, &again.base).context("compare the images at the start")?;
    same(&first.trace, &again.trace).context("compare the traces")?;
    judge(rig, &first, &messages)?;
    let other = run(rig, "seed", seed ^ 1, &messages)?;
    ensure!(other.traced.events != first.traced.events, "another seed makes no difference");
    messages[7][100] ^= 1;
    let other = run(rig, "bit", seed, &messages)?;
    ensure!(other.traced.events != first.traced.events, "another bit makes no difference");
    Ok(())
}

fn same(one: &[u8], other: &[u8]) -> anyhow::Result<()> {
    if one == other {
        return Ok(());
    }
    let at = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    bail!("two runs differ from byte {at} on, of {} and {}", one.len(), other.len())
}

fn messages(rig: &Rig) -> Vec<Vec<u8>> {
    let message = |(label, len): (u64, usize)| {
        let mut bytes = rig.seed().part(label).bytes(len);
        bytes[..4].copy_from_slice(&u32::try_from(len).unwrap_or_default().to_le_bytes());
        bytes
    };
    (1..).zip(LENGTHS).map(message).collect()
}

/// Runs the guest in a folder of its own.
fn run(rig: &Rig, name: &str, seed: u64, messages: &[Vec<u8>]) -> anyhow::Result<Run> {
    let (module, observer) = (rig.module(&[])?, rig.world().observer()?);
    rig.step(format!("run a closed guest: {name}"));
    let base = rig.world().base()?;
    let dir = rig.dir().join(name);
    std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let nvdimm = Nvdimm::seeded(dir.join("nvdimm"), NVDIMM, Mode::Devdax, seed)?;
    let start = usize::try_from(nvdimm.data_offset()).context("address the pool")?;
    let watch = Watch::trace(&observer, &dir.join("observed"), Rules::default(), None);
    let spec = Spec::new("closed", &base.image, &dir).qemu(&base.qemu.path).ram(Mib(256));
    let nics = [1, 2].map(|n| Nic::Hub { mac: Mac::local(n) });
    let spec = nics.into_iter().fold(spec.nvdimm(nvdimm).watch(watch.clone()), Spec::nic);
    let [program, driver, records] =
        ["program", "paste.ko", "records"].map(|name| format!("{}/{name}", Closed::FOLDER));
    let words = [&program, "power_loss::deterministic", Mode::Devdax.device(), &driver, &records];
    let closed = spec
        .closed(seed, words)
        .file("program", read(&base.programs.cases)?)
        .file("paste.ko", read(&module)?)
        .file("records", messages.concat());
    let ended = closed.run(rig.time_left())?;
    ensure!(ended.code == ExitCode::Code(0), "{}:\n{}", ended.code, ended.console);
    let recorded = watch.recorded()?;
    let [folder] = &recorded[..] else { bail!("{} traces", recorded.len()) };
    let (trace, base) = (read(&folder.join(TRACE))?, read(&folder.join(BASE))?);
    let traced = Traced::read(folder).context("read the trace")?;
    Ok(Run { trace, base, traced, start })
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read {}", path.display()))
}

/// The trace is that of a server that stored all messages, and loses none of them.
fn judge(rig: &mut Rig, run: &Run, messages: &[Vec<u8>]) -> anyhow::Result<()> {
    rig.step("judge what was recorded");
    let Traced { image, events, .. } = &run.traced;
    let record = |bytes: &Vec<u8>| Record { len: bytes.len(), hash: hash(bytes) };
    let sent: Vec<_> = messages.iter().map(record).collect();
    let acknowledged: BTreeSet<_> = events.iter().filter_map(checkpoint).collect();
    ensure!(acknowledged == (1..=sent.len() as u64).collect(), "checkpoints {acknowledged:?}");
    let mut checker = |view: &View<'_>| {
        let acked = view.markers.iter().filter(|marker| marker.op == Op::Checkpoint).count();
        let found = remains(&view.image[run.start..]);
        let verdict = found.and_then(|found| judge_recovery(&sent, acked, &found));
        Ok(verdict.map_or_else(Verdict::Bad, |()| Verdict::Good))
    };
    let found = explore(image.clone(), events, &Plan::default(), &mut checker);
    ensure!(found.is_good() && found.states > 1000, "{found:?}");
    rig.count("states", found.states)?;
    rig.count("records_acked", sent.len() as u64)
}

fn checkpoint(event: &Event) -> Option<u64> {
    match event {
        Event::Marker(marker) if marker.op == Op::Checkpoint => Some(marker.args[0]),
        _ => None,
    }
}
