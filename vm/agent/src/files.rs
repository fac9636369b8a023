//! Files: what the host puts into the guest and gets out of it, with checksums.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use agent_proto::{CHUNK, Checksum, Frame};

use crate::Result;
use crate::outbox::Outbox;

/// A file that is arriving. Under its name it appears only when it is complete.
#[derive(Debug)]
pub(crate) struct Incoming {
    file: File,
    part: PathBuf,
    path: PathBuf,
    missing: u64,
    len: u64,
    expected: u64,
    sum: Checksum,
}

impl Incoming {
    /// Prepares for a file of `len` bytes with checksum `expected`.
    pub(crate) fn create(id: u32, path: &[u8], mode: u32, len: u64, expected: u64) -> Result<Self> {
        let path = PathBuf::from(OsStr::from_bytes(path));
        let say = |error| format!("write {}: {error}", path.display());
        let parent = path.parent().ok_or_else(|| format!("write {}: no file", path.display()))?;
        fs::create_dir_all(parent).map_err(say)?;
        let part = parent.join(format!(".paste-agent-{id}"));
        let file = File::create(&part).map_err(say)?;
        file.set_permissions(Permissions::from_mode(mode)).map_err(say)?;
        Ok(Self { file, part, path, missing: len, len, expected, sum: Checksum::default() })
    }

    /// Whether all bytes are here.
    pub(crate) fn complete(&self) -> bool {
        self.missing == 0
    }

    /// Takes the next bytes.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let too_many = || format!("write {}: more bytes than announced", self.path.display());
        self.missing = self.missing.checked_sub(bytes.len() as u64).ok_or_else(too_many)?;
        self.sum.update(bytes);
        self.file
            .write_all(bytes)
            .map_err(|error| format!("write {}: {error}", self.path.display()))
    }

    /// Checks the whole and gives the file its name.
    pub(crate) fn finish(self, id: u32) -> Result<Frame> {
        let sum = self.sum.value();
        if sum != self.expected {
            return Err(format!("write {}: checksum {sum:#x}, not as sent", self.path.display()));
        }
        fs::rename(&self.part, &self.path)
            .map_err(|error| format!("rename to {}: {error}", self.path.display()))?;
        Ok(Frame::Done { id, len: self.len, sum })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Renamed away if it was finished; then there is nothing to remove.
        let _ = fs::remove_file(&self.part);
    }
}

/// Sends a file to the host.
pub(crate) fn send(id: u32, path: &[u8], outbox: &Outbox) -> Result<()> {
    let path = Path::new(OsStr::from_bytes(path));
    let say = |error| format!("read {}: {error}", path.display());
    let mut file = File::open(path).map_err(say)?;
    let (mut len, mut sum) = (0, Checksum::default());
    loop {
        let mut bytes = vec![0; CHUNK];
        let read = file.read(&mut bytes).map_err(say)?;
        if read == 0 {
            break;
        }
        bytes.truncate(read);
        sum.update(&bytes);
        len += read as u64;
        outbox.send(&Frame::Data(id, bytes));
    }
    outbox.send(&Frame::Done { id, len, sum: sum.value() });
    Ok(())
}
