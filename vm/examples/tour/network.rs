//! Network: a guest on our own vhost-user NIC, with an NVDIMM beside its memory.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use vm::nvdimm::Mode;
use vm::vnet::{Config, HostAddress, Vnet};
use vm::{Command, Event, Mac, Nic};

use super::{Outcome, Tour, sh};

const GUEST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

pub(crate) fn tour(tour: &Tour) -> Outcome {
    let socket = tour.dir.join("nic.sock");
    let host =
        HostAddress { ip: Ipv4Addr::new(10, 9, 0, 1), prefix_len: 24, mac: [2, 0, 0, 0, 0, 1] };
    let net = Vnet::start(Config::new(&socket, host))?;
    let nic = Nic::VhostUser { socket, mac: Mac::local(1) };
    let nvdimm = tour.nvdimm("network.nv", Mode::Devdax)?;
    let guest = tour.spec("network").nic(nic).nvdimm(nvdimm).boot()?;
    sh(&guest, "ip link set eth0 up && ip addr add 10.9.0.2/24 dev eth0")?;
    let minute = Duration::from_mins(1);
    net.wait_link(minute)?;
    for region in net.regions() {
        println!("  {region:?}");
    }
    assert!(net.regions().len() >= 2, "memory and NVDIMM are shared with the backend");
    println!("  ping takes {:?}", net.host().ping(GUEST, minute)?);

    // bash is the only TCP client of the image; the host listens.
    let listener = net.host().listen(7000)?;
    let script = "exec 3<>/dev/tcp/10.9.0.1/7000; echo hello >&3; cat <&3";
    let client = guest.spawn(&Command::new("bash").arg("-c").arg(script))?;
    let tcp = listener.accept(minute)?;
    let mut hello = [0; 6];
    tcp.recv_exact(&mut hello, minute)?;
    assert_eq!(&hello, b"hello\n");
    tcp.send_all(b"needle in a haystack", minute)?;
    assert_eq!(
        client.recv(Instant::now() + minute)?,
        Event::Stdout(b"needle in a haystack".into())
    );
    guest.pause()?;
    println!("  the needle lies at {} places", net.census(b"needle in a haystack")?.len());
    guest.resume()?;
    let off = guest.power_fail();
    let guest = off.boot()?;
    sh(&guest, "ip link set eth0 up && ip addr add 10.9.0.2/24 dev eth0")?;
    net.wait_link(minute)?;
    println!("  after a power loss ping takes {:?}", net.host().ping(GUEST, minute)?);
    Ok(())
}
