//! Persistence: a server that logs each record before it replies, and its recovery.
//!
//! A record is a message of the client: 4 bytes little-endian length of the whole message, then
//! bytes. The client sends the next one only after the reply to the last, so a record's packets
//! hold nothing else. The reply is the 8-byte little-endian number of records since the start of
//! the connection.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::ScopedJoinHandle;

use anyhow::{Context, anyhow, bail};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use paste_net::{
    Batch, BufSet, Error, KernelDevice, Log, Packet, Pool, PoolSpec, Port, PortSpec, marker,
};
use serde_json::json;
use xxhash_rust::xxh3::xxh3_64;

use crate::power_loss::Cable;
use crate::tell::tell;

/// Spares to ask for: one per packet that one run keeps, and those in flight.
const SPARES: u32 = 4096;

/// Entries of the log; several records of all runs together.
const ENTRIES: u32 = 16384;

/// What is done wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Replies to a record when the next one has come, but before it was logged: one record late.
    AckEarly,
    /// Does not tell the kernel which buffers the log owns.
    NoReserve,
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text {
            "none" => Ok(Self::None),
            "ack_early" => Ok(Self::AckEarly),
            "no_reserve" => Ok(Self::NoReserve),
            _ => bail!("{text:?} is no fault"),
        }
    }
}

/// Recovers the log and tells what it holds.
pub(crate) fn recover(path: &str) -> anyhow::Result<()> {
    let pool = open(path)?;
    tell_records(&Log::open(&pool).context("recover the log")?)
}

/// Recovers, tells, and serves one client until it ends its stream.
pub(crate) fn serve(path: &str, port_number: u16, fault: Fault) -> anyhow::Result<()> {
    serve_with(path, port_number, fault, SPARES, || tell(&json!({ "listening": true })))
}

/// Likewise, with so many spares; tells by `listening` that a client can come.
pub(crate) fn serve_with(
    path: &str,
    port_number: u16,
    fault: Fault,
    spares: u32,
    listening: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let pool = open(path)?;
    let mut log = Log::open(&pool).context("recover the log")?;
    tell_records(&log)?;
    let mut spec = PortSpec::new("pst:0", log.buffers()).extra(spares);
    if fault == Fault::NoReserve {
        spec = spec.reserve(BufSet::empty());
    }
    let mut port = Port::open(KernelDevice::open()?, &spec).context("open the port")?;
    port.attach("eth0").context("attach the NIC")?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port_number)).context("listen")?;
    listening()?;
    let (socket, _) = listener.accept().context("accept")?;
    port.register(socket.as_fd()).context("register")?;
    tell(&json!({ "ready": true }))?;
    let mut client = Client { socket, parts: Vec::new(), replies: 0, late: Batch::new() };
    loop {
        port.poll(&[], None).context("wait for packets")?;
        if client.take(&mut port, &mut log, fault)? {
            return Ok(());
        }
    }
}

/// Two threads, each on a CPU of its own, append to one log what a third one receives, so many
/// records each, and tell of each when it is durable. Before that it tells which these are.
pub(crate) fn append_by_two(path: &str, records: usize) -> anyhow::Result<()> {
    let pool = open(path)?;
    let log = Log::open(&pool).context("recover the log")?;
    for writer in 0..WRITERS {
        for number in 0..records {
            let bytes = record_of(writer, number);
            tell(&json!({ "writer": writer, "len": bytes.len(), "hash": xxh3_64(&bytes) }))?;
        }
    }
    tell(&json!({ "ready": true }))?;
    let buffers = log.buffers().clone();
    let spares = u32::try_from(WRITERS * records).context("few records")?;
    let (log, mut cable) = (Mutex::new(log), Cable::new(&buffers, spares)?);
    std::thread::scope(|scope| {
        let (mut queues, mut writers) = (Vec::new(), Vec::new());
        for writer in 0..WRITERS {
            let (queue, packets) = sync_channel(1);
            queues.push(queue);
            let log = &log;
            writers.push(scope.spawn(move || append(writer, &packets, log)));
        }
        for number in 0..records {
            for (writer, queue) in queues.iter().enumerate() {
                let packet = cable.receive(&buffers, &record_of(writer, number), 66)?;
                queue.send(packet).context("hand a packet to a writer")?;
            }
        }
        drop(queues);
        let end = |writer: ScopedJoinHandle<'_, anyhow::Result<()>>| {
            writer.join().map_err(|_| anyhow!("a writer panics"))?
        };
        writers.into_iter().try_for_each(end)
    })
}

/// Threads that append, as many as the guest has CPUs.
const WRITERS: usize = 2;

fn append(writer: usize, packets: &Receiver<Packet>, log: &Mutex<Log>) -> anyhow::Result<()> {
    // A flush counts for its CPU only (M9), and nobody but the kernel knows when it moves a thread.
    let mut cpus = CpuSet::new();
    cpus.set(writer).context("choose a CPU")?;
    sched_setaffinity(Pid::from_raw(0), &cpus).context("stay on a CPU")?;
    for packet in packets {
        let mut batch = Batch::new();
        batch.record([packet]);
        let mut log = log.lock().map_err(|_| anyhow!("the other writer panicked"))?;
        log.append(batch).map_err(|rejected| rejected.error).context("append")?;
        tell(&json!({ "durable": writer }))?;
    }
    Ok(())
}

/// The bytes of a writer's record: no two are the same.
fn record_of(writer: usize, number: usize) -> Vec<u8> {
    let name = format!("record {number} of writer {writer}, ");
    name.as_bytes().iter().copied().cycle().take(40 + 37 * (number % 29)).collect()
}

/// The pool, made anew if there is none yet.
fn open(path: &str) -> anyhow::Result<Pool> {
    match Pool::open(path) {
        Err(Error::NoPool { .. }) => {
            let spec = PoolSpec::new(path).log_entries(ENTRIES);
            Pool::create(&spec).context("create the pool")
        }
        other => other.context("open the pool"),
    }
}

fn tell_records(log: &Log) -> anyhow::Result<()> {
    let mut count = 0;
    for record in log.records() {
        let places: Vec<_> = record
            .locations()
            .zip(record.parts())
            .map(|(at, part)| json!([at.0, part.len()]))
            .collect();
        let bytes = record.to_vec();
        tell(&json!({ "record": count, "len": bytes.len(), "hash": xxh3_64(&bytes),
            "places": places }))?;
        count += 1;
    }
    tell(&json!({ "recovered": count}))
}

/// One connection and the record that is on its way.
struct Client {
    socket: TcpStream,
    parts: Vec<Packet>,
    replies: u64,
    /// What `Fault::AckEarly` has acknowledged and not yet logged.
    late: Batch,
}

impl Client {
    /// Takes what the last sync brought; true when the client has ended its stream.
    fn take(&mut self, port: &mut Port, log: &mut Log, fault: Fault) -> anyhow::Result<bool> {
        let mut view = port.rx().context("look at the ring")?;
        while let Some(slot) = view.next().context("look at a slot")? {
            if slot.is_end_of_stream() {
                return Ok(true);
            }
            let spare = log.buffers().spare().context("take a spare buffer")?;
            self.parts.push(slot.keep(spare));
            if self.is_whole()? {
                self.store(log, fault)?;
            }
        }
        Ok(false)
    }

    fn is_whole(&self) -> anyhow::Result<bool> {
        let first = self.parts.first().context("a record has a part")?;
        let head = first.bytes().get(..4).context("find a record's length")?;
        let wanted = u32::from_le_bytes(head.try_into().context("read a record's length")?);
        let have: usize = self.parts.iter().map(|part| part.bytes().len()).sum();
        Ok(u32::try_from(have).is_ok_and(|have| have >= wanted))
    }

    /// Logs the record, then replies; a fault turns that round.
    fn store(&mut self, log: &mut Log, fault: Fault) -> anyhow::Result<()> {
        let mut batch = Batch::new();
        batch.record(self.parts.drain(..));
        if fault == Fault::AckEarly {
            std::mem::swap(&mut batch, &mut self.late);
        }
        if !batch.is_empty() {
            log.append(batch).map_err(|rejected| rejected.error).context("append")?;
        }
        self.replies += 1;
        marker::checkpoint(self.replies);
        self.socket.write_all(&self.replies.to_le_bytes()).context("reply")
    }
}
