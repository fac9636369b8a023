//! Lossy case: what is echoed over a cable that loses segments and lets some overtake others.

use std::thread::scope;

use anyhow::{Context, anyhow, ensure};
use vm::Mib;
use vm::vnet::{Fault, Tcp};

use crate::bench::{Bench, PATIENCE, PORT};
use crate::needs::Needs;
use crate::rig::Rig;
use crate::seed::Seed;

/// Connections at once; a lost segment holds up its own only.
const CONNECTIONS: usize = 24;

/// Messages on each.
const MESSAGES: u64 = 25;

/// Their lengths in bytes: less than a segment, and several.
const LENGTHS: [usize; 6] = [1, 64, 1024, 1460, 4096, 9000];

/// Segments of a thousand that are lost, and that come late.
const LOST: u16 = 15;
const LATE: u16 = 15;

/// Every reply is whole and right, and all buffers come back.
pub(super) fn lossy(rig: &mut Rig) -> anyhow::Result<()> {
    let fault = Fault { seed: rig.seed().0, lost: LOST, late: LATE };
    let bench = rig.boot_with_module(Needs::devdax(Mib(64)).faulty(fault), &[])?;
    let args = ["/dev/dax0.0", &PORT.to_string(), &CONNECTIONS.to_string(), "1"];
    let mut part = bench.part("performance::slots", &args)?;
    part.hear_of("listening")?;
    let tcps = (0..CONNECTIONS).map(|_| bench.connect()).collect::<anyhow::Result<Vec<_>>>()?;
    part.hear_of("ready")?;
    rig.step("echo over a bad cable");
    scope(|scope| {
        let talk = |(number, tcp)| {
            let seed = rig.seed().part(number as u64);
            scope.spawn(move || talk(tcp, seed).with_context(|| format!("connection {number}")))
        };
        let talks: Vec<_> = tcps.iter().enumerate().map(talk).collect();
        let end = |talk: std::thread::ScopedJoinHandle<'_, anyhow::Result<()>>| {
            talk.join().map_err(|_| anyhow!("a connection's thread panics"))?
        };
        talks.into_iter().try_for_each(end)
    })?;
    drop(tcps);
    part.hear_of("echoed")?;
    part.end()?;
    was_bad(rig, &bench)?;
    bench.unload()
}

/// Messages and their echoes, one after the other.
fn talk(tcp: &Tcp, seed: Seed) -> anyhow::Result<()> {
    for number in 0..MESSAGES {
        let seed = seed.part(number);
        let choice = usize::try_from(seed.below(LENGTHS.len() as u64)).context("choose")?;
        let message = seed.bytes(LENGTHS[choice]);
        tcp.send_all(&message, PATIENCE).context("send")?;
        let mut reply = vec![0; message.len()];
        tcp.recv_exact(&mut reply, PATIENCE).context("receive")?;
        ensure!(reply == message, "message {number} comes back as another one");
    }
    Ok(())
}

/// A cable that lost nothing, or a module that took no short way, would prove nothing.
fn was_bad(rig: &Rig, bench: &Bench) -> anyhow::Result<()> {
    let cable = bench.counters();
    rig.step(format!("{} segments lost, {} late", cable.lost, cable.late));
    ensure!(cable.lost > 20 && cable.late > 20, "the cable was too good: {cable:?}");
    for name in ["short_way_frames", "out_short_way_segments"] {
        let count = bench.module_counter(name)?;
        ensure!(count > 1000, "only {count} {name}");
    }
    Ok(())
}
