//! Forward: a TCP port of this machine whose connections go on to a port of the guest.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use vm::vnet::{Error, Host, Tcp};

/// More connections at a time are closed at once.
const MOST: usize = 64;

/// How long the guest may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often an idle direction wakes up; a guest that reads nothing for so long loses its peer.
const IDLE: Duration = Duration::from_hours(1);

/// Which port leads to which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    /// On this machine, on 127.0.0.1; 0: any that is free.
    pub(crate) host: u16,
    pub(crate) guest: u16,
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| text.parse::<u16>().ok();
        let ports = text.split_once(':').map(|(host, guest)| (port(host), port(guest)));
        match ports {
            Some((Some(host), Some(guest))) if guest != 0 => Ok(Self { host, guest }),
            _ => Err("two port numbers, HOST:GUEST".to_owned()),
        }
    }
}

/// Begins to accept connections; they are served until this process ends. Gives back the port.
///
/// # Errors
/// The port is in use.
pub(crate) fn start(ports: Ports, host: Host, guest: Ipv4Addr) -> anyhow::Result<u16> {
    let place = (Ipv4Addr::LOCALHOST, ports.host);
    let listener = TcpListener::bind(place).with_context(|| format!("listen on {}", ports.host))?;
    let port = listener.local_addr().context("look at a socket")?.port();
    let to = SocketAddrV4::new(guest, ports.guest);
    let open = Arc::new(AtomicUsize::new(0));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if open.fetch_add(1, Ordering::SeqCst) >= MOST {
                // Dropping the stream closes it.
                open.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            let (host, open) = (host.clone(), Arc::clone(&open));
            std::thread::spawn(move || {
                serve(&stream, &host, to);
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    Ok(port)
}

/// Carries one connection to its end; what goes wrong on one side closes the other one.
fn serve(stream: &TcpStream, host: &Host, to: SocketAddrV4) {
    let (Ok(tcp), Ok(copy)) = (host.connect(to, PATIENCE), stream.try_clone()) else { return };
    let tcp = Arc::new(tcp);
    let sender = Arc::clone(&tcp);
    let upstream = std::thread::spawn(move || send(copy, &sender));
    receive(stream, &tcp);
    // A thread that panicked has said so itself.
    let _ = upstream.join();
}

fn send(mut stream: TcpStream, tcp: &Tcp) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(len) = stream.read(&mut bytes) {
        if len == 0 {
            return tcp.shut_write();
        }
        if tcp.send_all(&bytes[..len], IDLE).is_err() {
            break;
        }
    }
    // The other direction ends, too. Closed already is as good.
    let _ = stream.shutdown(Shutdown::Both);
    tcp.shut_write();
}

fn receive(mut stream: &TcpStream, tcp: &Tcp) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        match tcp.recv(&mut bytes, IDLE) {
            // The peer may still have something to say.
            Ok(0) => return drop(stream.shutdown(Shutdown::Write)),
            Ok(len) if stream.write_all(&bytes[..len]).is_ok() => {}
            Err(Error::Timeout(_)) => {}
            Ok(_) | Err(_) => return drop(stream.shutdown(Shutdown::Both)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_numbers_are_ports() {
        assert_eq!("8080:80".parse(), Ok(Ports { host: 8080, guest: 80 }));
        assert_eq!("0:80".parse(), Ok(Ports { host: 0, guest: 80 }));
        for text in ["80", "80:", ":80", "80:0", "65536:1", "a:b", "1:2:3"] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
    }
}
