//! The kernel's symbols: the text of a guest's `/proc/kallsyms`, and files of its modules.

use std::collections::BTreeMap;

use super::elf::ElfSymbols;
use crate::event::Pc;
use crate::report::Symbols;

/// A function that is longer than this is rather a gap between modules.
const LONGEST: u64 = 1 << 20;

#[derive(Debug)]
struct Symbol {
    name: String,
    module: Option<String>,
}

/// The symbols of a kernel.
#[derive(Debug, Default)]
pub struct KernelSymbols {
    symbols: BTreeMap<u64, Symbol>,
    /// The last address of each module, if known.
    ends: BTreeMap<String, u64>,
    files: BTreeMap<String, ElfSymbols>,
}

impl KernelSymbols {
    /// Reads `/proc/kallsyms`, and `/proc/modules` (which may be empty); lines that make no sense
    /// are left out, as are addresses that the guest hides.
    pub fn parse(kallsyms: &str, modules: &str) -> Self {
        let symbols = kallsyms.lines().filter_map(symbol).collect();
        let ends = modules.lines().filter_map(module_end).collect();
        Self { symbols, ends, files: BTreeMap::new() }
    }

    /// Adds a module's file, for file and line.
    pub fn add_module(&mut self, name: &str, file: ElfSymbols) {
        self.files.insert(name.to_owned(), file);
    }
}

impl Symbols for KernelSymbols {
    fn name(&self, pc: Pc) -> Option<String> {
        let (start, symbol) = self.symbols.range(..=pc.0).next_back()?;
        let inside = pc.0 - start;
        let end = symbol.module.as_ref().and_then(|module| self.ends.get(module));
        if inside > LONGEST || end.is_some_and(|end| pc.0 >= *end) {
            return None;
        }
        let name = format!("{}+{inside:#x}", symbol.name);
        let Some(module) = &symbol.module else { return Some(name) };
        let file = self.files.get(module);
        let place = file.and_then(|file| file.at(file.address(&symbol.name)? + inside));
        Some(format!("{} [{module}]", place.unwrap_or(name)))
    }
}

/// `ffffffffc0123000 t function<tab>[module]`.
fn symbol(line: &str) -> Option<(u64, Symbol)> {
    let mut words = line.split_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok().filter(|address| *address != 0)?;
    if !matches!(words.next()?, "t" | "T" | "w" | "W") {
        return None;
    }
    let name = words.next()?.to_owned();
    let module = words.next().map(|module| module.trim_matches(['[', ']']).to_owned());
    Some((address, Symbol { name, module }))
}

/// `paste 20480 0 - Live 0xffffffffc0123000 (OE)`.
fn module_end(line: &str) -> Option<(String, u64)> {
    let words: Vec<_> = line.split_whitespace().collect();
    let start = u64::from_str_radix(words.get(5)?.strip_prefix("0x")?, 16).ok()?;
    let len: u64 = words.get(1)?.parse().ok()?;
    Some(((*words.first()?).to_owned(), start.checked_add(len)?)).filter(|_| start != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_kernel_and_modules_are_found() {
        let kallsyms = "ffffffff81000000 T _text\n\
            ffffffff81000100 t memset_erms\n\
            ffffffff81000110 d data\n\
            0000000000000000 t hidden\n\
            ffffffffc0001000 t paste_push\t[paste]\n\
            nonsense\n";
        let modules = "paste 4096 0 - Live 0xffffffffc0001000 (OE)\nbad line\n";
        let kernel = KernelSymbols::parse(kallsyms, modules);
        let name = |pc| kernel.name(Pc(pc));
        assert_eq!(name(0xffff_ffff_8100_0123).as_deref(), Some("memset_erms+0x23"));
        assert_eq!(name(0xffff_ffff_c000_1008).as_deref(), Some("paste_push+0x8 [paste]"));
        assert_eq!(name(0xffff_ffff_c000_2000), None);
        assert_eq!(name(0xffff_ffff_a000_0000), None);
        assert_eq!(name(0x40_0000), None);
        assert_eq!(KernelSymbols::parse("", "").name(Pc(u64::MAX)), None);
    }
}
