//! Serve: reads requests from the host and carries them out side by side.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use agent_proto::{Decoder, Frame, Run, VERSION};
use nix::sys::signal::Signal;

use crate::Result;
use crate::files::{self, Incoming};
use crate::outbox::Outbox;
use crate::reaper::Reaper;
use crate::run::{self, Handle};

type Handles = Arc<Mutex<HashMap<u32, Handle>>>;

/// Everything that is under way.
struct Server {
    outbox: Outbox,
    reaper: Reaper,
    running: Handles,
    incoming: HashMap<u32, Incoming>,
}

/// Serves until the host asks to switch off or goes away.
pub(crate) fn serve(port: &File, reaper: &Reaper) -> Result<()> {
    let writer = port.try_clone().map_err(|error| format!("share the port: {error}"))?;
    serve_with(port, Outbox::new(writer), reaper)
}

fn serve_with(port: &File, outbox: Outbox, reaper: &Reaper) -> Result<()> {
    let mut server = Server {
        outbox,
        reaper: reaper.clone(),
        running: Handles::default(),
        incoming: HashMap::new(),
    };
    // Waits until the host is connected; after that an end of file means that it is gone.
    server.outbox.send(&hello()?);
    let (mut port, mut decoder, mut bytes) = (port, Decoder::new(), vec![0; 64 << 10]);
    loop {
        match port.read(&mut bytes) {
            Ok(0) => return Err("the host closed the port".into()),
            Ok(len) => decoder.push(&bytes[..len]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("read from the host: {error}")),
        }
        while let Some(frame) = decoder.next_frame().map_err(|e| format!("read frame: {e}"))? {
            if frame == Frame::PowerOff {
                server.outbox.close();
                return Ok(());
            }
            server.handle(frame);
        }
    }
}

fn hello() -> Result<Frame> {
    let read = |path: &str| -> Result<Vec<u8>> {
        let text = fs::read_to_string(path).map_err(|error| format!("read {path}: {error}"))?;
        Ok(text.trim().as_bytes().to_vec())
    };
    Ok(Frame::Hello {
        proto: VERSION,
        kernel: read("/proc/sys/kernel/osrelease")?,
        boot_id: read("/proc/sys/kernel/random/boot_id")?,
    })
}

impl Server {
    fn handle(&mut self, frame: Frame) {
        match frame {
            Frame::Ping(token) => self.outbox.send(&Frame::Pong(token)),
            Frame::Run { id, run } => self.run(id, &run),
            Frame::Stdin(id, bytes) => self.feed(id, bytes),
            Frame::Kill(id, signal) => self.kill(id, signal),
            Frame::Taken(id, bytes) => self.taken(id, bytes),
            Frame::Put { id, path, mode, len, sum } => {
                match Incoming::create(id, &path, mode, len, sum) {
                    Ok(incoming) => self.go_on(id, incoming),
                    Err(why) => self.outbox.refuse(id, &why),
                }
            }
            Frame::Data(id, bytes) => {
                // Without an entry the file was refused already; its rest is of no use.
                let Some(mut incoming) = self.incoming.remove(&id) else { return };
                match incoming.take(&bytes) {
                    Ok(()) => self.go_on(id, incoming),
                    Err(why) => self.outbox.refuse(id, &why),
                }
            }
            Frame::Get(id, path) => {
                let outbox = self.outbox.clone();
                thread::spawn(move || {
                    if let Err(why) = files::send(id, &path, &outbox) {
                        outbox.refuse(id, &why);
                    }
                });
            }
            // Frames that only we send; PowerOff never comes here.
            other => eprintln!("paste-agent: frame out of place: {other:?}"),
        }
    }

    fn run(&self, id: u32, run: &Run) {
        let started = run::start(id, run, &self.reaper, &self.outbox);
        let (running, handle) = match started {
            Ok(started) => started,
            Err(why) => return self.outbox.refuse(id, &why),
        };
        self.running().insert(id, handle);
        let (outbox, reaper, handles) =
            (self.outbox.clone(), self.reaper.clone(), self.running.clone());
        thread::spawn(move || {
            running.stream(&outbox, &reaper);
            handles.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        });
    }

    fn feed(&self, id: u32, bytes: Vec<u8>) {
        let mut running = self.running();
        let Some(handle) = running.get_mut(&id) else { return };
        let end = bytes.is_empty();
        if let Some(stdin) = &handle.stdin {
            // The feeding thread ended if the program does not read any more.
            let _ = stdin.send(bytes);
        }
        if end {
            handle.stdin = None;
        }
    }

    fn taken(&self, id: u32, bytes: u64) {
        if let Some(handle) = self.running().get_mut(&id) {
            handle.taken(bytes);
        }
    }

    fn kill(&self, id: u32, signal: i32) {
        let pid = self.running().get(&id).map(|handle| handle.pid);
        if let (Some(pid), Ok(signal)) = (pid, Signal::try_from(signal)) {
            self.reaper.kill(pid, signal);
        }
    }

    fn go_on(&mut self, id: u32, incoming: Incoming) {
        if !incoming.complete() {
            self.incoming.insert(id, incoming);
            return;
        }
        match incoming.finish(id) {
            Ok(done) => self.outbox.send(&done),
            Err(why) => self.outbox.refuse(id, &why),
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<u32, Handle>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
