//! Command `doctor`: what this machine has, what it lacks, and the line that mends it.

use std::fmt::Write;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::toolchain;
use vm::process::Program;
use vm::setup::{self, Report};
use vm::{Mib, accel, host, image};

use crate::cli::DoctorArgs;
use crate::env;
use crate::exit::Exit;
use crate::report::progress::Progress;

use super::gate;

/// The oldest compiler that builds the project.
const OLDEST_RUST: host::Version = host::Version(1, 91);

/// Twice the memory of a guest: see `vm::Spec`.
const SHARED_MEMORY: Mib = Mib(1024);
/// Image, downloaded packages, and what a run leaves.
const DISK: Mib = Mib(2048);

/// How long a program may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was found out about one requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    state: State,
    what: String,
    found: String,
    /// The way out, if something is to be done.
    fix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Good,
    /// `test all` does not work like this.
    Bad,
    /// Worth knowing; nothing depends on it.
    Note,
}

impl Finding {
    fn good(what: &str, found: impl Into<String>) -> Self {
        Self { state: State::Good, what: what.to_owned(), found: found.into(), fix: None }
    }

    fn note(what: &str, found: impl Into<String>) -> Self {
        Self { state: State::Note, ..Self::good(what, found) }
    }

    fn bad(what: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { state: State::Bad, fix: Some(fix.into()), ..Self::good(what, found) }
    }
}

/// Looks at this machine and tells.
pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<Exit> {
    let mut progress = Progress::new(false);
    progress.step("looking at the programs");
    let report = setup::check(&gate::options(&args.host)?);
    let qemu = args.host.qemu.clone().unwrap_or_else(|| PathBuf::from(host::QEMU));
    let cache = env::cache_dir()?;
    let mut findings = vec![rust()];
    findings.extend(programs(report));
    findings.extend([namespaces(), room(Path::new(host::SHARED_MEMORY), SHARED_MEMORY)]);
    findings.push(room(existing(&cache), DISK));
    progress.step("asking QEMU what it has");
    findings.extend([nvdimm(&qemu), plugins(&qemu), vhost_user(&qemu), vhost_net()]);
    progress.step("asking KVM to boot a guest");
    findings.push(kvm(&qemu, &cache));
    progress.close();
    print!("{}", table(&findings));
    let is_bad = findings.iter().any(|finding| finding.state == State::Bad);
    println!("{}", if is_bad { "something is to be done" } else { "ready: vmctl test all" });
    Ok(if is_bad { Exit::Infrastructure } else { Exit::Pass })
}

fn rust() -> Finding {
    let what = format!("Rust {OLDEST_RUST} or newer");
    let here = env::project_root().unwrap_or_else(|_| PathBuf::from("."));
    let line = match toolchain::cargo_version(&env::cargo(), &here, PATIENCE) {
        Ok(line) => line,
        Err(vm::Error::Missing { what: found, hint }) => return Finding::bad(&what, found, hint),
        Err(error) => return Finding::bad(&what, error.to_string(), toolchain::WAY_OUT),
    };
    match rust_version(&line) {
        Some(version) if version >= OLDEST_RUST => Finding::good(&what, line),
        _ => Finding::bad(&what, line, "rustup update stable"),
    }
}

/// The version in "cargo 1.91.0 (abc 2026-01-01)".
fn rust_version(line: &str) -> Option<host::Version> {
    let mut numbers = line.split(' ').nth(1)?.split('.');
    Some(host::Version(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// What set-up looks for.
fn programs(report: vm::Result<Report>) -> Vec<Finding> {
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            let fix = "give another one with --qemu, or none to use the one in PATH";
            return vec![Finding::bad("QEMU", error.to_string(), fix)];
        }
    };
    let mut findings = Vec::new();
    if let Some(qemu) = &report.qemu {
        findings.push(Finding::good("QEMU 10.0 or newer", qemu.line.clone()));
    }
    let found = report.found.iter();
    findings.extend(found.map(|need| Finding::good(need.program, format!("can {}", need.why))));
    let fix = match report.advice() {
        Some(advice) => advice.to_owned(),
        None => format!("vmctl setup, which runs:\n{}", report.commands().join("\n")),
    };
    // One fix mends them all; it stands at the last one.
    let absent = report
        .missing
        .iter()
        .map(|line| Finding { state: State::Bad, ..Finding::good(line, "missing") });
    findings.extend(absent);
    if let Some(last) = findings.last_mut().filter(|last| last.state == State::Bad) {
        last.fix = Some(fix);
    }
    findings
}

/// The guest's compiler runs in the guest's tree, in a mount namespace. Users other than root are
/// root only in a user namespace of their own.
fn namespaces() -> Finding {
    let what = "namespaces";
    let is_root = nix::unistd::geteuid().is_root();
    let user: &[&str] = if is_root { &[] } else { &["--user", "--map-root-user"] };
    let words = ["--mount", "--propagation", "private", "mount", "-t", "tmpfs", "tmpfs", "/tmp"];
    let fix = if !host::root_is_mounted() {
        host::MOUNT_ROOT
    } else if is_root {
        "in a container: start it with --cap-add SYS_ADMIN --security-opt seccomp=unconfined \
         --security-opt apparmor=unconfined"
    } else {
        "sudo sysctl -w kernel.unprivileged_userns_clone=1 \
         kernel.apparmor_restrict_unprivileged_userns=0 (of these what your kernel has)"
    };
    match Program::new("unshare").args(user).args(words).timeout(PATIENCE).run_ok() {
        Ok(_) => Finding::good(what, "this user may mount in one (to build kernel modules)"),
        Err(error) => Finding::bad(what, error.to_string(), fix),
    }
}

fn room(place: &Path, need: Mib) -> Finding {
    let what = format!("{need} free in {}", place.display());
    let fix = "free some room there, or (in a container) start it with --shm-size 2g";
    match host::free_space(place) {
        Ok(free) if free >= need => Finding::good(&what, format!("{free} free")),
        Ok(free) => Finding::bad(&what, format!("{free} free"), fix),
        Err(error) => Finding::bad(&what, format!("{:#}", anyhow::Error::from(error)), fix),
    }
}

/// The nearest folder above that is there already.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|place| place.is_dir()).unwrap_or(Path::new("/"))
}

fn nvdimm(qemu: &Path) -> Finding {
    let own = std::fs::read_dir("/sys/bus/nd/devices").map_or(0, Iterator::count);
    let own = match own {
        0 => "this machine has none of its own, and needs none",
        _ => "this machine has its own, which are never touched",
    };
    let words = ["-machine", "q35", "-device", "nvdimm,help"];
    match Program::new(qemu).args(words).timeout(PATIENCE).run_ok() {
        Ok(_) => Finding::good("NVDIMM", format!("QEMU emulates it on a file; {own}")),
        Err(error) => Finding::bad("NVDIMM", first_line(&error), "install a QEMU that has it"),
    }
}

/// Nothing is built for this question: a QEMU with plugins says that it cannot load this one.
fn plugins(qemu: &Path) -> Finding {
    let what = "plugins of QEMU";
    match host::load_plugin(qemu, Path::new("/dev/null"), "out=/dev/null") {
        Err(error) if !error.to_string().contains("Could not load plugin") => Finding::bad(
            what,
            format!("{}; only abrupt losses of power can be judged", first_line(&error)),
            "install a QEMU that was built with --enable-plugins",
        ),
        _ => Finding::good(what, "it loads them, so it is seen what of an NVDIMM is durable"),
    }
}

fn vhost_user(qemu: &Path) -> Finding {
    let what = "NIC by vhost-user";
    let asked = Program::new(qemu).args(["-netdev", "help"]).timeout(PATIENCE).run();
    match asked {
        Ok(output) if output.text().contains("vhost-user") => {
            Finding::good(what, "QEMU has it; the backend is part of vmctl")
        }
        Ok(_) => Finding::bad(what, "this QEMU was built without", "install one that has it"),
        Err(error) => Finding::bad(what, first_line(&error), "install QEMU"),
    }
}

fn vhost_net() -> Finding {
    let open = |path| File::options().read(true).write(true).open(path).map(drop);
    let devices = ["/dev/vhost-net", "/dev/net/tun"];
    let refused = devices.iter().find_map(|path| Some((path, open(path).err()?)));
    Finding::note(
        "vhost-net",
        match refused {
            None => "works, but no case needs it".to_owned(),
            Some((path, why)) => format!("not usable, because {path}: {why}; no case needs it"),
        },
    )
}

fn kvm(qemu: &Path, cache: &Path) -> Finding {
    let what = "KVM";
    let tcg = "guests run under TCG, slower and just as well";
    let Some(boot) = image::store::newest(cache) else {
        let why = "not judged: only a guest that boots can tell, and no image is built yet";
        return Finding { fix: Some("vmctl image build".into()), ..Finding::note(what, why) };
    };
    match accel::probe(&boot, qemu, cache) {
        Ok(verdict) if verdict.accel == vm::Accel::Kvm => Finding::good(what, verdict.because),
        Ok(verdict) => Finding::note(what, format!("not used, because {}; {tcg}", verdict.because)),
        Err(error) => Finding::note(what, format!("not judged: {}", first_line(&error))),
    }
}

fn first_line(error: &vm::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { state, what, found, fix } in findings {
        let mark = match state {
            State::Good => "ok  ",
            State::Bad => "BAD ",
            State::Note => "note",
        };
        let _ = writeln!(text, "{mark} {what}: {}", found.replace('\n', "\n     "));
        if let Some(fix) = fix {
            let _ = writeln!(text, "     fix: {}", fix.replace('\n', "\n          "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(rust_version("cargo 1.91.0 (ea2d97820 2025-10-10)"), Some(OLDEST_RUST));
        assert!(rust_version("cargo 1.9.3").unwrap() < OLDEST_RUST);
        assert_eq!(rust_version("no such thing"), None);
    }

    #[test]
    fn what_is_bad_has_its_fix_below_it() {
        let findings = [
            Finding::good("QEMU", "QEMU emulator version 10.0.2"),
            Finding::bad("lz4", "missing", "vmctl setup\nor by hand"),
            Finding::note("KVM", "not used"),
        ];
        let expected = "ok   QEMU: QEMU emulator version 10.0.2\nBAD  lz4: missing\n     \
            fix: vmctl setup\n          or by hand\nnote KVM: not used\n";
        assert_eq!(table(&findings), expected);
    }

    #[test]
    fn too_little_room_is_bad() {
        assert_eq!(room(Path::new("/"), Mib(u32::MAX)).state, State::Bad);
        assert_eq!(room(Path::new("/"), Mib(0)).state, State::Good);
        assert_eq!(room(Path::new("/no/such/place"), Mib(0)).state, State::Bad);
        assert_eq!(existing(Path::new("/no/such/place")), Path::new("/"));
    }

    #[test]
    fn a_qemu_that_is_none_is_told_as_such() {
        assert_eq!(vhost_user(Path::new("/bin/true")).state, State::Bad);
        assert_eq!(nvdimm(Path::new("/bin/false")).state, State::Bad);
        assert_eq!(plugins(Path::new("/bin/false")).state, State::Bad);
        assert_eq!(nvdimm(Path::new("/no/such/qemu")).state, State::Bad);
    }
}
