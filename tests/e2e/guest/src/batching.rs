//! Batching: an echo of many connections at once, with every system call counted by the kernel.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use nix::mount::{MsFlags, mount};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use paste_net::{KernelDevice, Log, Pool, PoolSpec, Port, PortSpec};
use serde_json::json;

use crate::tell::{tell, wait_for_host};
use crate::zero_copy::accept;

/// The kernel's tracing files.
const TRACING: &str = "/sys/kernel/tracing";

/// Length of a message in bytes.
const MESSAGE: usize = 64;

/// Spares for the packets that are sent back.
const SPARES: u32 = 512;

/// The kernel's count of this program's system calls, off until wanted.
struct Counter {
    switch: File,
}

impl Counter {
    fn new() -> anyhow::Result<Self> {
        if !Path::new(TRACING).join("trace").exists() {
            mount(Some("tracefs"), TRACING, Some("tracefs"), MsFlags::empty(), None::<&str>)
                .context("mount tracefs")?;
        }
        write("tracing_on", "0")?;
        write("trace", "")?;
        let event = "events/raw_syscalls/sys_enter";
        write(&format!("{event}/filter"), &format!("common_pid == {}", std::process::id()))?;
        write(&format!("{event}/enable"), "1")?;
        let switch = OpenOptions::new().write(true).open(file("tracing_on"));
        Ok(Self { switch: switch.context("open the switch")? })
    }

    /// Runs `act`; the numbers of the system calls that it made.
    fn count(&mut self, act: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Vec<u64>> {
        self.switch.write_all(b"1").context("switch on")?;
        act()?;
        self.switch.write_all(b"0").context("switch off")?;
        let trace = std::fs::read_to_string(file("trace")).context("read the trace")?;
        write("events/raw_syscalls/sys_enter/enable", "0")?;
        let lines = trace.lines().filter_map(|line| line.split_once("sys_enter: NR "));
        let number = |(_, rest): (&str, &str)| rest.split(' ').next()?.parse().ok();
        let mut calls: Vec<u64> = lines.filter_map(number).collect();
        // The last one switched off.
        calls.pop().context("the kernel counts nothing")?;
        Ok(calls)
    }
}

fn file(name: &str) -> PathBuf {
    Path::new(TRACING).join(name)
}

fn write(name: &str, text: &str) -> anyhow::Result<()> {
    std::fs::write(file(name), text).with_context(|| format!("write {name}"))
}

/// Echoes one message on each connection with one receive call and one send call.
pub(crate) fn slots(path: &str, port_number: u16, connections: usize) -> anyhow::Result<()> {
    let pool = Pool::create(&PoolSpec::new(path).overwrite(true)).context("create the pool")?;
    let log = Log::open(&pool).context("open the log")?;
    let spec = PortSpec::new("pst:0", log.buffers()).extra(SPARES);
    let mut port = Port::open(KernelDevice::open()?, &spec).context("open the port")?;
    port.attach("eth0").context("attach the NIC")?;
    let _sockets = accept(&mut port, port_number, connections)?;
    let mut counter = Counter::new()?;
    wait_for_host()?;
    let mut echoed = 0;
    let calls = counter.count(|| {
        port.rxsync().context("receive")?;
        let (mut rx, mut tx) = port.both().context("look at the rings")?;
        while let Some(slot) = rx.next().context("look at a slot")? {
            ensure!(slot.payload().len() == MESSAGE, "a message of another length");
            let (conn, spare) = (slot.fd(), log.buffers().spare().context("take a spare")?);
            tx.send(conn, slot.keep(spare)).context("fill a slot")?;
            echoed += 1;
        }
        drop((rx, tx));
        port.txsync().context("send")
    })?;
    tell(&json!({ "echoed": echoed, "calls": calls }))?;
    wait_for_host()
}

/// The same through sockets and epoll, with as few calls as these need.
pub(crate) fn epoll(port_number: u16, connections: usize) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port_number)).context("listen")?;
    tell(&json!({ "listening": true }))?;
    let epoll = Epoll::new(EpollCreateFlags::empty()).context("create an epoll descriptor")?;
    let mut sockets: Vec<TcpStream> = Vec::new();
    for number in 0..connections {
        let (socket, _) = listener.accept().context("accept")?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
        epoll.add(&socket, event).context("add a socket")?;
        sockets.push(socket);
    }
    tell(&json!({ "ready": sockets.len() }))?;
    let mut counter = Counter::new()?;
    wait_for_host()?;
    let (mut events, mut echoed) = (vec![EpollEvent::empty(); connections], 0);
    let calls = counter.count(|| {
        let found = epoll.wait(&mut events, EpollTimeout::NONE).context("wait")?;
        for event in &events[..found] {
            let number = usize::try_from(event.data()).context("read a number")?;
            let mut bytes = [0; 2048];
            let len = sockets[number].read(&mut bytes).context("receive")?;
            ensure!(len == MESSAGE, "a message of another length");
            sockets[number].write_all(&bytes[..len]).context("send")?;
            echoed += 1;
        }
        Ok(())
    })?;
    let first = sockets.first().map(AsRawFd::as_raw_fd);
    tell(&json!({ "echoed": echoed, "calls": calls, "first": first }))?;
    wait_for_host()
}
