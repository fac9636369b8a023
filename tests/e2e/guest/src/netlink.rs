//! Netlink: network interfaces, in a guest without a tool for them.

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, bail, ensure};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

// Types and flags of messages, and of attributes: linux/rtnetlink.h, if_link.h, if_addr.h.
const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const IS_ERROR: u16 = 2;
const REQUEST_AND_ACK: u16 = 1 | 4;
const CREATE: u16 = 0x400;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const UP: u32 = 1;
const INET: u8 = 2;

/// The interfaces of one network namespace: that of the thread that opens it.
#[derive(Debug)]
pub(crate) struct Netlink(OwnedFd);

/// The number of an interface, which it keeps on its way to another namespace.
pub(crate) fn index(name: &str) -> anyhow::Result<u32> {
    let path = format!("/sys/class/net/{name}/ifindex");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    text.trim().parse().with_context(|| format!("read {path}: {text:?}"))
}

impl Netlink {
    pub(crate) fn open() -> anyhow::Result<Self> {
        let (family, kind) = (AddressFamily::Netlink, SockType::Raw);
        let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute);
        Ok(Self(socket.context("open a netlink socket")?))
    }

    /// Gives an interface an address and switches it on.
    pub(crate) fn address(&self, index: u32, ip: Ipv4Addr, prefix: u8) -> anyhow::Result<()> {
        let head = [&[INET, prefix, 0, 0], &index.to_ne_bytes()[..]].concat();
        let ip = ip.octets();
        let parts = [head, attribute(IFA_LOCAL, ip), attribute(IFA_ADDRESS, ip)];
        self.ask(NEW_ADDRESS, CREATE, &parts.concat()).context("set an address")?;
        self.ask(NEW_LINK, 0, &link(index, UP)).context("switch an interface on")
    }

    /// Moves an interface to the namespace that this file stands for.
    pub(crate) fn send_to(&self, index: u32, namespace: &impl AsRawFd) -> anyhow::Result<()> {
        let namespace = namespace.as_raw_fd().to_ne_bytes();
        let parts = [link(index, 0), attribute(IFLA_NET_NS_FD, namespace)];
        self.ask(NEW_LINK, 0, &parts.concat()).context("move an interface")
    }

    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> anyhow::Result<()> {
        let len = u32::try_from(16 + body.len()).context("a short message")?;
        let mut message = len.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend((REQUEST_AND_ACK | flags).to_ne_bytes());
        // No sequence number, no port: each request is answered before the next.
        message.extend([0; 8]);
        message.extend(body);
        let socket = self.0.as_raw_fd();
        send(socket, &message, MsgFlags::empty()).context("send")?;
        let mut answer = [0; 4096];
        let len = recv(socket, &mut answer, MsgFlags::empty()).context("receive")?;
        ensure!(len >= 20 && answer[4..6] == IS_ERROR.to_ne_bytes(), "an answer of {len} bytes");
        let error = i32::from_ne_bytes(answer[16..20].try_into().context("read the answer")?);
        if error != 0 {
            bail!(std::io::Error::from_raw_os_error(-error));
        }
        Ok(())
    }
}

/// A `struct ifinfomsg` that sets these flags.
fn link(index: u32, flags: u32) -> Vec<u8> {
    let numbers = [0, index, flags, flags];
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

/// A `struct rtattr` with its value of 4 bytes.
fn attribute(kind: u16, value: [u8; 4]) -> Vec<u8> {
    [&8_u16.to_ne_bytes()[..], &kind.to_ne_bytes(), &value].concat()
}
