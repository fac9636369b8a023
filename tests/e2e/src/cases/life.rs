//! Life cases: what an application's sudden death leaves behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::Duration;

use anyhow::{Context, ensure};
use vm::Mib;
use vm::vnet::Tcp;

use crate::bench::{Bench, PATIENCE, PORT};
use crate::needs::Needs;
use crate::part::{Part, number};
use crate::rig::Rig;

/// How often the application is killed.
const KILLS: usize = 100;

/// Connections that load it.
const CONNECTIONS: usize = 8;

/// The guest's pool.
const POOL: &str = "/dev/dax0.0";

/// How long a loading thread waits for an echo before it looks whether it is still needed.
const TURN: Duration = Duration::from_millis(200);

/// A killed application's NIC, sockets and pool are free with its end, and the rest goes on.
pub(super) fn kill_app(rig: &mut Rig) -> anyhow::Result<()> {
    let bench = rig.boot_with_module(Needs::devdax(Mib(64)), &[])?;
    let (mut times, mut lendable) = (Vec::new(), None);
    for kill in 0..KILLS {
        rig.step(format!("kill the application, {} of {KILLS}", kill + 1));
        let (took_ms, buffers) = outlive(&bench).with_context(|| format!("kill {kill}"))?;
        times.push(took_ms);
        let first = *lendable.get_or_insert(buffers);
        ensure!(buffers == first, "{buffers} buffers can be lent after {kill} kills, not {first}");
        bench.ping().with_context(|| format!("ping after kill {kill}"))?;
    }
    times.sort_by(f64::total_cmp);
    rig.figure("restart_ms_median", times[KILLS / 2]);
    rig.figure("restart_ms_max", times[KILLS - 1]);
    refused_while_used(&bench)?;
    bench.unload()?;
    bench.ping().context("ping the NIC's own driver")?;
    let warnings = bench.guest().warnings();
    ensure!(warnings.is_empty(), "the kernel complains: {}", warnings.join("; "));
    Ok(())
}

/// Kills an echo at work; how long it took until the next one had all that it needs, in
/// milliseconds, and how many buffers it could get.
fn outlive(bench: &Bench) -> anyhow::Result<(f64, u64)> {
    let (echo, pid, tcps) = echo(bench)?;
    let mut witness = bench.part("life::outlive", &[POOL, &pid.to_string()])?;
    let done = AtomicBool::new(false);
    let told = scope(|scope| {
        for tcp in &tcps {
            scope.spawn(|| load(tcp, &done));
        }
        let told = load_first(bench, &tcps).and_then(|()| {
            witness.go_on()?;
            bench.ping().context("ping at the kill")?;
            witness.hear_of("micros")
        });
        done.store(true, Ordering::Relaxed);
        told
    })?;
    witness.end()?;
    drop(echo);
    let micros = u32::try_from(number(&told, "micros")?).context("read a time")?;
    Ok((f64::from(micros) / 1000.0, number(&told, "lendable")?))
}

/// An application and its connections.
fn echo(bench: &Bench) -> anyhow::Result<(Part, u64, Vec<Tcp>)> {
    let args = [POOL, &PORT.to_string(), &CONNECTIONS.to_string()];
    let mut echo = bench.part("life::echo", &args)?;
    echo.hear_of("listening")?;
    let tcps = (0..CONNECTIONS).map(|_| bench.connect()).collect::<anyhow::Result<Vec<_>>>()?;
    let pid = number(&echo.hear_of("pid")?, "pid")?;
    Ok((echo, pid, tcps))
}

/// Waits until frames come back: the application is at work.
fn load_first(bench: &Bench, tcps: &[Tcp]) -> anyhow::Result<()> {
    let before = bench.frame_log().last_seq();
    let filter = vm::vnet::Filter::new().direction(vm::vnet::Direction::FromGuest).payload_only();
    let port = tcps.first().context("a connection")?.local().port();
    let filter = filter.dst_port(port).after(before);
    bench.frame_log().wait(&filter, PATIENCE).context("wait for an echo").map(drop)
}

/// Sends and hears back until nobody needs it, or the connection is dead.
fn load(tcp: &Tcp, done: &AtomicBool) {
    let mut bytes = [0; 1024];
    while !done.load(Ordering::Relaxed) {
        if tcp.send_all(&[7; 1024], TURN).is_err() {
            return;
        }
        match tcp.recv(&mut bytes, TURN) {
            Err(vm::vnet::Error::Timeout(_)) => {}
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// The module cannot go while an application uses it, and says so.
fn refused_while_used(bench: &Bench) -> anyhow::Result<()> {
    let (echo, pid, tcps) = echo(bench)?;
    let said = bench.shell("rmmod paste 2>&1 || echo refused")?;
    let refused = said.contains("in use") && said.contains("refused");
    ensure!(refused, "rmmod of a module in use says: {said}");
    bench.shell(&format!("kill -9 {pid}; while [ -e /proc/{pid} ]; do :; done"))?;
    drop((echo, tcps));
    Ok(())
}
