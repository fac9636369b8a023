//! Control: how another command reaches the `vmctl up` that holds a guest.
//!
//! A socket by the guest's name in a folder that only its owner can enter; a request and a reply
//! are a line of JSON each.

use std::fs::{self, DirBuilder};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::Shutdown;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use vm::crash::CutAt;

use crate::exit::Usage;
use crate::signals;

/// How long the other side may take to send its line, once connected.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is to happen to a guest's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Whether it comes back.
    pub(crate) cycle: bool,
    /// At which moment it goes.
    pub(crate) when: When,
    /// How long to wait for that moment.
    pub(crate) within: Duration,
    /// Fixes what survives of that which was not durable.
    pub(crate) seed: u64,
}

/// When power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum When {
    Now,
    /// Behind so many bytes of a frame that the NIC writes.
    InFrame(usize),
    /// At a marker that the guest executes.
    At(CutAt),
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reply {
    /// The exit status of the command that asked.
    pub(crate) status: u8,
    /// Lines for people.
    pub(crate) said: String,
}

/// Somebody who has asked, and waits for the reply.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Another one for each.
    pub(crate) id: u64,
    stream: UnixStream,
}

/// What comes from callers.
#[derive(Debug)]
pub(crate) enum Heard {
    /// One asks.
    Asked(Caller, Request),
    /// The one with this id has gone, with or without its reply.
    Left(u64),
}

impl Caller {
    /// Answers; who has gone gets nothing.
    pub(crate) fn reply(self, reply: &Reply) {
        let _ = send(&self.stream, reply);
    }
}

/// The place where requests to one guest arrive. Dropped: it is gone.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
    listener: UnixListener,
}

impl Control {
    /// Opens the place in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// A guest of this name is up already, or the folder is not ours.
    pub(crate) fn open(folder: &Path, guest: &str) -> anyhow::Result<Self> {
        make_private(folder)?;
        let path = path(folder, guest);
        match UnixStream::connect(&path) {
            Ok(_) => return Err(Usage(format!("{guest} is up already")).into()),
            // Left over by a process that was killed.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(&path);
        let listener = listener.with_context(|| format!("listen on {}", path.display()))?;
        Ok(Self { path, listener })
    }

    /// Begins to listen, until the process ends.
    ///
    /// # Errors
    /// The host's.
    pub(crate) fn listen(
        &self,
        tell: impl Fn(Heard) + Send + Sync + 'static,
    ) -> anyhow::Result<()> {
        let listener = self.listener.try_clone().context("share a socket")?;
        let (tell, ids) = (Arc::new(tell), AtomicU64::new(0));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tell, id) = (Arc::clone(&tell), ids.fetch_add(1, Ordering::Relaxed));
                // Whoever went away or made no sense gets no answer.
                std::thread::spawn(move || hear(id, &stream, &*tell));
            }
        });
        Ok(())
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Gone already if somebody cleaned the folder.
        let _ = fs::remove_file(&self.path);
    }
}

fn hear(id: u64, stream: &UnixStream, tell: &impl Fn(Heard)) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let (mut line, mut lines) = (String::new(), BufReader::new(stream));
    lines.read_line(&mut line)?;
    let request = serde_json::from_str(&line)?;
    tell(Heard::Asked(Caller { id, stream: stream.try_clone()? }, request));
    stream.set_read_timeout(None)?;
    // Nothing else is said until the other end closes.
    let closed = lines.read_line(&mut line);
    tell(Heard::Left(id));
    closed.map(drop)
}

fn send(mut stream: &UnixStream, what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Asks the guest of this name; waits until it is done. An interrupt ends the wait, and the guest
/// hears of that.
///
/// # Errors
/// No such guest is up, or it went down meanwhile.
pub(crate) fn ask(folder: &Path, guest: &str, request: Request) -> anyhow::Result<Reply> {
    let nobody = |_| Usage(format!("no guest {guest} is up; `vmctl up --guest {guest}` makes one"));
    let stream = UnixStream::connect(path(folder, guest)).map_err(nobody)?;
    let ours = stream.try_clone().context("share a socket")?;
    signals::on_interrupt(move || ours.shutdown(Shutdown::Both).is_ok());
    send(&stream, &request).context("send the request")?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).context("wait for the answer")?;
    serde_json::from_str(&line).with_context(|| format!("{guest} went down before it answered"))
}

fn path(folder: &Path, guest: &str) -> PathBuf {
    folder.join(guest).with_extension("sock")
}

/// A folder that nobody else can enter, or put into our way.
fn make_private(folder: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("create {}", folder.display()))?;
    let found = fs::symlink_metadata(folder);
    let found = found.with_context(|| format!("look at {}", folder.display()))?;
    let ours = found.uid() == nix::unistd::getuid().as_raw();
    if !found.is_dir() || !ours || found.permissions().mode() & 0o077 != 0 {
        bail!("{} is not a folder of ours alone", folder.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn request() -> Request {
        let when = When::At("checkpoint:3#2".parse().unwrap());
        Request { cycle: true, when, within: Duration::from_secs(5), seed: 7 }
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("vmctl");
        (dir, folder)
    }

    #[test]
    fn a_request_reaches_the_guest_of_its_name_and_the_reply_comes_back() {
        let (_dir, folder) = folder();
        let control = Control::open(&folder, "g1").unwrap();
        let told = |request| Reply { status: 3, said: format!("{request:?}") };
        let answer = move |heard| {
            if let Heard::Asked(caller, request) = heard {
                caller.reply(&told(request));
            }
        };
        control.listen(answer).unwrap();
        assert_eq!(ask(&folder, "g1", request()).unwrap(), told(request()));
        assert_eq!(ask(&folder, "g1", request()).unwrap(), told(request()), "again");
        let error = ask(&folder, "g2", request()).unwrap_err();
        assert_eq!(Exit::of_error(&error), Exit::Usage);
    }

    #[test]
    fn one_who_waits_holds_up_nobody_and_is_missed_when_gone() {
        let (_dir, folder) = folder();
        let control = Control::open(&folder, "g").unwrap();
        let (tell, heard) = std::sync::mpsc::channel();
        control.listen(move |heard| tell.send(heard).unwrap()).unwrap();
        let connect = || {
            let stream = UnixStream::connect(path(&folder, "g")).unwrap();
            send(&stream, &request()).unwrap();
            let Heard::Asked(caller, asked) = heard.recv().unwrap() else { panic!("asked") };
            assert_eq!(asked, request());
            (stream, caller)
        };
        let ((first, waits), (second, other)) = (connect(), connect());
        assert_ne!(waits.id, other.id);
        drop(first);
        assert!(matches!(heard.recv().unwrap(), Heard::Left(id) if id == waits.id));
        waits.reply(&Reply { status: 0, said: "nobody hears".into() });
        other.reply(&Reply { status: 0, said: "done".into() });
        let mut line = String::new();
        BufReader::new(&second).read_line(&mut line).unwrap();
        assert!(line.contains("done"), "{line}");
    }

    #[test]
    fn a_name_is_taken_once_and_what_is_left_over_is_replaced() {
        let (_dir, folder) = folder();
        let first = Control::open(&folder, "g").unwrap();
        let error = Control::open(&folder, "g").unwrap_err();
        assert_eq!(Exit::of_error(&error), Exit::Usage);
        let other = Control::open(&folder, "h").unwrap();
        drop((first, other));
        assert!(!folder.join("g.sock").exists());
        // A listener that ends without taking its name away.
        drop(UnixListener::bind(folder.join("g.sock")).unwrap());
        Control::open(&folder, "g").unwrap();
    }

    #[test]
    fn a_folder_that_others_can_enter_is_refused() {
        let (_dir, folder) = folder();
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Control::open(&folder, "g").unwrap_err().to_string().contains("ours alone"));
    }
}
