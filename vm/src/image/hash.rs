//! Hash: SHA-256 of bytes and files, and keys made of several parts.

use std::fs::File;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// How many hex digits of a hash name a cache entry: 128 bits.
const KEY_DIGITS: usize = 32;

/// The SHA-256 of a file in hex.
pub(crate) fn file(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    File::open(path)
        .and_then(|mut file| io::copy(&mut file, &mut Writer(&mut hasher)))
        .map_err(|e| Error::io("read", path, e))?;
    Ok(hex(&hasher.finalize()))
}

/// A key over named parts; no two different lists of parts have the same key.
pub(crate) fn key<'a>(parts: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hasher = Sha256::new();
    for (name, part) in parts {
        for piece in [name.as_bytes(), part] {
            hasher.update((piece.len() as u64).to_le_bytes());
            hasher.update(piece);
        }
    }
    let mut key = hex(&hasher.finalize());
    key.truncate(KEY_DIGITS);
    key
}

fn hex(hash: &[u8]) -> String {
    use std::fmt::Write;
    hash.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

struct Writer<'a>(&'a mut Sha256);

impl io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_hashes_as_the_standard_says() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(super::file(file.path()).unwrap(), abc);
    }

    #[test]
    fn keys_tell_where_a_part_ends() {
        let key = |a: &str, b: &str| super::key([("x", a.as_bytes()), ("x", b.as_bytes())]);
        assert_ne!(key("ab", "c"), key("a", "bc"));
        assert_eq!(key("ab", "c").len(), KEY_DIGITS);
    }
}
