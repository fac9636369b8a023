//! Channel: the conversation with the guest's agent; frames in, frames out, answers by id.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use agent_proto::{Decoder, Frame, ProtoError};

use crate::error::{Error, Result};

/// The id under which frames without an id (hello, pong) arrive.
pub(crate) const NO_ID: u32 = 0;

/// The channel is closed: QEMU or the agent is gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// A connection to one agent.
#[derive(Debug, Clone)]
pub(crate) struct Channel(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stream: Mutex<UnixStream>,
    /// To end a write that waits for a guest that will never read: no lock needed for that.
    breaker: UnixStream,
    routes: Mutex<Routes>,
}

#[derive(Debug)]
struct Routes {
    /// `None` once the channel is closed; dropping the senders wakes everybody who waits.
    senders: Option<HashMap<u32, Sender<Frame>>>,
    next: u32,
    fault: Option<ProtoError>,
}

impl Channel {
    /// Takes over a connected socket. The receiver gets the frames without an id, [`Frame::Hello`]
    /// first. Requests get ids after `last`: an agent of a template may know earlier ones.
    pub(crate) fn start(
        stream: UnixStream,
        last: u32,
    ) -> Result<(Self, Receiver<Frame>, JoinHandle<()>)> {
        let io = |source| Error::Io { doing: "start agent channel".into(), source };
        let reading = stream.try_clone().map_err(io)?;
        let breaker = stream.try_clone().map_err(io)?;
        let (sender, unsolicited) = channel();
        let senders = Some(HashMap::from([(NO_ID, sender)]));
        let routes = Mutex::new(Routes { senders, next: last, fault: None });
        let this = Self(Arc::new(Shared { stream: Mutex::new(stream), breaker, routes }));
        let reader = this.clone();
        let thread = thread::Builder::new().name("agent".into());
        let thread = thread.spawn(move || reader.read(reading)).map_err(io)?;
        Ok((this, unsolicited, thread))
    }

    /// A new id and the receiver of its answers.
    pub(crate) fn open(&self) -> std::result::Result<(u32, Receiver<Frame>), Closed> {
        let mut routes = self.routes();
        let (next, (sender, receiver)) = (routes.next.wrapping_add(1).max(1), channel());
        routes.senders.as_mut().ok_or(Closed)?.insert(next, sender);
        routes.next = next;
        Ok((next, receiver))
    }

    /// The id of the last request, if nobody waits for an answer to any.
    pub(crate) fn last_if_quiet(&self) -> Option<u32> {
        let routes = self.routes();
        let quiet = routes.senders.as_ref()?.keys().all(|id| *id == NO_ID);
        quiet.then_some(routes.next)
    }

    /// Forgets an id; answers that still come are dropped.
    pub(crate) fn forget(&self, id: u32) {
        if let Some(senders) = &mut self.routes().senders {
            senders.remove(&id);
        }
    }

    /// Sends one frame that was encoded before.
    pub(crate) fn send(&self, frame: &[u8]) -> std::result::Result<(), Closed> {
        let mut stream = self.0.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.write_all(frame).map_err(|_| Closed)
    }

    /// Ends the conversation: everybody who waits for an answer is woken.
    pub(crate) fn close(&self) {
        // Shut down already if the peer did it.
        let _ = self.0.breaker.shutdown(std::net::Shutdown::Both);
        self.routes().senders = None;
    }

    /// What was wrong with the agent's bytes, if that is why the channel is closed.
    pub(crate) fn fault(&self) -> Option<ProtoError> {
        self.routes().fault
    }

    fn read(&self, mut stream: UnixStream) {
        let (mut decoder, mut bytes) = (Decoder::new(), vec![0; 256 << 10]);
        loop {
            match stream.read(&mut bytes) {
                Ok(len) if len > 0 => decoder.push(&bytes[..len]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                _ => break,
            }
            if let Err(fault) = self.deliver(&mut decoder) {
                self.routes().fault = Some(fault);
                break;
            }
        }
        self.close();
    }

    fn deliver(&self, decoder: &mut Decoder) -> std::result::Result<(), ProtoError> {
        while let Some(frame) = decoder.next_frame()? {
            if let Some(senders) = &self.routes().senders
                && let Some(sender) = senders.get(&id(&frame))
            {
                // The receiver is gone if its owner gave up.
                let _ = sender.send(frame);
            }
        }
        Ok(())
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.0.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn id(frame: &Frame) -> u32 {
    match frame {
        Frame::Hello { .. } | Frame::Ping(_) | Frame::Pong(_) | Frame::PowerOff => NO_ID,
        Frame::Run { id, .. }
        | Frame::Stdin(id, _)
        | Frame::Out(id, _)
        | Frame::Err(id, _)
        | Frame::Exit(id, _)
        | Frame::Kill(id, _)
        | Frame::Taken(id, _)
        | Frame::Put { id, .. }
        | Frame::Get(id, _)
        | Frame::Data(id, _)
        | Frame::Done { id, .. }
        | Frame::Refused(id, _) => *id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Channel, Receiver<Frame>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (channel, unsolicited, _) = Channel::start(ours, NO_ID).unwrap();
        (channel, unsolicited, theirs)
    }

    #[test]
    fn answers_find_their_request() {
        let (channel, unsolicited, mut agent) = pair();
        let (one, first) = channel.open().unwrap();
        let (two, second) = channel.open().unwrap();
        for frame in [Frame::Out(two, b"b".into()), Frame::Pong(5), Frame::Out(one, b"a".into())] {
            agent.write_all(&frame.encode().unwrap()).unwrap();
        }
        assert_eq!(first.recv().unwrap(), Frame::Out(one, b"a".into()));
        assert_eq!(second.recv().unwrap(), Frame::Out(two, b"b".into()));
        assert_eq!(unsolicited.recv().unwrap(), Frame::Pong(5));
    }

    #[test]
    fn a_quiet_channel_tells_its_last_id_and_the_next_goes_on_there() {
        let (channel, ..) = pair();
        let (id, _answers) = channel.open().unwrap();
        assert_eq!(channel.last_if_quiet(), None);
        channel.forget(id);
        assert_eq!(channel.last_if_quiet(), Some(id));
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (later, ..) = Channel::start(ours, id).unwrap();
        assert_eq!(later.open().unwrap().0, id + 1);
    }

    #[test]
    fn a_lost_agent_wakes_everybody() {
        let (channel, unsolicited, agent) = pair();
        let (_, answers) = channel.open().unwrap();
        drop(agent);
        assert!(answers.recv().is_err());
        assert!(unsolicited.recv().is_err());
        assert_eq!(channel.open().unwrap_err(), Closed);
        assert_eq!(channel.fault(), None);
    }

    #[test]
    fn closing_ends_a_write_that_nobody_reads() {
        let (channel, _unsolicited, _agent) = pair();
        let writer = channel.clone();
        let thread = thread::spawn(move || while writer.send(&[0; 4096]).is_ok() {});
        channel.close();
        thread.join().unwrap();
    }

    #[test]
    fn a_babbling_agent_is_a_fault() {
        let (channel, unsolicited, mut agent) = pair();
        agent.write_all(&[0xff; 8]).unwrap();
        assert!(unsolicited.recv().is_err());
        assert!(matches!(channel.fault(), Some(ProtoError::TooLong(_))));
    }
}
