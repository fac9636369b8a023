//! Address: who is who on the network between the host and a guest.

use std::net::Ipv4Addr;

use vm::Mac;
use vm::vnet::HostAddress;

/// The host's address.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The guest's address.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// An address that nobody has.
pub const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 99);
/// The length of the network's prefix in bits.
const PREFIX_LEN: u8 = 24;

/// The host's end of the cable.
pub fn host_end() -> HostAddress {
    HostAddress { ip: HOST, prefix_len: PREFIX_LEN, mac: Mac::local(1).bytes() }
}

/// The Ethernet address of the guest's NIC.
pub fn guest_mac() -> Mac {
    Mac::local(2)
}

/// The shell script that gives a guest its address on `eth0` and a route to everywhere else.
pub fn script() -> String {
    format!(
        "ip addr add {GUEST}/{PREFIX_LEN} dev eth0; ip link set eth0 up; \
         ip route add default via {HOST}"
    )
}
