//! Window: a client that reads nothing is asked until it does.
//!
//! An echo that is put onto TCP's queue when all before it is acknowledged and the client's window
//! is closed has nobody to wait for: no acknowledgement is due, and the client may never say again
//! that it reads. TCP asks such a client now and then, by a segment that repeats a number.

use std::time::Instant;

use anyhow::{Context, ensure};
use vm::vnet::{Direction, Filter, Frame, Tcp, UNREAD_LIMIT};

use crate::bench::{Bench, PATIENCE, PORT, in_time};
use crate::seed::Seed;

/// Length of a message in bytes: one segment, and the window closes between two.
const MESSAGE: usize = 1024;

/// Lets the echo close the client's window exactly, and queue one message more.
pub(super) fn closed(bench: &Bench, tcp: &Tcp, seed: Seed) -> anyhow::Result<()> {
    ensure!(UNREAD_LIMIT.is_multiple_of(MESSAGE), "the window does not close between messages");
    let (message, mut echoed) = (seed.bytes(MESSAGE), vec![0; UNREAD_LIMIT + MESSAGE]);
    let say = || tcp.send_all(&message, PATIENCE).context("send");
    say()?;
    tcp.recv_exact(&mut echoed[..MESSAGE], PATIENCE).context("read at first")?;
    let mut replies = Replies::of(bench, tcp)?;
    (0..UNREAD_LIMIT / MESSAGE).try_for_each(|_| say())?;
    replies.wait("a closed window", |end, _| end == UNREAD_LIMIT)?;
    // At once: TCP treats who was idle otherwise.
    say()?;
    replies.wait("a segment that asks", |end, frame| {
        end + 1 == UNREAD_LIMIT && frame.payload_len == 0
    })?;
    tcp.recv_exact(&mut echoed, PATIENCE).context("read at last")?;
    ensure!(echoed.chunks(MESSAGE).all(|echo| echo == message), "another message came back");
    Ok(())
}

/// What leaves the guest on a connection from now on.
struct Replies<'a> {
    bench: &'a Bench,
    filter: Filter,
    seen: u64,
    /// Sequence number of the first byte.
    first: u32,
}

impl<'a> Replies<'a> {
    fn of(bench: &'a Bench, tcp: &Tcp) -> anyhow::Result<Self> {
        let filter = Filter::new().direction(Direction::FromGuest).src_port(PORT);
        let filter = filter.dst_port(tcp.local().port());
        let last = bench.frame_log().frames(&filter).pop().context("a frame of the connection")?;
        let (seen, first) = (last.seq, end(&last)?);
        Ok(Self { bench, filter, seen, first })
    }

    /// Waits for a frame that `look` takes: how far it goes, in bytes from the first; the frame.
    fn wait(&mut self, what: &str, look: impl Fn(usize, &Frame) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            in_time(deadline, what)?;
            let filter = self.filter.clone().after(self.seen);
            let frame = self.bench.frame_log().wait(&filter, PATIENCE);
            let frame = frame.with_context(|| format!("wait for {what}"))?;
            self.seen = frame.seq;
            if look(end(&frame)?.wrapping_sub(self.first) as usize, &frame) {
                return Ok(());
            }
        }
    }
}

/// The sequence number behind a segment.
fn end(frame: &Frame) -> anyhow::Result<u32> {
    let seq = frame.tcp_seq.context("a TCP frame has a sequence number")?;
    Ok(seq.wrapping_add(u32::try_from(frame.payload_len).context("read a length")?))
}
