//! Elf: what a program needs before its first instruction, and whether a guest has it.

use std::path::Path;

/// Where a guest's loader looks for libraries.
const LIBRARIES: [&str; 6] =
    ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib64", "lib", "usr/lib"];

/// Segments of a program file, by the number that stands for their kind.
const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const INTERPRETER: u32 = 3;

/// Entries of the dynamic segment.
const NEEDED: u64 = 1;
const STRINGS: u64 = 5;

/// What a program file asks of the system that starts it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    /// The program that loads it: a dynamic loader, or a script's interpreter.
    pub(crate) loader: Option<String>,
    /// Libraries by name.
    pub(crate) libraries: Vec<String>,
    /// Why no guest can run it.
    pub(crate) misfit: Option<&'static str>,
}

impl Wants {
    /// Reads a program file; one that makes no sense wants nothing.
    pub(crate) fn of(file: &[u8]) -> Self {
        if let Some(script) = file.strip_prefix(b"#!") {
            let line = script.split(|&byte| byte == b'\n').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            let loader = line.split_whitespace().next().map(str::to_owned);
            return Self { loader, ..Self::default() };
        }
        if !file.starts_with(b"\x7fELF") {
            let misfit = Some("neither an ELF program nor a script with a #! line");
            return Self { misfit, ..Self::default() };
        }
        // 64 bits, little-endian, x86-64.
        if file.get(4..6) != Some(&[2, 1]) || number(file, 18, 2) != Some(62) {
            return Self { misfit: Some("not for x86-64"), ..Self::default() };
        }
        let segments = segments(file);
        let loader = segments.iter().find(|s| s.kind == INTERPRETER).and_then(|segment| {
            text(file, segment.offset) //
        });
        Self { loader, libraries: libraries(file, &segments).unwrap_or_default(), misfit: None }
    }

    /// What of it a guest with this tree lacks, in words with a way out; `put` are the names of
    /// files that were copied in.
    pub(crate) fn missing(&self, tree: &Path, put: &[String]) -> Option<String> {
        if let Some(why) = self.misfit {
            return Some(format!("the program is {why}"));
        }
        // A link in the tree may be absolute and lead outside of it.
        let is_there = |path: &str| tree.join(path).symlink_metadata().is_ok();
        if let Some(loader) = &self.loader
            && !is_there(loader.trim_start_matches('/'))
        {
            return Some(format!(
                "the guest lacks {loader}, which loads the program: \
                 link it statically, or copy that in with --put"
            ));
        }
        let found = |name: &String| {
            put.contains(name) || LIBRARIES.iter().any(|dir| is_there(&format!("{dir}/{name}")))
        };
        let absent: Vec<&str> =
            self.libraries.iter().filter(|name| !found(name)).map(String::as_str).collect();
        (!absent.is_empty()).then(|| {
            format!(
                "the guest lacks {}: link the program statically, or copy the library with --put \
                 FILE:/usr/lib/x86_64-linux-gnu/NAME",
                absent.join(", ")
            )
        })
    }
}

/// A part of a program file.
#[derive(Debug)]
pub(crate) struct Segment {
    kind: u32,
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// At which address.
    pub(crate) address: u64,
    /// Its length in the file.
    pub(crate) len: u64,
}

/// What of a program file is loaded.
pub(crate) fn loaded(file: &[u8]) -> Vec<Segment> {
    segments(file).into_iter().filter(|segment| segment.kind == LOAD).collect()
}

/// Whether a program is loaded at its own addresses (type `ET_EXEC`).
pub(crate) fn is_fixed(file: &[u8]) -> bool {
    number(file, 16, 2) == Some(2)
}

fn segments(file: &[u8]) -> Vec<Segment> {
    let parse = |at: u64| {
        Some(Segment {
            kind: u32::try_from(number(file, at, 4)?).ok()?,
            offset: number(file, at + 8, 8)?,
            address: number(file, at + 16, 8)?,
            len: number(file, at + 32, 8)?,
        })
    };
    let head = (number(file, 32, 8), number(file, 54, 2), number(file, 56, 2));
    let (Some(start), Some(size), Some(count)) = head else { return Vec::new() };
    (0..count).map_while(|index| parse(start.checked_add(index * size)?)).collect()
}

fn libraries(file: &[u8], segments: &[Segment]) -> Option<Vec<String>> {
    let dynamic = segments.iter().find(|segment| segment.kind == DYNAMIC)?;
    let entries: Vec<(u64, u64)> = (0..dynamic.len / 16)
        .map_while(|index| {
            let at = dynamic.offset.checked_add(index * 16)?;
            Some((number(file, at, 8)?, number(file, at + 8, 8)?))
        })
        .take_while(|(tag, _)| *tag != 0)
        .collect();
    let strings = entries.iter().find(|(tag, _)| *tag == STRINGS)?.1;
    let holder = segments.iter().find(|segment| {
        let end = segment.address.saturating_add(segment.len);
        segment.kind == LOAD && (segment.address..end).contains(&strings)
    })?;
    let start = holder.offset.checked_add(strings - holder.address)?;
    let names = entries.iter().filter(|(tag, _)| *tag == NEEDED);
    Some(names.filter_map(|(_, name)| text(file, start.checked_add(*name)?)).collect())
}

/// A little-endian number of up to 8 bytes.
fn number(file: &[u8], at: u64, len: usize) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    let bytes = file.get(at..at.checked_add(len)?)?;
    Some(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

/// Text up to a byte 0.
fn text(file: &[u8], at: u64) -> Option<String> {
    let rest = file.get(usize::try_from(at).ok()?..)?;
    let len = rest.iter().position(|&byte| byte == 0)?;
    String::from_utf8(rest[..len].to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_wants_a_loader_and_libc() {
        let me = std::fs::read("/proc/self/exe").unwrap();
        let wants = Wants::of(&me);
        assert!(wants.loader.as_deref().unwrap().contains("ld-linux"), "{wants:?}");
        assert!(wants.libraries.iter().any(|name| name == "libc.so.6"), "{wants:?}");
        let empty = tempfile::tempdir().unwrap();
        let why = wants.missing(empty.path(), &[]).unwrap();
        assert!(why.contains(wants.loader.as_deref().unwrap()), "{why}");
    }

    #[test]
    fn a_missing_library_is_named_unless_it_was_copied_in() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tree.path().join("usr/lib")).unwrap();
        std::fs::write(tree.path().join("usr/lib/libb.so"), "").unwrap();
        let libraries = vec!["liba.so.1".to_owned(), "libb.so".to_owned()];
        let wants = Wants { libraries, ..Wants::default() };
        let why = wants.missing(tree.path(), &[]).unwrap();
        assert!(why.starts_with("the guest lacks liba.so.1:"), "{why}");
        assert_eq!(wants.missing(tree.path(), &["liba.so.1".to_owned()]), None);
    }

    #[test]
    fn scripts_and_strangers_are_told_apart() {
        let script = Wants::of(b"#! /usr/bin/python3 -u\nprint()\n");
        assert_eq!(script.loader.as_deref(), Some("/usr/bin/python3"));
        assert!(Wants::of(b"hello").misfit.is_some());
        assert!(Wants::of(b"").misfit.is_some());
        let mut other = b"\x7fELF\x02\x01".to_vec();
        other.resize(64, 0);
        assert_eq!(Wants::of(&other).misfit, Some("not for x86-64"));
        // Cut short anywhere, a program is no reason to panic.
        let me = std::fs::read("/proc/self/exe").unwrap();
        for len in 0..2000 {
            Wants::of(&me[..len]);
        }
    }
}
