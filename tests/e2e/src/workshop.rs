//! Workshop: builds the guest half of the cases with all mutants in it, from a copy of its sources.
//!
//! The copy lies in a workspace of its own below the target folder; the project's own files are
//! only read. Versions are those of the project's lock, and the target folder is that of the
//! guest programs, so that what they depend on is compiled once.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use vm::process::Program;

use crate::deploy::{BUILD_TIME, STATIC, TARGET, guest_target};
use crate::mutants::{HELPERS, SWITCH, SWITCH_FILE, variants, weave};

/// What is copied: the library and the guest half, as far as the program is made of them.
const PACKAGES: [&str; 2] = ["paste", "tests/e2e/guest"];

/// The program's name as it is, and in the workshop: both lie in one folder.
const NAMES: [&str; 2] = ["e2e-guest", "e2e-mutants"];

/// A place where a program is built from a copy of its sources.
#[derive(Debug)]
pub(crate) struct Workshop {
    cargo: PathBuf,
    root: PathBuf,
    sources: PathBuf,
    target: PathBuf,
}

impl Workshop {
    /// Copies the sources of the project at `root`, with all mutants in them.
    ///
    /// # Errors
    /// They cannot be read or written, or an edit does not find its place.
    pub(crate) fn open(cargo: &Path, root: &Path) -> anyhow::Result<Self> {
        let (sources, target) = (root.join("target/mutants/sources"), guest_target(root));
        let workshop = Self { cargo: cargo.into(), root: root.into(), sources, target };
        for package in PACKAGES {
            let manifest = workshop.read(&format!("{package}/Cargo.toml"))?;
            let name = format!("name = {:?}", NAMES[0]);
            let manifest = manifest.replace(&name, &format!("name = {:?}", NAMES[1]));
            workshop.write(&format!("{package}/Cargo.toml"), &manifest)?;
            workshop.copy_folder(&format!("{package}/src"))?;
        }
        workshop.copy("Cargo.lock")?;
        let manifest = workshop.read("Cargo.toml")?;
        workshop.write("Cargo.toml", &only(&PACKAGES, &manifest)?)?;
        workshop.write(SWITCH_FILE, SWITCH)?;
        Ok(workshop)
    }

    /// Builds the program.
    ///
    /// # Errors
    /// The compiler's.
    pub(crate) fn build(&self) -> anyhow::Result<PathBuf> {
        Program::new(&self.cargo)
            .args(["build", "--quiet", "--release", "--offline", "--target", TARGET])
            .args(["-p", NAMES[1], "--target-dir"])
            .arg(&self.target)
            .env("RUSTFLAGS", STATIC)
            .cwd(&self.sources)
            .timeout(BUILD_TIME)
            .run_ok()
            .context("build the mutants")?;
        Ok(self.target.join(TARGET).join("release").join(NAMES[1]))
    }

    fn copy_folder(&self, folder: &str) -> anyhow::Result<()> {
        let from = self.root.join(folder);
        let entries = fs::read_dir(&from).with_context(|| format!("list {}", from.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("list {}", from.display()))?;
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                self.copy_folder(&name)?;
            } else {
                self.copy(&name)?;
            }
        }
        Ok(())
    }

    /// The file, with what the mutants need in it.
    fn copy(&self, file: &str) -> anyhow::Result<()> {
        self.write(file, &edited(file, &self.read(file)?).map_err(|why| anyhow!(why))?)
    }

    fn read(&self, file: &str) -> anyhow::Result<String> {
        fs::read_to_string(self.root.join(file)).with_context(|| format!("read {file}"))
    }

    /// A file that is as it should be keeps its time, so that cargo builds nothing for it.
    fn write(&self, file: &str, text: &str) -> anyhow::Result<()> {
        let path = self.sources.join(file);
        if fs::read(&path).is_ok_and(|present| present == text.as_bytes()) {
            return Ok(());
        }
        let folder = path.parent().context("a file lies in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }
}

/// A file's text with all mutants in it.
fn edited(file: &str, text: &str) -> Result<String, String> {
    let mut text = text.to_owned();
    for helper in HELPERS.iter().filter(|helper| helper.file == file) {
        helper.place(&text)?;
        text = text.replace(helper.old, helper.new);
    }
    weave(file, &text, variants())
}

/// The manifest of a workspace with these members only.
fn only(packages: &[&str], manifest: &str) -> anyhow::Result<String> {
    let rest = manifest.find("[workspace.package]").context("find what members share")?;
    let members: Vec<_> = packages.iter().map(|package| format!("{package:?}")).collect();
    let members = members.join(", ");
    let (_, shared) = manifest.split_at(rest);
    Ok(format!("[workspace]\nresolver = \"3\"\nmembers = [{members}]\n\n{shared}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_of_some_members_keeps_what_they_share() {
        let whole =
            "[workspace]\nmembers = [\n  \"a\",\n]\n\n[workspace.package]\nversion = \"1\"\n";
        let some = only(&["b", "c"], whole).unwrap();
        assert!(
            some.contains("members = [\"b\", \"c\"]\n\n[workspace.package]\nversion"),
            "{some}"
        );
        assert!(only(&[], "[package]").is_err());
    }

    #[test]
    fn the_copy_has_the_mutants_and_the_sources_stay_as_they_are() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let before = fs::read_to_string(root.join("paste/src/log.rs")).unwrap();
        let workshop = Workshop::open(Path::new("/no/such/cargo"), &root).unwrap();
        let text = |folder: &Path| fs::read_to_string(folder.join("paste/src/log.rs")).unwrap();
        assert_eq!(text(&root), before);
        assert!(!before.contains("mutant::number()"));
        assert!(text(&workshop.sources).contains("match crate::mutant::number()"));
        assert!(workshop.build().unwrap_err().to_string().contains("build the mutants"));
    }
}
