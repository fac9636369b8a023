//! Life: an echo that is killed at work, and a witness of what it leaves behind.

use std::fs::File;
use std::time::Instant;

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use paste_net::{Event, KernelDevice, Log, Pool, PoolSpec, Port, PortSpec};
use serde_json::json;

use crate::tell::{tell, wait_for_host};
use crate::zero_copy::accept;

/// Spares of the echo.
const SPARES: u32 = 512;

/// Echoes on `connections` connections until it is killed.
pub(crate) fn echo(path: &str, port_number: u16, connections: usize) -> anyhow::Result<()> {
    let pool = Pool::create(&PoolSpec::new(path).overwrite(true)).context("create the pool")?;
    let log = Log::open(&pool).context("open the log")?;
    let spec = PortSpec::new("pst:0", log.buffers()).extra(SPARES).events();
    let mut port = Port::open(KernelDevice::open()?, &spec).context("open the port")?;
    port.attach("eth0").context("attach the NIC")?;
    let _sockets = accept(&mut port, port_number, connections)?;
    tell(&json!({ "pid": std::process::id() }))?;
    let mut echoed = 0_u64;
    loop {
        port.poll(&[], None).context("wait")?;
        let (mut rx, mut tx) = port.both().context("look at the rings")?;
        while tx.room() > 0 {
            let Some(slot) = rx.next().context("look at a slot")? else { break };
            if matches!(slot.event(), Some(Event::End | Event::Reset(_))) {
                bail!("a peer went first, after {echoed} packets");
            }
            if slot.event().is_none() {
                let (conn, spare) = (slot.fd(), log.buffers().spare().context("take a spare")?);
                tx.send(conn, slot.keep(spare)).context("fill a slot")?;
                echoed += 1;
            }
        }
        drop((rx, tx));
        port.txsync().context("send")?;
    }
}

/// Kills process `pid` and takes over its pool, port and NIC as soon as the kernel lets go of the
/// pool; tells how long that took and how many buffers there are.
pub(crate) fn outlive(path: &str, pid: i32) -> anyhow::Result<()> {
    wait_for_host()?;
    let start = Instant::now();
    kill(Pid::from_raw(pid), Signal::SIGKILL).context("kill the echo")?;
    wait_until_free(path)?;
    // Once, and at once: with the pool everything else is free, too.
    let lendable = attach(path)?;
    let took = u64::try_from(start.elapsed().as_micros()).context("measure")?;
    tell(&json!({ "micros": took, "lendable": lendable }))
}

/// Waits for the lock that every opener of a pool holds. The kernel extension holds it, too, as
/// long as the network stack has anything of the pool.
fn wait_until_free(path: &str) -> anyhow::Result<()> {
    let file = File::options().read(true).write(true).open(path).context("open the pool")?;
    let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno);
    lock.context("wait for the pool's lock").map(drop)
}

fn attach(path: &str) -> anyhow::Result<u32> {
    let pool = Pool::create(&PoolSpec::new(path).overwrite(true)).context("create the pool")?;
    let log = Log::open(&pool).context("open the log")?;
    let spec = PortSpec::new("pst:0", log.buffers()).extra(log.buffers().count());
    let lendable = Port::open(KernelDevice::open()?, &spec).context("open the port")?.extra_bufs();
    let spec = PortSpec::new("pst:0", log.buffers()).extra(SPARES);
    let mut port = Port::open(KernelDevice::open()?, &spec).context("open the port again")?;
    port.attach("eth0").context("attach the NIC")?;
    Ok(lendable)
}
