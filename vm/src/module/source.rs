//! Source files: what takes part in a module's build, in a fixed order.

use std::fs;
use std::path::{Path, PathBuf};

use super::Module;
use crate::error::{Error, Result};

/// One source file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SourceFile {
    /// Its path relative to the module's folder.
    pub(super) path: PathBuf,
    pub(super) content: Vec<u8>,
}

/// Reads a module's source, sorted by path.
pub(super) fn read(module: &Module<'_>) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = module.folders.iter().map(PathBuf::from).collect();
    while let Some(folder) = folders.pop() {
        let full = module.dir.join(&folder);
        for entry in fs::read_dir(&full).map_err(|e| Error::io("read", &full, e))? {
            let entry = entry.map_err(|e| Error::io("read", &full, e))?;
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(path);
            } else if is_source(&path) {
                let content = fs::read(entry.path());
                let content = content.map_err(|e| Error::io("read", &entry.path(), e))?;
                files.push(SourceFile { path, content });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Whether a file is written by people: kbuild leaves `x.mod.c`, `.x.o.cmd` and more beside them.
fn is_source(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let made = name.starts_with('.') || name.ends_with(".mod.c");
    let written = ["Kbuild", "Kconfig", "Makefile"].contains(&name.as_ref())
        || [".c", ".h", ".S"].iter().any(|end| name.ends_with(end));
    written && !made
}
