//! Event loop, tested: how it ends.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::*;
use crate::HostAddress;
use crate::connection::{Accepting, Connection, Echo, End, Phase};
use crate::mailbox::Order;
use crate::port::wire::Wire;

/// A loop that has not run yet, and its mailbox. Nothing connects to its socket in `dir`.
fn event_loop(dir: &std::path::Path) -> (EventLoop, Arc<Mailbox>) {
    let (tally, mailbox) = (Arc::default(), Arc::new(Mailbox::new().unwrap()));
    let host = HostAddress { ip: Ipv4Addr::new(10, 0, 0, 1), prefix_len: 24, mac: [2; 6] };
    let parts = Parts {
        listener: UnixListener::bind(dir.join("socket")).unwrap(),
        mailbox: Arc::clone(&mailbox),
        host: HostPort::new(&host, None, Wire::new(None, &tally)),
        frame_log: FrameLog::new(1),
        journal: None,
        trap: Trap::default(),
        tally,
        link: SharedLink::default(),
    };
    (EventLoop::new(parts).unwrap(), mailbox)
}

/// Whoever posted an order just before the end must not wait for its answer until a timeout.
#[test]
fn orders_that_the_loop_never_took_are_answered_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let (event_loop, mailbox) = event_loop(dir.path());
    let guest = Ipv4Addr::new(10, 0, 0, 2);
    let connection = Arc::new(Connection::new(SocketAddrV4::new(guest, 80)));
    let (accepting, echo) = (Arc::new(Accepting::default()), Arc::new(Echo::default()));
    mailbox.post(Order::Ping(guest, Arc::clone(&echo))).unwrap();
    mailbox.post(Order::Connect(Arc::clone(&connection))).unwrap();
    mailbox.post(Order::Listen(80, Arc::clone(&accepting))).unwrap();
    drop(event_loop);
    assert!(lock(&echo.state).gone);
    assert!(matches!(connection.state().phase, Phase::Ended(End::Gone)));
    assert!(matches!(lock(&accepting.waiting).failed, Some(End::Gone)));
    assert!(mailbox.post(Order::Ping(guest, echo)).is_err());
}
