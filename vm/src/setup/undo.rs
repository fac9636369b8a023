//! Undo: taking away what set-up has added, and nothing else.

use std::path::{Path, PathBuf};

use super::added::{self, Added};
use super::{need_rights, plan, sudo};
use crate::error::{Error, Result};
use crate::image::Progress;
use crate::process::{Program, quoted};

/// What can be taken away again.
#[derive(Debug)]
pub struct Undo {
    state: PathBuf,
    left: Added,
    lines: Vec<String>,
}

impl Undo {
    /// Looks at what set-up has added and is still there.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Invalid`] if the notes cannot be read.
    pub fn find(state: &Path) -> Result<Self> {
        let left = still_there(Added::read(state)?)?;
        let lines = lines(&left, sudo());
        Ok(Self { state: state.to_owned(), left, lines })
    }

    /// The exact shell lines that take it away; empty if nothing is there.
    pub fn commands(&self) -> &[String] {
        &self.lines
    }

    /// Runs them, and notes what is left.
    ///
    /// # Errors
    /// [`Error::Missing`] without root's rights, [`Error::Invalid`] if apt would remove more than
    /// set-up has added, [`Error::Program`] for a command that failed.
    pub fn run(self, progress: Progress<'_>) -> Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        need_rights(&self.lines)?;
        self.refuse_more()?;
        let result = self.lines.iter().try_for_each(|line| {
            progress(line);
            Program::new("sh").args(["-e", "-c", line]).run_ok().map(drop)
        });
        // Also after a failure: a part may be gone.
        still_there(self.left)?.write(&self.state)?;
        result
    }

    /// Something installed later may need what set-up has added; apt would remove it, too.
    fn refuse_more(&self) -> Result<()> {
        if self.left.packages.is_empty() {
            return Ok(());
        }
        let rehearsal = Program::new("apt-get").args(["-s", "purge"]).args(&self.left.packages);
        let others = others(&rehearsal.run_ok()?.text(), &self.left.packages);
        if others.is_empty() {
            return Ok(());
        }
        let (what, others) = ("what set-up has added", others.join(" "));
        let reason = format!("is needed by other packages: remove them first: {others}");
        Err(Error::invalid(what, reason))
    }
}

fn still_there(mut added: Added) -> Result<Added> {
    if !added.packages.is_empty() {
        let installed = added::installed()?;
        added.packages.retain(|package| installed.contains(package));
    }
    added.files.retain(|file| Path::new(file).exists());
    Ok(added)
}

fn lines(added: &Added, sudo: &str) -> Vec<String> {
    let list = |items: &[String]| items.iter().map(quoted).collect::<Vec<_>>().join(" ");
    let mut lines = Vec::new();
    if !added.packages.is_empty() {
        lines.push(format!("{sudo}{} purge -y {}", plan::apt_get(), list(&added.packages)));
    }
    if !added.files.is_empty() {
        lines.push(format!("{sudo}rm -f {}", list(&added.files)));
    }
    lines
}

/// The packages beside `ours` that a rehearsal of apt would remove.
fn others(rehearsal: &str, ours: &[String]) -> Vec<String> {
    let removed = rehearsal.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let verb = words.next()?;
        ["Purg", "Remv"].contains(&verb).then(|| words.next()).flatten()
    });
    removed.filter(|name| !ours.iter().any(|own| own == name)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added() -> Added {
        Added { packages: vec!["lz4".into(), "kmod".into()], files: vec!["/etc/x y".into()] }
    }

    #[test]
    fn packages_go_before_files() {
        let lines = lines(&added(), "sudo ");
        assert!(lines[0].starts_with("sudo env DEBIAN_FRONTEND=noninteractive apt-get "));
        assert!(lines[0].ends_with(" purge -y lz4 kmod"), "{}", lines[0]);
        assert_eq!(lines[1], "sudo rm -f '/etc/x y'");
        assert!(super::lines(&Added::default(), "").is_empty());
    }

    #[test]
    fn what_others_need_is_found_in_the_rehearsal() {
        let text = "Reading package lists...\nPurg lz4 [1.9]\nRemv mine [2]\nPurg kmod [30]\n";
        assert_eq!(others(text, &added().packages), ["mine"]);
        assert!(others("Purg lz4 [1.9]\n", &added().packages).is_empty());
    }

    #[test]
    fn nothing_added_is_nothing_to_undo() {
        let state = tempfile::tempdir().unwrap();
        let undo = Undo::find(state.path()).unwrap();
        assert!(undo.commands().is_empty());
        undo.run(&mut |line| panic!("{line}")).unwrap();
    }

    #[test]
    fn files_are_removed_and_forgotten() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("a list").display().to_string();
        std::fs::write(&file, "x").unwrap();
        Added { packages: Vec::new(), files: vec![file.clone()] }.write(state.path()).unwrap();
        let undo = Undo {
            lines: vec![format!("rm -f {}", quoted(&file))],
            ..Undo::find(state.path()).unwrap()
        };
        undo.run(&mut |_| ()).unwrap();
        assert!(!Path::new(&file).exists());
        assert_eq!(Added::read(state.path()).unwrap(), Added::default());
    }

    #[test]
    fn after_a_failure_the_notes_tell_what_is_left() {
        let state = tempfile::tempdir().unwrap();
        let [gone, stays] = ["gone", "stays"].map(|name| state.path().join(name));
        std::fs::write(&gone, "x").and_then(|()| std::fs::write(&stays, "x")).unwrap();
        let files = [&gone, &stays].map(|file| file.display().to_string()).to_vec();
        Added { packages: Vec::new(), files: files.clone() }.write(state.path()).unwrap();
        let lines = vec![format!("rm {}", quoted(&files[0])), "false".to_owned()];
        let undo = Undo { lines, ..Undo::find(state.path()).unwrap() };
        assert!(undo.run(&mut |_| ()).is_err());
        assert_eq!(Added::read(state.path()).unwrap().files, files[1..]);
    }
}
