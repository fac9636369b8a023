//! Argv, tested against golden files: one argument a line, flags with their value.

use super::*;
use crate::nvdimm::{Mode, Nvdimm};
use crate::spec::{BootFiles, Mac};
use crate::units::Mib;

fn spec() -> Spec {
    let root = Some("/image/root,1.squashfs".into());
    let boot = BootFiles { kernel: "/image/vmlinux".into(), initrd: "/image/initrd".into(), root };
    Spec::from_files("g", boot, Path::new("/run/g"))
}

fn lines(spec: &Spec) -> String {
    lines_of(spec, false)
}

fn lines_of(spec: &Spec, restored: bool) -> String {
    let wiring = Wiring { ram: "/proc/self/fd/9".into(), restored, console: 5, qmp: 6, agent: 7 };
    as_lines(argv(spec, &wiring))
}

fn as_lines(words: Vec<OsString>) -> String {
    let words = words.into_iter().map(|word| word.into_string().unwrap());
    words.fold(String::new(), |all, word| match word.strip_prefix('-') {
        Some(_) => format!("{all}\n{word}"),
        None => format!("{all} {word}"),
    })
}

#[track_caller]
fn assert_golden(spec: &Spec, golden: &str) {
    let lines = lines(spec);
    assert_eq!(lines.trim(), golden.trim(), "\nthe command line is now:\n{lines}\n");
}

#[test]
fn a_plain_guest() {
    assert_golden(&spec(), include_str!("golden/plain.txt"));
}

#[test]
fn a_guest_with_everything() {
    let dir = tempfile::tempdir().unwrap();
    let nvdimm = |name, mode| Nvdimm::create(dir.path().join(name), Mib(16), mode).unwrap();
    let socket = "/run/g/nic,0".into();
    let spec = spec()
        .ram(Mib(1024))
        .cpus(2)
        .accel(Accel::Kvm)
        .pvpanic()
        .nvdimm(nvdimm("a", Mode::Devdax))
        .nvdimm(nvdimm("b", Mode::Fsdax))
        .nic(Nic::VhostUser { socket, mac: Mac::local(1) })
        .nic(Nic::User { mac: Mac::local(2) })
        .nic(Nic::VhostKernel { tap: "tap0".into(), mac: Mac::local(3) })
        .kernel_arg("slub_debug=FZPU");
    let golden = include_str!("golden/everything.txt");
    let golden = golden.replace("DIR", &escaped(dir.path()).into_string().unwrap());
    assert_golden(&spec, &golden);
}

#[test]
fn a_closed_guest() {
    let dir = tempfile::tempdir().unwrap();
    let nvdimm = Nvdimm::seeded(dir.path().join("nv"), Mib(16), Mode::Devdax, 7).unwrap();
    let watch =
        Watch::trace("/observer.so".as_ref(), &dir.path().join("w"), Rules::default(), None);
    let mut spec = spec().nvdimm(nvdimm.named("./nv".into()));
    spec = spec.watch(watch.named("./observer.so".into(), "./w".into()));
    spec = spec.nic(Nic::Hub { mac: Mac::local(1) }).nic(Nic::Hub { mac: Mac::local(2) });
    (spec.boot.root, spec.closed) = (None, Some(7));
    let lines = as_lines(closed(&spec, 7, Path::new("./ram")));
    let golden = include_str!("golden/closed.txt");
    assert_eq!(lines.trim(), golden.trim(), "\nthe command line is now:\n{lines}\n");
}

#[test]
fn a_copy_of_a_template() {
    let lines = lines_of(&spec(), true);
    let memory = "id=ram,share=off,readonly=on,rom=off,size=512M,mem-path=/proc/self/fd/9";
    assert!(lines.contains(&format!("\n-object memory-backend-file,{memory}\n-incoming defer\n")));
}

#[test]
fn a_template_boots_without_the_driver_of_nvdimms() {
    let mut spec = spec();
    spec.nvdimm_later = true;
    assert!(lines(&spec).contains(" mitigations=off agent.later=nfit\n"));
}

#[test]
fn an_initrd_alone_needs_no_disk() {
    let mut spec = spec();
    spec.boot.root = None;
    assert!(!lines(&spec).contains("-drive"));
}

#[test]
fn commas_are_doubled() {
    assert_eq!(escaped(Path::new("/a,b,,c")), "/a,,b,,,,c");
}

#[test]
fn specs_that_qemu_would_refuse_are_refused() {
    let nic = |len| Nic::VhostUser { socket: "x".repeat(len).into(), mac: Mac::local(1) };
    assert!(spec().check().is_ok());
    assert!(spec().nic(nic(107)).check().is_ok());
    assert!(spec().nic(nic(108)).check().unwrap_err().to_string().contains("107 bytes"));
    assert!(spec().cpus(0).check().is_err());
    assert!(spec().ram(Mib(10)).check().is_err());
    assert!(Mac::new([1, 0, 0, 0, 0, 0]).unwrap_err().to_string().contains("group address"));
}
