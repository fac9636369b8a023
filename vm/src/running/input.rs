//! Input: the standard input of a running program, written no faster than the program reads.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use agent_proto::{CHUNK, Frame, WINDOW};

use super::send;
use crate::error::Result;
use crate::machine::Machine;

/// The standard input of a running program, for a thread of its own. Somebody must call
/// [`super::Running::recv`] meanwhile: that is where the guest tells what was read.
#[derive(Debug, Clone)]
pub struct Input {
    pub(super) machine: Arc<Machine>,
    pub(super) id: u32,
    pub(super) line: String,
    pub(super) room: Arc<Room>,
}

impl Input {
    /// Writes; waits while the program does not read. False: the program has ended.
    ///
    /// # Errors
    /// [`crate::Error::Guest`] if the guest is gone.
    pub fn write(&self, bytes: &[u8]) -> Result<bool> {
        for piece in bytes.chunks(CHUNK) {
            if !self.room.wait(piece.len() as u64) {
                return Ok(false);
            }
            send(&self.machine, &self.line, &Frame::Stdin(self.id, piece.to_vec()))?;
        }
        Ok(true)
    }

    /// Ends the program's standard input.
    ///
    /// # Errors
    /// As [`Input::write`].
    pub fn close(self) -> Result<()> {
        send(&self.machine, &self.line, &Frame::Stdin(self.id, Vec::new()))
    }
}

/// How much input is under way.
#[derive(Debug, Default)]
pub(super) struct Room {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    in_flight: u64,
    closed: bool,
}

impl Room {
    /// Waits for room and takes it; false once the program has ended.
    fn wait(&self, bytes: u64) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |state: &mut State| !state.closed && state.in_flight >= WINDOW;
        let state = self.changed.wait_while(state, full);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.in_flight += bytes;
        !state.closed
    }

    /// The program has read so much.
    pub(super) fn give(&self, bytes: u64) {
        self.change(|state| state.in_flight = state.in_flight.saturating_sub(bytes));
    }

    /// The program has ended: nobody waits any more.
    pub(super) fn close(&self) {
        self.change(|state| state.closed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_window_waits_for_the_reader_or_the_end() {
        let room = Arc::new(Room::default());
        assert!(room.wait(WINDOW));
        let writer = Arc::clone(&room);
        let waiting = std::thread::spawn(move || [writer.wait(WINDOW), writer.wait(1)]);
        room.give(WINDOW);
        room.close();
        // The first wait may see the end already.
        assert!(!waiting.join().unwrap()[1]);
    }
}
