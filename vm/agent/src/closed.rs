//! Closed: the program of a guest that nobody outside speaks with.

use std::fs;
use std::io::ErrorKind;

use agent_proto::{End, Run, closed};
use nix::sys::termios::tcdrain;

use crate::Result;
use crate::reaper::{Reaper, end_from};

/// Reading it waits until all NVDIMMs have their devices; nobody else says when a program can
/// begin.
const WAIT_PROBE: &str = "/sys/bus/nd/devices/ndbus0/wait_probe";

/// The program that the initrd has brought along, with its arguments.
#[derive(Debug)]
pub(crate) struct Brought(Vec<Vec<u8>>);

impl Brought {
    /// Looks into the initrd.
    pub(crate) fn find() -> Result<Option<Self>> {
        match fs::read(closed::COMMAND) {
            Ok(text) => Ok(Some(Self(closed::words(&text)))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("read {}: {error}", closed::COMMAND)),
        }
    }

    /// Plays the program, whose output goes to the console, and says there how it ended.
    pub(crate) fn play(self, reaper: &Reaper) -> Result<()> {
        // A guest without NVDIMMs has no such file.
        let _ = fs::read(WAIT_PROBE);
        let run = Run { argv: self.0, ..Run::default() };
        let (child, mut end) = crate::run::on_console(&run, reaper)?;
        let mut bytes = [0; 8];
        let end = match std::io::Read::read_exact(&mut end, &mut bytes) {
            Ok(()) => end_from(bytes),
            Err(_) => End::Signal(0),
        };
        drop(child);
        println!("{}", closed::end(end));
        // The serial port is slow; what it has not sent when the machine goes off is lost.
        tcdrain(std::io::stdout()).map_err(|error| format!("write to the console: {error}"))
    }
}
