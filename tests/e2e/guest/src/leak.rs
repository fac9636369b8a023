//! Leak: receives many packets, holds some of them for a while, and counts buffers.

use std::collections::VecDeque;

use anyhow::{Context, ensure};
use paste_net::{Buffers, KernelDevice, Log, Packet, Pool, PoolSpec, Port, PortSpec};
use serde_json::json;

use crate::tell::tell;
use crate::zero_copy::accept;

/// Of so many packets one is held.
const HELD_ONE_OF: u64 = 16;

/// So many packets are held at once.
const HELD_AT_ONCE: usize = 256;

/// Spares for the packets that are held, and as many again.
const SPARES: u32 = 512;

/// Receives `packets` packets, then tells how many extra buffers the kernel can lend before and
/// after: the difference is lost.
pub(crate) fn count(
    path: &str,
    port_number: u16,
    connections: usize,
    packets: u64,
) -> anyhow::Result<()> {
    let pool = Pool::create(&PoolSpec::new(path).overwrite(true)).context("create the pool")?;
    let log = Log::open(&pool).context("open the log")?;
    let before = lendable(log.buffers()).context("count buffers before")?;
    let received = receive(log.buffers(), port_number, connections, packets)?;
    let after = lendable(log.buffers()).context("count buffers after")?;
    tell(&json!({ "before": before, "after": after, "received": received }))
}

/// How many extra buffers a new port gets at most.
fn lendable(buffers: &Buffers) -> anyhow::Result<u32> {
    let spec = PortSpec::new("pst:0", buffers).extra(buffers.count());
    Ok(Port::open(KernelDevice::open()?, &spec).context("open a port")?.extra_bufs())
}

fn receive(
    buffers: &Buffers,
    port_number: u16,
    connections: usize,
    packets: u64,
) -> anyhow::Result<u64> {
    let spec = PortSpec::new("pst:0", buffers).extra(SPARES);
    let mut port = Port::open(KernelDevice::open()?, &spec).context("open the port")?;
    port.attach("eth0").context("attach the NIC")?;
    let _sockets = accept(&mut port, port_number, connections)?;
    let (mut held, mut received) = (VecDeque::<Packet>::new(), 0);
    while received < packets {
        port.poll(&[], None).context("wait for packets")?;
        let mut view = port.rx().context("look at the ring")?;
        while let Some(slot) = view.next().context("look at a slot")? {
            ensure!(!slot.is_end_of_stream(), "a peer ended its stream early");
            received += 1;
            if received % HELD_ONE_OF == 0 {
                if held.len() == HELD_AT_ONCE {
                    held.pop_front();
                }
                held.push_back(slot.keep(buffers.spare().context("take a spare buffer")?));
            }
        }
    }
    Ok(received)
}
