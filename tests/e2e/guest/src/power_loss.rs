//! Power loss: a program that stores records and says by markers how far it is.
//!
//! Standard input says what to do, a step a line. A packet is its bytes in hexadecimal, a record
//! its packets with `+` between them, a batch its records with spaces between them.
//!
//! ```text
//! make ID        make the pool
//! remake ID      make a pool where another one is
//! open           open the pool and its log, and a port without a kernel
//! append BATCH   receive the batch's packets, then append them
//! reset          empty the log
//! close          let go of port, log and pool
//! ```
//!
//! After step n the marker CHECKPOINT has the id n. The payload is written by this program's own
//! stores: it plays the NIC.

use std::io::Read;
use std::os::fd::AsFd;

use anyhow::{Context, bail, ensure};
use paste_net::{
    Batch, Buffers, Log, Loopback, Packet, Pool, PoolId, PoolSpec, Port, PortSpec, marker,
};

/// Entries of the log.
const ENTRIES: u32 = 64;

/// Slots of each ring, and spares to keep packets with: few, because the kernel writes into each
/// spare, and nobody flushes that.
const SLOTS: u32 = 4;
const SPARES: u32 = 10;

/// Bytes of headers before the payload, in turn: what Ethernet and IPv4 make of it, and TCP.
const HEADERS: [u16; 3] = [14, 54, 66];

/// Plays the steps from standard input on the pool at `path`. Step 1 begins with the marker ARM;
/// a program that goes on where another was killed has a later `first`. The last ends with DISARM.
pub(crate) fn play(path: &str, first: u64) -> anyhow::Result<()> {
    let mut steps = String::new();
    std::io::stdin().lock().read_to_string(&mut steps).context("read the steps")?;
    let mut program = Program { path, open: None, packets: 0 };
    if first == 1 {
        marker::arm();
    }
    for (step, number) in steps.lines().zip(first..) {
        program.play(step).with_context(|| format!("step {number}"))?;
        marker::checkpoint(number);
    }
    marker::disarm();
    Ok(())
}

struct Program<'a> {
    path: &'a str,
    open: Option<Open>,
    /// How many were received.
    packets: usize,
}

struct Open {
    log: Log,
    cable: Cable,
}

/// A port without a kernel, and the NIC that this program plays.
pub(crate) struct Cable {
    port: Port,
    nic: Loopback,
}

impl Program<'_> {
    fn play(&mut self, step: &str) -> anyhow::Result<()> {
        match step.split_once(' ').unwrap_or((step, "")) {
            (make @ ("make" | "remake"), id) => {
                let id = PoolId(id.parse().context("read the pool's number")?);
                let spec = PoolSpec::new(self.path).log_entries(ENTRIES).id(id);
                let spec = spec.overwrite(make == "remake");
                Pool::create(&spec).context("make the pool").map(drop)
            }
            ("open", "") => {
                self.open = Some(Open::new(self.path)?);
                Ok(())
            }
            ("append", batch) => self.append(batch),
            ("reset", "") => self.opened()?.log.reset().context("empty the log"),
            ("close", "") => {
                self.open = None;
                Ok(())
            }
            _ => bail!("{step:?} is no step"),
        }
    }

    fn opened(&mut self) -> anyhow::Result<&mut Open> {
        self.open.as_mut().context("an open pool")
    }

    fn append(&mut self, batch: &str) -> anyhow::Result<()> {
        let mut records = Batch::new();
        for record in batch.split(' ') {
            let mut packets = Vec::new();
            for packet in record.split('+') {
                let bytes = unhex(packet).context("read a packet")?;
                let headers = HEADERS[self.packets % HEADERS.len()];
                self.packets += 1;
                let Open { log, cable } = self.opened()?;
                packets.push(cable.receive(log.buffers(), &bytes, headers)?);
            }
            records.record(packets);
        }
        let appended = self.opened()?.log.append(records).map_err(|rejected| rejected.error);
        appended.context("append").map(drop)
    }
}

impl Open {
    fn new(path: &str) -> anyhow::Result<Self> {
        let pool = Pool::open(path).context("open the pool")?;
        let log = Log::open(&pool).context("recover the log")?;
        let cable = Cable::new(log.buffers(), SPARES)?;
        Ok(Self { log, cable })
    }
}

impl Cable {
    /// A port that lends these buffers, and so many of them to keep packets with.
    pub(crate) fn new(buffers: &Buffers, spares: u32) -> anyhow::Result<Self> {
        let nic = Loopback::new();
        let spec = PortSpec::new("pst:0", buffers);
        let spec = spec.slots(SLOTS).tx_slots(SLOTS).extra(spares);
        let mut port = Port::open(nic.clone(), &spec).context("open the port")?;
        port.attach("eth0").context("attach the NIC")?;
        port.register(std::io::stdin().as_fd()).context("register")?;
        Ok(Self { port, nic })
    }

    /// A packet, as if it had come over the network; a spare buffer of the pool takes its place.
    pub(crate) fn receive(
        &mut self,
        buffers: &Buffers,
        payload: &[u8],
        headers: u16,
    ) -> anyhow::Result<Packet> {
        let fd = std::os::fd::AsRawFd::as_raw_fd(&std::io::stdin());
        ensure!(self.nic.inject(fd, payload, headers), "nobody receives");
        self.port.rxsync().context("sync")?;
        let mut view = self.port.rx().context("look at the ring")?;
        let slot = view.next().context("look at a slot")?.context("find a slot")?;
        Ok(slot.keep(buffers.spare().context("take a spare buffer")?))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(byte).collect()
}
