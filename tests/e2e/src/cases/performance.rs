//! Performance case: what an echoed message costs the guest, beside a server of the usual kind.
//!
//! One guest with one CPU runs both servers one after the other: first epoll on the kernel's own
//! driver, tuned (no GRO, no transmit interrupts), then slots on PASTE's. The client is the host's:
//! every instruction counted is the server's. Rounds: a message on every connection, then all
//! replies, each compared byte by byte.

use anyhow::{Context, anyhow, ensure};
use vm::Mib;
use vm::vnet::Tcp;

use crate::bench::{Bench, PATIENCE, PORT};
use crate::needs::Needs;
use crate::oracle::cost::{self, Cost, Mark};
use crate::part::{Part, number};
use crate::rig::Rig;

/// Connections, each with one message in flight.
const CONNECTIONS: usize = 32;

/// Windows that are counted, and rounds in each.
const WINDOWS: usize = 7;
const ROUNDS: usize = 40;

/// Rounds before the first window.
const WARM_UP: usize = 20;

/// A length of a message in bytes, and the names of its figures.
struct Length {
    bytes: usize,
    slots: &'static str,
    epoll: &'static str,
}

const LENGTHS: [Length; 2] = [
    Length {
        bytes: 64,
        slots: "instructions_per_message",
        epoll: "epoll_instructions_per_message",
    },
    Length {
        bytes: 1024,
        slots: "instructions_per_message_1k",
        epoll: "epoll_instructions_per_message_1k",
    },
];

/// Measures; the replies must be right.
pub(super) fn echo(rig: &mut Rig) -> anyhow::Result<()> {
    let module = rig.module(&[])?;
    let bench = rig.boot(Needs::devdax(Mib(64)).counted())?;
    bench.shell("rmmod virtio_net; modprobe virtio_net napi_tx=0")?;
    bench.address()?;
    bench.shell("ethtool -K eth0 gro off")?;
    let mut epoll = Vec::new();
    for length in &LENGTHS {
        rig.step(format!("echo {} bytes through epoll", length.bytes));
        let args = arguments(length);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let cost = play(rig, &bench, bench.part("performance::epoll", &args)?, length.bytes)?;
        rig.figure(length.epoll, cost.median);
        epoll.push(cost);
    }
    bench.load(&module)?;
    for (length, epoll) in LENGTHS.iter().zip(epoll) {
        rig.step(format!("echo {} bytes through slots", length.bytes));
        let args = arguments(length);
        let args: Vec<_> =
            std::iter::once("/dev/dax0.0").chain(args.iter().map(String::as_str)).collect();
        let cost = play(rig, &bench, bench.part("performance::slots", &args)?, length.bytes)?;
        rig.figure(length.slots, cost.median);
        rig.step(format!("{} bytes: slots {cost}, epoll {epoll}", length.bytes));
    }
    Ok(())
}

fn arguments(length: &Length) -> [String; 3] {
    [PORT.to_string(), CONNECTIONS.to_string(), length.bytes.to_string()]
}

/// Plays all rounds; what a message cost.
fn play(rig: &Rig, bench: &Bench, mut part: Part, len: usize) -> anyhow::Result<Cost> {
    let before = bench.stats()?.len();
    part.hear_of("listening")?;
    let tcps = (0..CONNECTIONS).map(|_| bench.connect()).collect::<anyhow::Result<Vec<_>>>()?;
    part.hear_of("ready")?;
    let rounds = WARM_UP + WINDOWS * ROUNDS;
    for round in 0..rounds {
        let bytes = rig.seed().part(round as u64).bytes(len + CONNECTIONS);
        exchange(bench, &tcps, &bytes).with_context(|| format!("round {round}"))?;
    }
    drop(tcps);
    let told = part.hear_of("echoed")?;
    part.end()?;
    let echoed = number(&told, "echoed")?;
    let sent = (rounds * CONNECTIONS) as u64;
    ensure!(echoed == sent, "{echoed} of {sent} messages were echoed");
    rig.step(format!("{sent} messages in {} batches", number(&told, "batches")?));
    let stats = bench.stats()?;
    let marks = stats.get(before..).context("the observer lost markers")?.iter();
    let marks: Vec<_> = marks
        .map(|stats| Mark { messages: stats.number, instructions: stats.instructions })
        .collect();
    cost::judge(&marks, WINDOWS, (ROUNDS * CONNECTIONS) as u64).map_err(|why| anyhow!(why))
}

/// One message on each connection, each another part of `bytes`, and all replies.
fn exchange(bench: &Bench, tcps: &[Tcp], bytes: &[u8]) -> anyhow::Result<()> {
    let len = bytes.len() - tcps.len();
    let message = |number: usize| &bytes[number..number + len];
    let messages = tcps.iter().enumerate().map(|(number, tcp)| (tcp, message(number)));
    bench.host().send_each(messages, PATIENCE).context("send")?;
    let mut reply = vec![0; len];
    for (number, tcp) in tcps.iter().enumerate() {
        tcp.recv_exact(&mut reply, PATIENCE).context("receive")?;
        ensure!(reply == message(number), "connection {number} echoes another message");
    }
    Ok(())
}
