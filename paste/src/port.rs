//! Port: a device bound to the buffers of a pool, and the views of what it received and sends.
//!
//! ```text
//!   poll / rxsync -> rx() -> next() -> Slot: read in place, or swap a spare in and keep it
//!        ^                                                     |
//!        +---------------- head, published by the view's drop -+
//!
//!   tx() -> send(conn, packet), send_stored(conn, part) -> drop publishes head -> txsync / poll
//! ```

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use crate::{
    buf::{Bound, BufIndex, BufSet, Buffers},
    device::{Copies, Device, Granted, Ready, Wanted},
    error::{Error, Result},
    ring::{PortRings, Ring},
    slot::{ConnFd, Content, Slot},
    tx::{TxRing, TxView},
};

/// Description of a port before it exists.
#[derive(Debug, Clone)]
pub struct PortSpec {
    name: String,
    buffers: Buffers,
    slots: u32,
    tx_slots: u32,
    extra: u32,
    events: bool,
    reserve: Option<BufSet>,
}

impl PortSpec {
    /// A port `name` (e.g. `pst:0`) over `buffers`, with no extra buffers.
    pub fn new(name: impl Into<String>, buffers: &Buffers) -> Self {
        let buffers = buffers.clone();
        let (slots, tx_slots, extra) = (0, 0, 0);
        Self { name: name.into(), buffers, slots, tx_slots, extra, events: false, reserve: None }
    }

    /// Slots of an RX ring; 0 (the default): as the kernel likes.
    #[must_use]
    pub fn slots(self, slots: u32) -> Self {
        Self { slots, ..self }
    }

    /// Slots of a TX ring; 0 (the default): as the kernel likes.
    #[must_use]
    pub fn tx_slots(self, tx_slots: u32) -> Self {
        Self { tx_slots, ..self }
    }

    /// Resets and failed sends are told as [`Event`](crate::Event)s, too, not ends of streams
    /// alone.
    #[must_use]
    pub fn events(self) -> Self {
        Self { events: true, ..self }
    }

    /// Extra buffers to ask for: the spares with which packets are kept. Fewer may be granted.
    #[must_use]
    pub fn extra(self, extra: u32) -> Self {
        Self { extra, ..self }
    }

    /// The buffers that the kernel must not lend, instead of all that are held now. Anything
    /// less lets the kernel overwrite what the log owns; tests do that on purpose.
    #[must_use]
    pub fn reserve(self, reserve: BufSet) -> Self {
        Self { reserve: Some(reserve), ..self }
    }
}

/// A bound port. Dropped: the kernel takes NIC, sockets and buffers back.
#[derive(Debug)]
pub struct Port {
    // Dropped in this order: the device first, then the hold on the buffers.
    device: Box<dyn Device>,
    rx: Vec<Ring>,
    tx: Vec<TxRing>,
    extra: u32,
    /// Bytes that `TxView` copied.
    copied: u64,
    buffers: Buffers,
    _bound: Bound,
}

impl Port {
    /// Binds `device` as `spec` says and takes the extra buffers as spares.
    ///
    /// # Errors
    /// `Busy` if a port is already open on the pool, `Version`, `Refused`, or `Ring` if the
    /// granted memory contradicts the protocol.
    pub fn open(mut device: impl Device + 'static, spec: &PortSpec) -> Result<Self> {
        let buffers = spec.buffers.clone();
        let bound = buffers.bind_port()?;
        let held = spec.reserve.clone().unwrap_or_else(|| buffers.held());
        let granted = device.register(&Wanted {
            name: &spec.name,
            area: buffers.area(),
            slots: spec.slots,
            tx_slots: spec.tx_slots,
            events: spec.events,
            extra: spec.extra,
            reserve: held.words(),
        })?;
        let size = buffers.area().size();
        let rings = PortRings::read(&granted.rings, granted.netmap_if, size)?;
        take_extra(&buffers, &granted, rings.extra_head)?;
        let (device, extra) = (Box::new(device), granted.extra);
        let tx = rings.tx.into_iter().map(TxRing::new).collect();
        Ok(Self { device, rx: rings.rx, tx, extra, copied: 0, buffers, _bound: bound })
    }

    /// Ties the NIC `nic` to the port: what it receives for registered sockets comes here.
    ///
    /// # Errors
    /// `Refused` with the errno.
    pub fn attach(&mut self, nic: &str) -> Result<()> {
        self.device.attach(nic)
    }

    /// Unties the NIC `nic`.
    ///
    /// # Errors
    /// `Refused` with the errno.
    pub fn detach(&mut self, nic: &str) -> Result<()> {
        self.device.detach(nic)
    }

    /// From now on the payload of the connected TCP `socket` appears in slots. What was received
    /// before, too. The registration ends with `unregister`, or when the socket is closed; over
    /// ordinary sockets only `unregister` ends it.
    ///
    /// # Errors
    /// `Refused` with the errno.
    pub fn register(&mut self, socket: BorrowedFd<'_>) -> Result<ConnFd> {
        self.device.register_socket(socket)?;
        Ok(ConnFd::of(socket))
    }

    /// The `socket` is an ordinary one again; slots that came for it before are still to be read.
    /// What TX slots still hold for it comes back unsent ([`TxView::unsent`] tells).
    ///
    /// # Errors
    /// `Refused` with the errno: EBUSY as long as the socket has to send something that was taken
    /// from TX slots, or has received something that is in no slot.
    pub fn unregister(&mut self, socket: BorrowedFd<'_>) -> Result<()> {
        self.device.unregister_socket(socket)
    }

    /// Closes the registered `socket`, of which this is the last descriptor. All that was taken
    /// from TX slots is sent before its stream ends, however long that takes, and without another
    /// call over the kernel; what TX slots still hold for it comes back unsent
    /// ([`TxView::unsent`] tells).
    ///
    /// # Errors
    /// `Refused` with the errno; it is closed all the same.
    pub fn close(&mut self, socket: impl Into<OwnedFd>) -> Result<()> {
        self.device.close_socket(socket.into())
    }

    /// Exchanges the state of RX rings with the kernel, without waiting.
    ///
    /// # Errors
    /// `Ring`, `Io` or `Refused` if the kernel found our half of the protocol broken.
    pub fn rxsync(&mut self) -> Result<()> {
        self.device.rxsync()
    }

    /// Sends what was put into TX slots, as much as the sockets take now; the rest goes when they
    /// take it, without another call.
    ///
    /// # Errors
    /// As `rxsync`.
    pub fn txsync(&mut self) -> Result<()> {
        self.device.txsync()
    }

    /// Waits for slots, for one of `others` (a listening socket, a signal descriptor) or for the
    /// timeout; `None` waits for ever. Sends what is in TX slots.
    ///
    /// # Errors
    /// As `rxsync`.
    pub fn poll(&mut self, others: &[BorrowedFd<'_>], timeout: Option<Duration>) -> Result<Ready> {
        self.device.poll(others, false, timeout)
    }

    /// As `poll`, but a free TX slot ends the wait, too: for programs that have more to send.
    ///
    /// # Errors
    /// As `rxsync`.
    pub fn poll_both(
        &mut self,
        others: &[BorrowedFd<'_>],
        timeout: Option<Duration>,
    ) -> Result<Ready> {
        self.device.poll(others, true, timeout)
    }

    /// What the last sync brought.
    ///
    /// # Errors
    /// `Ring` if head or tail are no slots.
    pub fn rx(&mut self) -> Result<RxView<'_>> {
        Ok(self.both()?.0)
    }

    /// The free TX slots.
    ///
    /// # Errors
    /// As `rx`.
    pub fn tx(&mut self) -> Result<TxView<'_>> {
        Ok(self.both()?.1)
    }

    /// Both views at once: what came in can be sent on while looking at it.
    ///
    /// # Errors
    /// As `rx`.
    pub fn both(&mut self) -> Result<(RxView<'_>, TxView<'_>)> {
        self.rx.iter_mut().try_for_each(Ring::refresh)?;
        self.tx.iter_mut().try_for_each(|tx| tx.ring().refresh())?;
        let Self { rx, tx, copied, buffers, .. } = self;
        Ok((RxView { rings: rx, buffers }, TxView { rings: tx, buffers, copied }))
    }

    /// What the port's device is, in words for people.
    pub fn describe(&self) -> String {
        self.device.describe()
    }

    /// Bytes of payload that this process copied for the port. What the kernel copied, and why,
    /// its counters say.
    pub fn copies(&self) -> Copies {
        let copies = self.device.copies();
        Copies { sent: copies.sent + self.copied, shared: self.buffers.area().copied(), ..copies }
    }

    /// Extra buffers that were granted.
    pub fn extra_bufs(&self) -> u32 {
        self.extra
    }

    /// Slots of all RX rings together.
    pub fn slots(&self) -> u32 {
        self.rx.iter().map(Ring::slots).sum()
    }
}

/// Readable when a sync would bring something: for a poll loop of the program's own.
impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.fd()
    }
}

/// Walks the kernel's list of extra buffers; each one's first bytes name the next.
fn take_extra(buffers: &Buffers, granted: &Granted, head: u32) -> Result<()> {
    let mut index = head;
    for number in 0..granted.extra {
        let wrong = || {
            let of = granted.extra;
            Error::Ring { reason: format!("extra buffer {number} of {of} is buffer {index}") }
        };
        let lendable = (index >= BufIndex::FIRST).then_some(index);
        let lease = lendable.and_then(|index| buffers.area().lease(index)).ok_or_else(wrong)?;
        index = lease.link();
        buffers.renew(lease.index());
        drop(buffers.adopt(lease));
    }
    if index == 0 {
        return Ok(());
    }
    Err(Error::Ring { reason: format!("more than {} extra buffers are listed", granted.extra) })
}

/// The slots `[head, tail)` of a port. Dropped: those that were looked at go back.
#[derive(Debug)]
pub struct RxView<'a> {
    rings: &'a mut [Ring],
    buffers: &'a Buffers,
}

impl RxView<'_> {
    /// The next packet, or `None` after the last one.
    ///
    /// # Errors
    /// `Ring` if the slot names a buffer that does not exist or that this program holds, or a
    /// payload outside its buffer. The view stays before that slot.
    #[expect(clippy::should_implement_trait, reason = "a slot borrows the view: no Iterator")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Slot<'_>>> {
        let Some(ring) = self.rings.iter_mut().find(|ring| ring.left() != 0) else {
            return Ok(None);
        };
        let (position, area) = (ring.position(), self.buffers.area());
        let content = match Content::decode(ring.peek(), area.count(), area.size()) {
            Ok(content) => content,
            Err(reason) => return Err(wrong(position, &reason)),
        };
        let Some(lease) = area.lease(content.index) else {
            return Err(held(position, content.index));
        };
        area.renew(content.index);
        ring.advance();
        let Content { fd, payload, event, .. } = content;
        Ok(Some(Slot { ring, position, fd, lease, payload, event }))
    }

    /// Packets that are left.
    pub fn len(&self) -> usize {
        self.rings.iter().map(|ring| ring.left() as usize).sum()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cold]
fn wrong(position: u32, reason: &str) -> Error {
    Error::Ring { reason: format!("slot {position}: {reason}") }
}

#[cold]
fn held(position: u32, index: u32) -> Error {
    wrong(position, &format!("buffer {index} is held by this program"))
}

impl Drop for RxView<'_> {
    fn drop(&mut self) {
        self.rings.iter().for_each(Ring::publish);
    }
}
