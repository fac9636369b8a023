//! Control: how another command reaches the `vmctl up` that holds a guest.
//!
//! A socket by the guest's name in a folder that only its owner can enter; a request and a reply
//! are a line of JSON each.

use std::fs::{self, DirBuilder};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::exit::Usage;

/// How long the other side may take to send its line, once connected.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is to happen to a guest's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Whether it comes back.
    pub(crate) cycle: bool,
    /// Behind so many bytes of a frame that the NIC writes; else at once.
    pub(crate) dma: Option<usize>,
    /// Fixes what survives of that which was not durable.
    pub(crate) seed: u64,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reply {
    /// The exit status of the command that asked.
    pub(crate) status: u8,
    /// Lines for people.
    pub(crate) said: String,
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

    /// Begins to serve requests, one at a time, until the process ends.
    ///
    /// # Errors
    /// The host's.
    pub(crate) fn serve(
        &self,
        mut act: impl FnMut(Request) -> Reply + Send + 'static,
    ) -> anyhow::Result<()> {
        let listener = self.listener.try_clone().context("share a socket")?;
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever went away or made no sense gets no answer.
                let _ = answer(&stream, &mut act);
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

fn answer(stream: &UnixStream, act: &mut impl FnMut(Request) -> Reply) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let reply = act(serde_json::from_str(&line)?);
    send(stream, &reply)
}

fn send(mut stream: &UnixStream, what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Asks the guest of this name; waits until it is done.
///
/// # Errors
/// No such guest is up, or it went down meanwhile.
pub(crate) fn ask(folder: &Path, guest: &str, request: Request) -> anyhow::Result<Reply> {
    let nobody = |_| Usage(format!("no guest {guest} is up; `vmctl up --guest {guest}` makes one"));
    let stream = UnixStream::connect(path(folder, guest)).map_err(nobody)?;
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

    const REQUEST: Request = Request { cycle: true, dma: Some(700), seed: 7 };

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("vmctl");
        (dir, folder)
    }

    #[test]
    fn a_request_reaches_the_guest_of_its_name_and_the_reply_comes_back() {
        let (_dir, folder) = folder();
        let control = Control::open(&folder, "g1").unwrap();
        control.serve(|request| Reply { status: 3, said: format!("{request:?}") }).unwrap();
        let reply = Reply { status: 3, said: format!("{REQUEST:?}") };
        assert_eq!(ask(&folder, "g1", REQUEST).unwrap(), reply);
        assert_eq!(ask(&folder, "g1", REQUEST).unwrap(), reply, "again");
        let error = ask(&folder, "g2", REQUEST).unwrap_err();
        assert_eq!(Exit::of_error(&error), Exit::Usage);
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
