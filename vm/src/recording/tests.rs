//! Recordings, tested: whole ones are read, and nothing else is.

use std::io::Write;

use crash::report::Symbols;
use crash::{Pc, Recording as Program, Rules};

use super::*;

const BYTES: usize = 4096;

fn record() -> Record {
    Record {
        schema: SCHEMA,
        window: Window::new(64, 1024).unwrap(),
        guest: Some("debian-12".into()),
        program: vec!["./log".into(), "two words".into()],
        command: vec!["vmctl".into()],
        versions: [("qemu".into(), "10.0.2".into())].into(),
        elf: Vec::new(),
        kernel: None,
    }
}

/// A folder with a recording of one store.
fn folder(record: &Record) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let image = vec![7; BYTES];
    let mut program = Program::over(image.clone());
    program.at(0x1000).store(64, b"hello");
    let header = Header {
        nvdimm_bytes: BYTES as u64,
        base: BASE.into(),
        base_hash: trace::hash(&image),
        seed: 3,
        rules: Rules::default(),
        command: vec!["qemu".into()],
    };
    let file = File::create(folder.path().join(TRACE)).unwrap();
    let mut writer = trace::Writer::new(file, &header).unwrap();
    program.events.iter().try_for_each(|event| writer.write(event)).unwrap();
    writer.finish().unwrap();
    fs::write(folder.path().join(BASE), image).unwrap();
    record.write(folder.path()).unwrap();
    folder
}

fn refusal(folder: &Path) -> String {
    Recording::open(folder).unwrap_err().to_string()
}

#[test]
fn a_recording_is_read_as_it_was_written() {
    let folder = folder(&record());
    let read = Recording::open(folder.path()).unwrap();
    assert_eq!((&read.record, read.header.seed), (&record(), 3));
    assert_eq!((read.events.len(), read.image.len()), (1, BYTES));
    assert!(read.cut.is_none());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn writes_outside_the_window_are_counted() {
    let folder = folder(&record());
    let mut read = Recording::open(folder.path()).unwrap();
    assert_eq!(read.writes_outside(), 0);
    let mut program = Program::new(BYTES);
    for (offset, len) in [(0, 8), (60, 8), (64, 8), (1080, 8), (1081, 8), (4000, 8)] {
        program.store(offset, &[1; 64][..len]);
    }
    read.events = program.events;
    assert_eq!(read.writes_outside(), 4);
}

#[test]
fn what_is_missing_is_named_with_what_should_be_there() {
    for name in [TRACE, BASE, RECORD] {
        let folder = folder(&record());
        fs::remove_file(folder.path().join(name)).unwrap();
        let why = refusal(folder.path());
        assert!(why.contains(&format!("{name}: not there; a recording is a folder")), "{why}");
    }
    assert!(refusal(Path::new("/etc/passwd")).contains("a recording is a folder"));
}

#[test]
fn a_foreign_trace_is_none() {
    let folder = folder(&record());
    let trace = folder.path().join(TRACE);
    fs::write(&trace, b"\x7fELF and so on").unwrap();
    assert!(refusal(folder.path()).contains("trace.bin: this is no trace"));
    fs::write(&trace, b"").unwrap();
    assert!(refusal(folder.path()).contains("trace.bin: this is no trace"));
}

#[test]
fn a_truncated_trace_is_good_up_to_there_and_says_so() {
    let folder = folder(&record());
    let trace = folder.path().join(TRACE);
    let bytes = fs::read(&trace).unwrap();
    fs::write(&trace, &bytes[..bytes.len() - 1]).unwrap();
    let read = Recording::open(folder.path()).unwrap();
    assert_eq!(read.events.len(), 1);
    assert!(read.cut.unwrap().to_string().contains("truncated after 1 events"));
}

#[test]
fn an_image_of_another_nvdimm_is_refused() {
    let folder = folder(&record());
    let base = folder.path().join(BASE);
    File::options().append(true).open(&base).unwrap().write_all(&[0; 64]).unwrap();
    let why = refusal(folder.path());
    assert!(why.contains("base.img: the trace is of an NVDIMM of 4096 bytes, the image has 4160"));
    fs::write(&base, vec![8; BYTES]).unwrap();
    assert!(refusal(folder.path()).contains("not the one from which the trace starts"));
}

#[test]
fn a_record_that_makes_no_sense_is_refused() {
    let folder = folder(&record());
    let path = folder.path().join(RECORD);
    for (text, why) in [
        ("[]", "this is no record"),
        (r#"{"schema":1}"#, "missing field `window`"),
        (r#"{"schema":2,"other":0}"#, "it has schema 2; this program reads schema 1"),
        (r#"{"schema":1,"window":{"offset":1,"len":64}}"#, "whole lines"),
    ] {
        fs::write(&path, text).unwrap();
        assert!(refusal(folder.path()).contains(why), "{}", refusal(folder.path()));
    }
    let outside = Record { window: Window::new(64, BYTES as u64).unwrap(), ..record() };
    outside.write(folder.path()).unwrap();
    assert!(refusal(folder.path()).contains("its window lies outside the NVDIMM"));
}

#[test]
fn names_come_from_where_the_record_says_and_what_is_missing_is_told() {
    let files = [("paste".to_owned(), "gone.ko".into())].into();
    let modules = Some("modules".into());
    let kernel = Some(Kernel { kallsyms: "kallsyms".into(), modules, files });
    let elf = vec![Elf { path: "no-elf".into(), bias: 0 }];
    let folder = folder(&Record { elf, kernel, ..record() });
    fs::write(folder.path().join("kallsyms"), "ffffffff81000100 t memset_erms\n").unwrap();
    fs::write(folder.path().join("no-elf"), "#!/bin/sh\n").unwrap();
    let read = Recording::open(folder.path()).unwrap();
    let own = Elf { path: std::env::current_exe().unwrap(), bias: 0 };
    let (names, missing) = read.symbols(&[own]);
    assert_eq!(names.programs.len(), 1);
    assert_eq!(names.name(Pc(0xffff_ffff_8100_0123)).as_deref(), Some("memset_erms+0x23"));
    assert_eq!(missing.len(), 3, "{missing:?}");
    for (told, name) in missing.iter().zip(["no-elf", "modules", "gone.ko"]) {
        assert!(told.contains(name), "{told}");
    }
}
