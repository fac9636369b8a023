//! Serve: a network for a QEMU started by hand.
//!
//! `cargo run -p vnet --example serve -- SOCKET GUEST_IP` listens on SOCKET as 10.0.7.1/24. Once
//! the link is up it pings the guest, then measures TCP both ways against two programs in the
//! guest: port 5001 discards what it gets, port 5002 sends zeros for ever. It listens on 5003 for
//! the guest and echoes. When QEMU ends it waits for the next one. End it with Ctrl-C.
//!
//! ```text
//! qemu-system-x86_64 -object memory-backend-memfd,id=ram,share=on,size=256M
//!     -machine memory-backend=ram -chardev socket,id=c,path=SOCKET
//!     -netdev vhost-user,id=n,chardev=c -device virtio-net-pci,netdev=n ...
//! ```

use std::collections::HashSet;
use std::convert::Infallible;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use vnet::{Config, Direction, Filter, Host, HostAddress, Vnet};

const BULK: usize = 64 << 20;
const WITHIN: Duration = Duration::from_mins(1);

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let socket = args.next().ok_or("the first argument is the socket's path")?;
    let guest: Ipv4Addr = args.next().ok_or("the second argument is the guest's IP")?.parse()?;
    let ip = Ipv4Addr::new(10, 0, 7, 1);
    let host = HostAddress { ip, prefix_len: 24, mac: [2, 0, 0, 0, 7, 1] };
    let vnet = Vnet::start(Config::new(socket, host))?;
    loop {
        vnet.wait_link(Duration::from_hours(1))?;
        println!("link up, memory: {:#x?}", vnet.regions());
        match measure(&vnet, guest).and_then(|()| echo(&vnet)) {
            Err(e) => println!("{e}"),
            Ok(never) => match never {},
        }
        vnet.frame_log().clear();
    }
}

fn measure(vnet: &Vnet, guest: Ipv4Addr) -> vnet::Result<()> {
    let host = vnet.host();
    for _ in 0..5 {
        println!("ping {:?}", host.ping(guest, WITHIN)?);
    }
    // The programs in the guest may start later than its network.
    while let Err(vnet::Error::Refused(_)) = host.connect(SocketAddrV4::new(guest, 5002), WITHIN) {
        std::thread::sleep(Duration::from_millis(200));
    }
    to_guest(&host, SocketAddrV4::new(guest, 5001))?;
    println!("{} segments were sent again", sent_again(vnet));
    from_guest(&host, SocketAddrV4::new(guest, 5002))?;
    count_copies(vnet, SocketAddrV4::new(guest, 5001))?;
    println!("{:#?}", vnet.counters());
    idle(vnet);
    Ok(())
}

/// Sends a message and finds it in guest memory.
fn count_copies(vnet: &Vnet, server: SocketAddrV4) -> vnet::Result<()> {
    let message = format!("a needle, the {:?}th", Instant::now());
    let tcp = vnet.host().connect(server, WITHIN)?;
    tcp.send_all(message.as_bytes(), WITHIN)?;
    tcp.wait_acked(WITHIN)?;
    let filter = Filter::new().payload_hash(vnet::hash(message.as_bytes()));
    println!("written to {:#x?}", vnet.frame_log().wait(&filter, WITHIN)?.payload);
    let start = Instant::now();
    let found = vnet.census(message.as_bytes())?;
    println!("found in {:?} at {found:#x?}", start.elapsed());
    Ok(())
}

fn to_guest(host: &Host, server: SocketAddrV4) -> vnet::Result<()> {
    let tcp = host.connect(server, WITHIN)?;
    let start = Instant::now();
    tcp.send_all(&vec![0x5a; BULK], WITHIN)?;
    tcp.wait_acked(WITHIN)?;
    report("to guest", BULK, start);
    Ok(())
}

/// How many segments to the guest began where an earlier one did.
fn sent_again(vnet: &Vnet) -> usize {
    let filter = Filter::new().direction(Direction::ToGuest).payload_only();
    let frames = vnet.frame_log().frames(&filter);
    let distinct: HashSet<_> = frames.iter().map(|frame| (frame.flow, frame.tcp_seq)).collect();
    frames.len() - distinct.len()
}

fn from_guest(host: &Host, server: SocketAddrV4) -> vnet::Result<()> {
    let tcp = host.connect(server, WITHIN)?;
    let mut buf = vec![0; 256 << 10];
    let (start, mut got) = (Instant::now(), 0);
    while got < BULK {
        match tcp.recv(&mut buf, WITHIN)? {
            0 => break,
            len => got += len,
        }
    }
    report("from guest", got, start);
    Ok(())
}

fn report(what: &str, bytes: usize, start: Instant) {
    let micros = start.elapsed().as_micros();
    println!("{what}: {} MB/s", bytes as u128 / micros);
}

/// Prints what the process uses while nothing happens.
fn idle(vnet: &Vnet) {
    for _ in 0..3 {
        let ticks = || {
            let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
            let fields: Vec<_> = stat.split(' ').map(str::to_owned).collect();
            [13, 14].map(|field| fields.get(field).cloned().unwrap_or_default()).join("+")
        };
        let (before, wakeups) = (ticks(), vnet.counters().wakeups);
        std::thread::sleep(Duration::from_secs(10));
        let woken = vnet.counters().wakeups - wakeups;
        println!("10 s idle: ticks {before} -> {}, {woken} wake-ups", ticks());
    }
}

fn echo(vnet: &Vnet) -> vnet::Result<Infallible> {
    let listener = vnet.host().listen(5003)?;
    loop {
        let tcp = match listener.accept(Duration::from_secs(1)) {
            Err(vnet::Error::Timeout(_)) if vnet.is_up() => continue,
            Err(vnet::Error::Timeout(_)) => return Err(vnet::Error::LinkLost),
            accepted => accepted?,
        };
        println!("connection from {}", tcp.peer());
        let mut buf = vec![0; 64 << 10];
        loop {
            let len = tcp.recv(&mut buf, WITHIN)?;
            if len == 0 {
                break;
            }
            tcp.send_all(&buf[..len], WITHIN)?;
        }
    }
}
