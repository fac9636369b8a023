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
//! stores, as if it were the NIC; or, if a TCP port is given, by the NIC: `open` then waits for a
//! client, and whatever the record, the client sends as many bytes when this program wants them.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use anyhow::{Context, bail, ensure};
use paste_net::{
    Batch, Buffers, KernelDevice, Log, Loopback, Packet, Pool, PoolId, PoolSpec, Port, PortSpec,
    marker,
};
use serde_json::json;

use crate::tell::tell;

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
pub(crate) fn play(path: &str, first: u64, tcp_port: Option<u16>) -> anyhow::Result<()> {
    let mut steps = String::new();
    std::io::stdin().lock().read_to_string(&mut steps).context("read the steps")?;
    let mut program = Program { path, tcp_port, open: None, packets: 0 };
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
    tcp_port: Option<u16>,
    open: Option<Open>,
    /// How many were received.
    packets: usize,
}

struct Open {
    log: Log,
    source: Source,
}

/// Who writes the payload.
enum Source {
    Program(Cable),
    Nic(Wire),
}

/// A port without a kernel, and the NIC that this program plays.
pub(crate) struct Cable {
    port: Port,
    nic: Loopback,
}

/// A port of the kernel, and the client that sends.
struct Wire {
    port: Port,
    _client: TcpStream,
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
                self.open = Some(Open::new(self.path, self.tcp_port)?);
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
            let packets: Option<Vec<_>> = record.split('+').map(unhex).collect();
            let packets = packets.context("read a record")?;
            let first = self.packets;
            self.packets += packets.len();
            records.record(self.opened()?.receive(&packets, first)?);
        }
        let appended = self.opened()?.log.append(records).map_err(|rejected| rejected.error);
        appended.context("append").map(drop)
    }
}

impl Open {
    fn new(path: &str, tcp_port: Option<u16>) -> anyhow::Result<Self> {
        let pool = Pool::open(path).context("open the pool")?;
        let log = Log::open(&pool).context("recover the log")?;
        let source = match tcp_port {
            None => Source::Program(Cable::new(log.buffers(), SPARES)?),
            Some(number) => Source::Nic(Wire::new(log.buffers(), number)?),
        };
        Ok(Self { log, source })
    }

    /// A record of these packets; `first` packets were received before.
    fn receive(&mut self, packets: &[Vec<u8>], first: usize) -> anyhow::Result<Vec<Packet>> {
        let Self { log, source } = self;
        let receive = |cable: &mut Cable, (packet, number): (&Vec<u8>, usize)| {
            cable.receive(log.buffers(), packet, HEADERS[number % HEADERS.len()])
        };
        match source {
            Source::Program(cable) => {
                packets.iter().zip(first..).map(|packet| receive(cable, packet)).collect()
            }
            Source::Nic(wire) => wire.receive(log.buffers(), packets.iter().map(Vec::len).sum()),
        }
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

impl Wire {
    /// A port that lends these buffers, and its one client.
    fn new(buffers: &Buffers, tcp_port: u16) -> anyhow::Result<Self> {
        let spec = PortSpec::new("pst:0", buffers);
        let spec = spec.slots(SLOTS).tx_slots(SLOTS).extra(SPARES);
        let mut port = Port::open(KernelDevice::open()?, &spec).context("open the port")?;
        port.attach("eth0").context("attach the NIC")?;
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, tcp_port)).context("listen")?;
        tell(&json!({ "listening": true }))?;
        let (client, _) = listener.accept().context("accept")?;
        port.register(client.as_fd()).context("register")?;
        Ok(Self { port, _client: client })
    }

    /// The packets of so many bytes that the client now sends.
    fn receive(&mut self, buffers: &Buffers, len: usize) -> anyhow::Result<Vec<Packet>> {
        tell(&json!({ "wants": len }))?;
        let (mut missing, mut packets) = (len, Vec::new());
        while missing > 0 {
            self.port.poll(&[], None).context("wait for packets")?;
            let mut view = self.port.rx().context("look at the ring")?;
            while let Some(slot) = view.next().context("look at a slot")? {
                let left = missing.checked_sub(slot.payload().len());
                missing = left.context("more than one record came")?;
                packets.push(slot.keep(buffers.spare().context("take a spare buffer")?));
            }
        }
        Ok(packets)
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(byte).collect()
}
