//! Workshop: builds the guest half of the cases from edited copies of its sources.
//!
//! The copies lie in a workspace of their own below the target folder; the project's own files
//! are only read. All programs share one target folder, and one set of incremental results, so
//! that an edit costs the compilation of what it touches. Versions are those of the project's lock.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use vm::process::Program;

use crate::deploy::{BUILD_TIME, STATIC, TARGET};
use crate::mutants::Edit;

/// What is copied: the library and the guest half, as far as the program is made of them.
const PACKAGES: [&str; 2] = ["paste", "tests/e2e/guest"];

/// A place where edited programs are built.
#[derive(Debug)]
pub(crate) struct Workshop {
    cargo: PathBuf,
    root: PathBuf,
    sources: PathBuf,
    target: PathBuf,
}

impl Workshop {
    /// Copies the sources of the project at `root`.
    ///
    /// # Errors
    /// They cannot be read or written.
    pub(crate) fn open(cargo: &Path, root: &Path) -> anyhow::Result<Self> {
        let folder = root.join("target/mutants");
        let (sources, target) = (folder.join("sources"), folder.join("target"));
        let workshop = Self { cargo: cargo.into(), root: root.into(), sources, target };
        for package in PACKAGES {
            workshop.copy(&format!("{package}/Cargo.toml"))?;
            workshop.copy_folder(&format!("{package}/src"))?;
        }
        workshop.copy("Cargo.lock")?;
        let manifest = workshop.read("Cargo.toml")?;
        workshop.write("Cargo.toml", &only(&PACKAGES, &manifest)?)?;
        Ok(workshop)
    }

    /// Builds the program with these edits; the file is another one after the next build.
    ///
    /// # Errors
    /// An edit does not find its place, or the compiler's.
    pub(crate) fn build(&self, edits: &[Edit]) -> anyhow::Result<PathBuf> {
        for edit in edits {
            let path = self.sources.join(edit.file);
            let text = fs::read_to_string(&path).with_context(|| format!("read {}", edit.file))?;
            self.write(edit.file, &edit.apply(&text).map_err(|why| anyhow!(why))?)?;
        }
        let built = self.compile();
        for edit in edits {
            self.copy(edit.file)?;
        }
        built
    }

    fn compile(&self) -> anyhow::Result<PathBuf> {
        Program::new(&self.cargo)
            .args(["build", "--quiet", "--release", "--offline", "--target", TARGET])
            .args(["-p", "e2e-guest", "--target-dir"])
            .arg(&self.target)
            .env("RUSTFLAGS", STATIC)
            .env("CARGO_INCREMENTAL", "1")
            .cwd(&self.sources)
            .timeout(BUILD_TIME)
            .run_ok()
            .context("build an edited program")?;
        Ok(self.target.join(TARGET).join("release/e2e-guest"))
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

    fn copy(&self, file: &str) -> anyhow::Result<()> {
        self.write(file, &self.read(file)?)
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
    fn an_edit_that_finds_no_place_is_named_and_leaves_the_copies_alone() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let workshop = Workshop::open(Path::new("/no/such/cargo"), &root).unwrap();
        let edit = Edit { file: "paste/src/log.rs", old: "no such text", new: "" };
        let why = workshop.build(&[edit]).unwrap_err();
        assert!(why.to_string().contains("paste/src/log.rs: 0 times"), "{why:#}");
        let text = |path: PathBuf| fs::read_to_string(path.join("paste/src/log.rs")).unwrap();
        assert_eq!(text(workshop.sources), text(root));
    }
}
