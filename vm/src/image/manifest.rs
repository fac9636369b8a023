//! Manifest: what a guest image is made of, as written in `images/NAME.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};

/// A parsed manifest together with its text (the text is part of the image's key).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The image's name, for example `debian-12`.
    pub name: String,
    /// The Debian suite by code name, for example `bookworm`.
    pub suite: String,
    /// The Debian architecture.
    pub architecture: String,
    /// The packages that are wanted; their dependencies follow.
    pub packages: Vec<String>,
    /// Dependencies that are left out; a trailing `*` stands for the rest of the name.
    #[serde(default)]
    pub skip: Vec<String>,
    /// Paths that are not unpacked, as tar patterns.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Kernel modules that the initial RAM disk loads, without their dependencies.
    pub modules: Vec<String>,
    /// Symbolic links to make: path in the guest, target.
    #[serde(default)]
    pub links: BTreeMap<PathBuf, PathBuf>,
    /// Files to write: path in the guest, text.
    #[serde(default)]
    pub files: BTreeMap<PathBuf, String>,
    /// The manifest's own text.
    #[serde(skip)]
    pub text: String,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Invalid`] if it is not a manifest.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        Self::parse(&text).map_err(|why| Error::invalid(path.display().to_string(), why))
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut manifest: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let inside = |path: &PathBuf| {
            path.is_relative() && !path.components().any(|part| part.as_os_str() == "..")
        };
        let outside = manifest.links.keys().chain(manifest.files.keys()).find(|p| !inside(p));
        if let Some(path) = outside {
            return Err(format!("{} must be relative to the guest's root", path.display()));
        }
        text.clone_into(&mut manifest.text);
        Ok(manifest)
    }

    /// Whether a package that the dependencies ask for is left out.
    pub fn skips(&self, package: &str) -> bool {
        self.skip.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => package.starts_with(start),
            None => package == pattern,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
        name = "x"
        suite = "bookworm"
        architecture = "amd64"
        packages = ["a"]
        skip = ["perl*", "dpkg"]
        modules = ["overlay"]
        [links]
        "usr/bin/awk" = "mawk"
    "#;

    #[test]
    fn a_manifest_keeps_its_text_and_its_skips() {
        let manifest = Manifest::parse(SMALL).unwrap();
        assert_eq!(manifest.text, SMALL);
        assert!(manifest.skips("perl-base") && manifest.skips("dpkg"));
        assert!(!manifest.skips("dpkg-dev"));
    }

    #[test]
    fn an_unknown_field_and_a_path_outside_are_refused() {
        assert!(Manifest::parse(&format!("nonsense = 1\n{SMALL}")).is_err());
        let outside = SMALL.replace("usr/bin/awk", "../../etc/passwd");
        assert!(Manifest::parse(&outside).unwrap_err().contains("relative"));
    }

    #[test]
    fn the_manifests_of_the_project_are_valid() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images");
        let manifest = Manifest::read(&dir.join("debian-12.toml")).unwrap();
        assert_eq!(manifest.name, "debian-12");
    }
}
