//! Closed: the persistence server with its client in the same guest, which nobody else reaches.
//!
//! The guest has two NICs on one hub. The first is taken over by the module and belongs to the
//! server; the second goes to a network namespace of its own, with the client, so that packets
//! between the two take the wire.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::{Context, ensure};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::sched::{CloneFlags, unshare};
use paste_net::marker;

use crate::netlink::{Netlink, index};
use crate::persistence::{Fault, serve_with};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);
const PREFIX: u8 = 24;
const PORT: u16 = 9000;

/// Spares to ask for: the kernel writes into each one.
const SPARES: u32 = 64;

/// Serves the messages in the file `records` to a log in `pool`, behind `module`, which is loaded.
/// The markers ARM and DISARM stand round the connection.
pub(crate) fn play(pool: &str, module: &str, records: &str) -> anyhow::Result<()> {
    let records = fs::read(records).with_context(|| format!("read {records}"))?;
    let (outer, inner) = (index("eth0")?, index("eth1")?);
    let (tell_namespace, namespace) = channel();
    let (begin, begins) = channel();
    let client = thread::spawn(move || client(&records, inner, &tell_namespace, &begins));
    let Ok(namespace) = namespace.recv() else { return end(client) };
    let netlink = Netlink::open()?;
    netlink.send_to(inner, &namespace)?;
    netlink.address(outer, SERVER, PREFIX)?;
    let file = File::open(module).with_context(|| format!("open {module}"))?;
    finit_module(&file, c"nics=eth0", ModuleInitFlags::empty()).context("load the module")?;
    serve_with(pool, PORT, Fault::None, SPARES, || {
        marker::arm();
        // A client that is gone tells why itself.
        let _ = begin.send(());
        Ok(())
    })?;
    marker::disarm();
    end(client)
}

fn end(client: thread::JoinHandle<anyhow::Result<()>>) -> anyhow::Result<()> {
    client.join().ok().context("a client that does not panic")?.context("play the client")
}

/// Sends each message after the reply to the last.
fn client(
    records: &[u8],
    interface: u32,
    namespace: &Sender<File>,
    begins: &Receiver<()>,
) -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
    let mine = File::open("/proc/thread-self/ns/net").context("open the namespace")?;
    namespace.send(mine).context("tell of the namespace")?;
    begins.recv().context("wait for the server")?;
    Netlink::open()?.address(interface, CLIENT, PREFIX)?;
    let mut server = TcpStream::connect((SERVER, PORT)).context("connect")?;
    let (mut rest, mut sent) = (records, 0_u64);
    while let Some((head, _)) = rest.split_first_chunk::<4>() {
        let len = usize::try_from(u32::from_le_bytes(*head)).context("a short message")?;
        let (message, behind) = rest.split_at_checked(len).context("find a message's end")?;
        rest = behind;
        sent += 1;
        server.write_all(message).with_context(|| format!("send message {sent}"))?;
        let mut reply = [0; 8];
        server.read_exact(&mut reply).with_context(|| format!("wait for reply {sent}"))?;
        ensure!(u64::from_le_bytes(reply) == sent, "reply {reply:?} to message {sent}");
    }
    Ok(())
}
