//! ELF files: programs, and kernel modules, whose debug information refers to unplaced sections.

use std::borrow::Cow;
use std::sync::Arc;

use gimli::{Dwarf, EndianArcSlice, RunTimeEndian, SectionId};
use object::{File, Object, ObjectKind, ObjectSection, ObjectSymbol, RelocationTarget, SymbolKind};

use crate::event::Pc;
use crate::report::Symbols;

/// In a file with unplaced sections each gets this much of an address space of its own.
const ROOM: u64 = 1 << 32;

/// Why a file has no symbols.
#[derive(Debug, thiserror::Error)]
#[error("read the symbols: {0}")]
pub struct NoElf(String);

#[derive(Debug)]
struct Function {
    start: u64,
    end: u64,
    name: String,
}

/// The symbols of an ELF file.
pub struct ElfSymbols {
    bias: u64,
    lines: addr2line::Context<EndianArcSlice<RunTimeEndian>>,
    /// By address.
    functions: Vec<Function>,
}

impl std::fmt::Debug for ElfSymbols {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ElfSymbols").field("bias", &self.bias).finish_non_exhaustive()
    }
}

impl ElfSymbols {
    /// Reads a file that was loaded `bias` bytes above its own addresses.
    ///
    /// # Errors
    /// If it is no ELF file, or its debug information makes no sense.
    pub fn new(bytes: &[u8], bias: u64) -> Result<Self, NoElf> {
        let wrong = |error: &dyn std::fmt::Display| NoElf(error.to_string());
        let file = File::parse(bytes).map_err(|error| wrong(&error))?;
        let dwarf = Dwarf::load(|id| section(&file, id)).map_err(|error| wrong(&error))?;
        let lines = addr2line::Context::from_dwarf(dwarf).map_err(|error| wrong(&error))?;
        let mut functions: Vec<_> = file
            .symbols()
            .filter_map(|symbol| {
                let name = symbol.name().ok().filter(|_| symbol.kind() == SymbolKind::Text)?;
                let start = placed(&file, &symbol);
                Some(Function { start, end: start + symbol.size().max(1), name: name.to_owned() })
            })
            .collect();
        functions.sort_by_key(|function| function.start);
        Ok(Self { bias, lines, functions })
    }

    /// The address of a function as the file has it.
    pub(super) fn address(&self, name: &str) -> Option<u64> {
        let function = self.functions.iter().find(|function| function.name == name);
        function.map(|function| function.start)
    }

    /// What stands at an address of the file: function, file and line, as far as they are known.
    pub(super) fn at(&self, address: u64) -> Option<String> {
        let mut frames = self.lines.find_frames(address).skip_all_loads().ok()?;
        let frame = frames.next().ok().flatten();
        let name = frame.as_ref().and_then(|frame| frame.function.as_ref());
        let name = name.and_then(|name| name.demangle().ok().map(Cow::into_owned));
        let name = name.or_else(|| self.function(address));
        let location = frame.and_then(|frame| frame.location);
        let place = location.and_then(|place| Some(format!("{}:{}", place.file?, place.line?)));
        match (name, place) {
            (Some(name), Some(place)) => Some(format!("{name} at {place}")),
            (name, place) => name.or(place),
        }
    }

    fn function(&self, address: u64) -> Option<String> {
        let after = self.functions.partition_point(|function| function.start <= address);
        let function = self.functions.get(after.checked_sub(1)?)?;
        (address < function.end)
            .then(|| format!("{}+{:#x}", function.name, address - function.start))
    }
}

impl Symbols for ElfSymbols {
    fn name(&self, pc: Pc) -> Option<String> {
        self.at(pc.0.checked_sub(self.bias)?)
    }
}

/// A section of debug information, with its references to other sections filled in.
fn section(file: &File<'_>, id: SectionId) -> Result<EndianArcSlice<RunTimeEndian>, object::Error> {
    let mut data = Vec::new();
    if let Some(section) = file.section_by_name(id.name()) {
        data = section.uncompressed_data()?.into_owned();
        if file.kind() == ObjectKind::Relocatable {
            for (offset, relocation) in section.relocations() {
                let RelocationTarget::Symbol(index) = relocation.target() else { continue };
                let symbol = file.symbol_by_index(index)?;
                let value = placed(file, &symbol).wrapping_add_signed(relocation.addend());
                let bytes = usize::from(relocation.size() / 8).min(8);
                let place =
                    usize::try_from(offset).ok().and_then(|at| data.get_mut(at..at + bytes));
                if let Some(place) = place {
                    place.copy_from_slice(&value.to_le_bytes()[..bytes]);
                }
            }
        }
    }
    let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    Ok(EndianArcSlice::new(Arc::from(data), endian))
}

/// A symbol's address; in a file with unplaced sections of code, in its section's own room.
/// Sections of debug information start at 0, as references to them count.
fn placed<'a>(file: &File<'a>, symbol: &impl ObjectSymbol<'a>) -> u64 {
    let index = symbol.section_index().filter(|_| file.kind() == ObjectKind::Relocatable);
    let code = index.filter(|index| {
        let section = file.section_by_index(*index);
        section.is_ok_and(|section| section.kind() == object::SectionKind::Text)
    });
    let room = code.map_or(0, |index| index.0 as u64 * ROOM);
    symbol.address() + room
}
