//! Symbols, tests: the compiler's output is read back.

use std::path::Path;
use std::process::Command;

use crash::Pc;
use crash::report::Symbols;
use crash::symbols::{ElfSymbols, GuestSymbols, KernelSymbols};

const SOURCE: &str = "static int other;\n\
    void first(void) { other = 1; }\n\
    __attribute__((section(\".init.text\"))) void second(void)\n\
    {\n\
    \tother = 2;\n\
    }\n\
    int main(void) { first(); second(); return other; }\n";

fn compile(folder: &Path, options: &[&str]) -> Vec<u8> {
    let (source, out) = (folder.join("log.c"), folder.join("out"));
    std::fs::write(&source, SOURCE).expect("write the source");
    let compiler = Command::new("cc").args(options).arg("-o").arg(&out).arg(&source).status();
    assert!(compiler.expect("a C compiler").success());
    std::fs::read(out).expect("the compiler wrote this")
}

/// The address of a symbol as `nm` tells it.
fn address(folder: &Path, name: &str) -> u64 {
    let table = Command::new("nm").arg(folder.join("out")).output().expect("nm").stdout;
    let table = String::from_utf8(table).expect("text");
    let line = table.lines().find(|line| line.ends_with(&format!(" {name}")));
    let address = line.and_then(|line| line.split(' ').next()).expect("the symbol is there");
    u64::from_str_radix(address, 16).expect("an address")
}

#[test]
fn a_program_has_functions_files_and_lines() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), &["-g", "-O0", "-no-pie"]);
    let second = address(folder.path(), "second");
    let symbols = ElfSymbols::new(&program, 0x1000).unwrap();
    let name = symbols.name(Pc(second + 0x1000)).unwrap();
    assert!(name.starts_with("second at ") && name.ends_with("log.c:4"), "{name}");
    assert_eq!(symbols.name(Pc(0x10)), None);
    let guest = GuestSymbols { programs: vec![symbols], kernel: None };
    assert!(guest.name(Pc(second + 0x1000)).is_some());
    assert_eq!(guest.name(Pc(u64::MAX)), None);
}

#[test]
fn a_program_without_debug_information_has_functions() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), &["-O0", "-no-pie"]);
    let second = address(folder.path(), "second");
    let symbols = ElfSymbols::new(&program, 0).unwrap();
    assert_eq!(symbols.name(Pc(second + 1)).as_deref(), Some("second+0x1"));
}

#[test]
fn a_kernel_module_has_lines_though_it_is_not_placed() {
    let folder = tempfile::tempdir().unwrap();
    let module = compile(folder.path(), &["-g", "-O0", "-c"]);
    let kallsyms = "ffffffffc0001000 t first\t[log]\nffffffffc0005000 t second\t[log]\n";
    let mut kernel = KernelSymbols::parse(kallsyms, "");
    assert_eq!(kernel.name(Pc(0xffff_ffff_c000_5004)).as_deref(), Some("second+0x4 [log]"));
    kernel.add_module("log", ElfSymbols::new(&module, 0).unwrap());
    for (pc, function, line) in
        [(0xffff_ffff_c000_1000, "first", ":2"), (0xffff_ffff_c000_5000, "second", ":4")]
    {
        let name = kernel.name(Pc(pc)).unwrap();
        assert!(name.starts_with(function), "{name}");
        assert!(name.contains(&format!("log.c{line} [log]")), "{name}");
    }
}

#[test]
fn what_is_no_elf_file_says_so() {
    for bad in [&b""[..], b"\x7fELF", b"#!/bin/sh\n", &[0xff; 4096]] {
        let error = ElfSymbols::new(bad, 0).unwrap_err();
        assert!(error.to_string().starts_with("read the symbols: "), "{error}");
    }
}
