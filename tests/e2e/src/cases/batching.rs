//! Batching cases: how many system calls many ready connections cost.

use anyhow::{Context, ensure};
use vm::vnet::{Direction, Filter, Tcp};
use vm::{Mib, vnet::hash};

use crate::bench::{Bench, PATIENCE, PORT, in_time};
use crate::needs::Needs;
use crate::part::{Part, number};
use crate::rig::Rig;

/// Connections that are ready at once.
const CONNECTIONS: usize = 64;

/// Length of a message in bytes.
const MESSAGE: usize = 64;

/// The number of `ioctl`, which both syncs are.
const IOCTL: u64 = 16;

/// One receive call and one send call echo a message on each of 64 connections; epoll needs two
/// for each.
pub(super) fn one_call(rig: &mut Rig) -> anyhow::Result<()> {
    let bench = rig.boot_with_module(Needs::devdax(Mib(64)), &[])?;
    rig.step("echo through slots");
    let args = ["/dev/dax0.0", &PORT.to_string(), &CONNECTIONS.to_string()];
    let calls = play(rig, &bench, bench.part("batching::slots", &args)?)?;
    ensure!(calls == [IOCTL, IOCTL], "the slots took the system calls {calls:?}");
    rig.figure("syscalls_per_message", per_message(&calls)?);
    rig.step("echo through epoll");
    let calls = play(rig, &bench, bench.part("batching::epoll", &args[1..])?)?;
    let least = 2 * CONNECTIONS;
    ensure!(calls.len() > least, "epoll took {} system calls: not all are seen", calls.len());
    rig.figure("epoll_syscalls_per_message", per_message(&calls)?);
    Ok(())
}

fn per_message(calls: &[u64]) -> anyhow::Result<f64> {
    let count = |count: usize| u32::try_from(count).context("count system calls");
    Ok(f64::from(count(calls.len())?) / f64::from(count(CONNECTIONS)?))
}

/// Sends a message on each connection, lets the guest look when all are there, and hears them
/// back; the system calls that the guest made in between.
fn play(rig: &Rig, bench: &Bench, mut part: Part) -> anyhow::Result<Vec<u64>> {
    part.hear_of("listening")?;
    let tcps = (0..CONNECTIONS).map(|_| bench.connect()).collect::<anyhow::Result<Vec<_>>>()?;
    part.hear_of("ready")?;
    let before = bench.frame_log().last_seq();
    let message = |number: usize| rig.seed().part(number as u64).bytes(MESSAGE);
    for (number, tcp) in tcps.iter().enumerate() {
        tcp.send_all(&message(number), PATIENCE).context("send")?;
    }
    published(bench, before, &tcps, message)?;
    part.go_on()?;
    let told = part.hear_of("calls")?;
    let echoed = number(&told, "echoed")?;
    ensure!(echoed == CONNECTIONS as u64, "{echoed} of {CONNECTIONS} messages were echoed");
    for (number, tcp) in tcps.iter().enumerate() {
        let mut bytes = [0; MESSAGE];
        tcp.recv_exact(&mut bytes, PATIENCE).context("hear a message back")?;
        ensure!(bytes[..] == message(number), "connection {number} echoes another message");
    }
    part.go_on()?;
    part.end()?;
    let calls = told["calls"].as_array().context("a list of system calls")?;
    calls.iter().map(|call| call.as_u64().context("read a system call")).collect()
}

/// Waits until the backend has written every message into guest memory and said so.
fn published(
    bench: &Bench,
    before: u64,
    tcps: &[Tcp],
    message: impl Fn(usize) -> Vec<u8>,
) -> anyhow::Result<()> {
    let (frame_log, deadline) = (bench.frame_log(), std::time::Instant::now() + PATIENCE);
    for (number, tcp) in tcps.iter().enumerate() {
        let filter = Filter::new().direction(Direction::ToGuest).after(before).payload_only();
        let filter = filter.src_port(tcp.local().port()).payload_hash(hash(&message(number)));
        frame_log.wait(&filter, PATIENCE).context("wait for a frame")?;
        in_time(deadline, "all frames")?;
    }
    Ok(())
}
