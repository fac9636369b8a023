//! Lock: the exact packages of an image, one line `name version sha256` each.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use crate::error::{Error, Result};

/// One package at one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// The package's name.
    pub name: String,
    /// Its full version, with epoch.
    pub version: String,
    /// The SHA-256 of the package file, 64 hex digits.
    pub sha256: String,
}

/// All packages of an image, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// The packages.
    pub packages: Vec<Package>,
}

impl Lock {
    /// A lock over these packages, in any order.
    pub fn new(mut packages: Vec<Package>) -> Self {
        packages.sort();
        Self { packages }
    }

    /// Reads a lock file.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Invalid`] if it is not a lock file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        text.parse().map_err(|why: String| Error::invalid(path.display().to_string(), why))
    }
}

impl FromStr for Lock {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let lines = text.lines().enumerate();
        let wanted = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let packages = wanted.map(|(n, line)| {
            package(line).ok_or_else(|| format!("line {}: want `name version sha256`", n + 1))
        });
        Ok(Self::new(packages.collect::<std::result::Result<_, _>>()?))
    }
}

fn package(line: &str) -> Option<Package> {
    let [name, version, sha256] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
    // Names become arguments of apt-get: nothing that looks like an option may pass.
    let named = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let hashed = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
    (named && hashed && !version.is_empty()).then(|| Package {
        name: name.to_owned(),
        version: version.to_owned(),
        sha256: sha256.to_owned(),
    })
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# Made by `vmctl image lock`; do not edit. Each line: package version sha256"
        )?;
        for Package { name, version, sha256 } in &self.packages {
            writeln!(f, "{name} {version} {sha256}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_survives_printing_and_parsing() {
        let package = |name: &str, version: &str| Package {
            name: name.into(),
            version: version.into(),
            sha256: "0123456789abcdef".repeat(4),
        };
        let lock = Lock::new(vec![package("make", "4.3-4.1"), package("bzip2", "1:2~b+1")]);
        assert_eq!(lock.packages[0].name, "bzip2");
        assert_eq!(lock.to_string().parse(), Ok(lock));
    }

    #[test]
    fn a_bad_line_is_named() {
        let hash = "a".repeat(64);
        for line in ["make 1", "-o 1 x", &format!("--force 1 {hash}"), "make 1 abc"] {
            let text = format!("# top\n{line}\n");
            assert!(text.parse::<Lock>().unwrap_err().starts_with("line 2"), "{line}");
        }
    }
}
