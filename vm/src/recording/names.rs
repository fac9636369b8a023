//! Names: the symbols of a recording's instructions, as far as their files are there.

use std::path::Path;

use crash::symbols::{ElfSymbols, GuestSymbols, KernelSymbols};

use super::{Elf, Kernel, Recording};

impl Recording {
    /// The names of the run's instructions, from what the record names and from `more` programs;
    /// and what could not be read: without it instructions stay numbers.
    pub fn symbols(&self, more: &[Elf]) -> (GuestSymbols, Vec<String>) {
        let mut missing = Vec::new();
        let mut names = GuestSymbols::default();
        let own = self.record.elf.iter().map(|elf| Elf { path: self.at(&elf.path), ..*elf });
        for Elf { path, bias } in more.iter().cloned().chain(own) {
            names.programs.extend(kept(elf(&path, bias), &mut missing));
        }
        if let Some(kernel) = &self.record.kernel {
            names.kernel = Some(self.kernel(kernel, &mut missing));
        }
        (names, missing)
    }

    fn kernel(&self, kernel: &Kernel, missing: &mut Vec<String>) -> KernelSymbols {
        let mut text = |path: &Path| {
            let bytes = kept(file(&self.at(path)), missing).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let kallsyms = text(&kernel.kallsyms);
        let modules = kernel.modules.as_deref().map(text).unwrap_or_default();
        let mut names = KernelSymbols::parse(&kallsyms, &modules);
        for (module, path) in &kernel.files {
            if let Some(file) = kept(elf(&self.at(path), 0), missing) {
                names.add_module(module, file);
            }
        }
        names
    }

    /// A path of the record.
    fn at(&self, path: &Path) -> std::path::PathBuf {
        self.folder.join(path)
    }
}

fn elf(path: &Path, bias: u64) -> Result<ElfSymbols, String> {
    ElfSymbols::new(&file(path)?, bias).map_err(|error| format!("{}: {error}", path.display()))
}

fn file(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn kept<T>(read: Result<T, String>, missing: &mut Vec<String>) -> Option<T> {
    read.map_err(|why| missing.push(why)).ok()
}
