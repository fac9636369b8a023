//! Served: a guest whose network runs in a thread of its own while a test uses the host's end.

use std::sync::atomic::{AtomicBool, Ordering};

use smoltcp::iface::SocketSet;
use smoltcp::socket::{Socket, tcp};
use vnet::Host;

use super::nic::{Nic, echo};
use super::ring::Layout;
use super::{EVENT_IDX, Guest, Net, SOON, VERSION_1};

/// What a driver of today wants.
pub const FEATURES: u64 = VERSION_1 | EVENT_IDX;

/// The port of a guest that echoes.
pub const ECHO: u16 = 7;

/// Ends the guest's thread, also when the test panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a guest's network while `test` works: `prepare` opens its sockets, `serve` looks at them
/// again and again.
pub fn with_guest<T>(
    net: &Net,
    features: u64,
    prepare: impl FnOnce(&mut Nic) + Send,
    mut serve: impl FnMut(&mut SocketSet<'static>) + Send,
    test: impl FnOnce(Host) -> T,
) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut nic = Nic::new(Guest::boot(&net.socket(), features, Layout::Split));
        prepare(&mut nic);
        let over = &over;
        scope.spawn(move || {
            nic.run(|sockets| {
                serve(sockets);
                over.load(Ordering::Relaxed)
            });
        });
        let _stop = Stop(over);
        net.vnet.wait_link(SOON).unwrap();
        test(net.vnet.host())
    })
}

/// The same with a guest that takes one connection on `port` and does `act` on it.
pub fn with_server<T>(
    net: &Net,
    port: u16,
    mut act: impl FnMut(&mut tcp::Socket<'static>) + Send,
    test: impl FnOnce(Host) -> T,
) -> T {
    let serve = |sockets: &mut SocketSet<'static>| {
        for (_, socket) in sockets.iter_mut() {
            let Socket::Tcp(socket) = socket else { continue };
            act(socket);
        }
    };
    with_guest(net, FEATURES, |nic| nic.listen(port, 1), serve, test)
}

/// The same with a guest that echoes on so many connections.
pub fn with_echo<T>(features: u64, connections: usize, test: impl FnOnce(Host) -> T) -> T {
    with_guest(&Net::start(), features, |nic| nic.listen(ECHO, connections), echo, test)
}
