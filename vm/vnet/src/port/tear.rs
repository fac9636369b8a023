//! Tear: a loss of power while the device writes a frame into guest memory.
//!
//! The device writes a part of one frame, tells the guest of nothing any more, and stands still
//! until its frontend leaves, which the end of the machine makes it do.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::frame_log::{Filter, Frame};
use crate::protocol::Device;
use crate::sync::lock;

/// Where the device is to stand still.
#[derive(Clone, Debug)]
pub struct Tear {
    /// Which frames count.
    pub filter: Filter,
    /// Which of those that the device writes from now on; 1 is the next one.
    pub nth: u64,
    /// How much of the Ethernet frame is written, in bytes from its start; all of it if it is
    /// shorter. The virtio header comes before and is always written.
    pub bytes: usize,
}

/// News of a tear. Dropped: a tear that has not come yet will not come.
#[derive(Debug)]
pub struct Torn {
    told: Receiver<Stopped>,
    _wanted: Arc<()>,
}

/// A device that stands still in the middle of a frame.
#[derive(Debug)]
pub struct Stopped {
    /// The frame, as in the log.
    pub frame: Frame,
    device: Arc<Mutex<Device>>,
}

impl Stopped {
    /// Writes on: afterwards the frame's first `bytes` bytes are in guest memory, or all of it if
    /// it is shorter. The device still stands still, and the guest is told of nothing.
    ///
    /// # Errors
    /// `Gone` if the frontend has left, and with it the frame.
    pub fn write_on(&self, bytes: usize) -> Result<()> {
        let mut device = lock(&self.device);
        let partial = device.partial.as_mut().filter(|partial| partial.seq == self.frame.seq);
        partial.ok_or(Error::Gone).map(|partial| partial.write_on(bytes))
    }
}

impl Torn {
    /// Waits until the device stands still: only the first [`Tear::bytes`] bytes of the frame are
    /// in guest memory then.
    ///
    /// # Errors
    /// `Timeout` when there was no such frame `within` the time, `Gone` when there will be none:
    /// another tear has taken the place of this one, or the network has ended.
    pub fn wait(&self, within: Duration) -> Result<Stopped> {
        self.told.recv_timeout(within).map_err(|why| match why {
            RecvTimeoutError::Timeout => Error::Timeout("wait for a torn frame"),
            RecvTimeoutError::Disconnected => Error::Gone,
        })
    }
}

#[derive(Debug)]
struct Armed {
    tear: Tear,
    teller: Sender<Stopped>,
    wanted: Weak<()>,
}

/// Where a tear waits for its frame.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trap(Arc<Mutex<Option<Armed>>>);

/// The frame has come.
#[derive(Debug)]
pub(crate) struct Sprung {
    /// How many bytes of it to write.
    pub(crate) bytes: usize,
    teller: Sender<Stopped>,
}

impl Trap {
    /// Waits for this frame instead of any other.
    pub(crate) fn arm(&self, tear: Tear) -> Torn {
        let (teller, told) = channel();
        let wanted = Arc::new(());
        *lock(&self.0) = Some(Armed { tear, teller, wanted: Arc::downgrade(&wanted) });
        Torn { told, _wanted: wanted }
    }

    /// Whether `frame`, which is about to be written, is the one.
    pub(crate) fn meets(&self, frame: &Frame) -> Option<Sprung> {
        let mut armed = lock(&self.0);
        if armed.as_ref()?.wanted.strong_count() == 0 {
            *armed = None;
        }
        let tear = &mut armed.as_mut()?.tear;
        if !tear.filter.matches(frame) {
            return None;
        }
        tear.nth = tear.nth.saturating_sub(1);
        if tear.nth > 0 {
            return None;
        }
        let Armed { tear, teller, .. } = armed.take()?;
        Some(Sprung { bytes: tear.bytes.min(frame.len), teller })
    }
}

impl Sprung {
    /// Tells that the device stands still.
    pub(crate) fn tell(self, frame: Frame, device: Arc<Mutex<Device>>) {
        // Nobody has to listen.
        let _ = self.teller.send(Stopped { frame, device });
    }
}
