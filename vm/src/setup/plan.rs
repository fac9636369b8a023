//! Plan: what to do about missing programs, as shell lines or as advice; pure.

use super::system::System;
use crate::image::sources::{self, Source};
use crate::process::quoted;

/// The one source that set-up may add.
pub(super) const BACKPORTS: &str = "/etc/apt/sources.list.d/paste-backports.sources";
/// The package with QEMU for guests of this architecture.
const QEMU: &str = "qemu-system-x86";
/// The one preference that set-up may add.
pub(super) const PIN: &str = "/etc/apt/preferences.d/paste-backports";
/// QEMU and its firmware are as good from there as from Debian 12 itself, so the newer one wins;
/// backports of everything else stay behind. Naming the suite at `apt-get install` is no way: it
/// brings libraries along, or finds no solution on a machine without any QEMU.
const PIN_TEXT: &str =
    "Package: src:qemu src:seabios\nPin: release n=bookworm-backports\nPin-Priority: 500\n";
/// apt waits this long for another apt to end, in seconds.
const PATIENCE: &str = "DPkg::Lock::Timeout=300";

/// What is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Gaps {
    /// Whether QEMU is missing or too old.
    pub(super) qemu: bool,
    /// Debian's names of the packages with the other missing programs.
    pub(super) packages: Vec<&'static str>,
    /// Whether nothing says where the guest's packages come from.
    pub(super) mirror: bool,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// Nothing is missing.
    Nothing,
    /// These shell lines, in this order, as root.
    Commands(Vec<String>),
    /// Something only the user can do.
    Advice(String),
}

impl Gaps {
    /// Makes the plan. `sudo` is put before every command, with a space (or is empty).
    pub(super) fn plan(&self, system: &System, host: &[Source], sudo: &str) -> Plan {
        if *self == Self::default() {
            return Plan::Nothing;
        }
        let Some(codename) = system.debian.as_deref().filter(|_| !self.mirror) else {
            return Plan::Advice(self.advice(&system.name));
        };
        let mut lines = Vec::new();
        let mut packages: Vec<String> = self.packages.iter().map(|&p| p.to_owned()).collect();
        packages.dedup();
        if self.qemu && codename == "bookworm" {
            let suite = format!("{codename}-backports");
            if !has_suite(host, &suite) {
                let Some(source) = backports(host, codename, &suite) else {
                    return Plan::Advice(self.advice(&system.name));
                };
                lines.push(write_line(BACKPORTS, &sources::deb822(&[source]), sudo));
            }
            lines.push(write_line(PIN, PIN_TEXT, sudo));
        }
        if self.qemu {
            packages.push(QEMU.to_owned());
        }
        lines.push(format!("{sudo}apt-get update"));
        let packages = packages.join(" ");
        lines.push(format!("{sudo}{} install -y --no-install-recommends {packages}", apt_get()));
        Plan::Commands(lines)
    }

    fn advice(&self, system: &str) -> String {
        let mut lines =
            vec![format!("{system}: set-up knows Debian 12 and 13 only. To go on here:")];
        if self.qemu {
            lines.push("- give a QEMU 10.0 or newer with --qemu PATH".to_owned());
        }
        if !self.packages.is_empty() {
            let names = self.packages.join(", ");
            lines.push(format!("- install what Debian calls {names}"));
        }
        if self.mirror {
            lines.push("- name a Debian mirror with --debian-mirror URL".to_owned());
        }
        lines.join("\n")
    }
}

/// apt-get, asking nothing and waiting for its lock.
pub(super) fn apt_get() -> String {
    format!("env DEBIAN_FRONTEND=noninteractive apt-get -o {PATIENCE}")
}

fn has_suite(host: &[Source], suite: &str) -> bool {
    host.iter().any(|source| source.suites.iter().any(|s| s == suite))
}

/// The backports suite of the mirror that the machine uses for Debian itself.
fn backports(host: &[Source], codename: &str, suite: &str) -> Option<Source> {
    let debian = sources::of_debian(host, codename);
    let main = debian.into_iter().find(|s| s.suites.iter().any(|suite| suite == codename))?;
    let uris = main.uris.first().cloned().into_iter().collect();
    Some(Source { uris, suites: vec![suite.to_owned()], ..main })
}

/// A shell line that writes a file.
fn write_line(path: &str, text: &str, sudo: &str) -> String {
    let lines: Vec<String> = text.trim_end().lines().map(quoted).collect();
    format!("printf '%s\\n' {} | {sudo}tee {path} >/dev/null", lines.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "deb [signed-by=/k/debian-archive-keyring.gpg] http://m.example/debian \
        bookworm main\ndeb http://v.example/x bookworm stable\n";

    fn debian(codename: &str) -> System {
        System { name: "Debian".into(), debian: Some(codename.into()) }
    }

    fn commands(gaps: &Gaps, codename: &str, host: &str) -> Vec<String> {
        match gaps.plan(&debian(codename), &sources::parse_list(host), "sudo ") {
            Plan::Commands(lines) => lines,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn debian_12_takes_only_qemu_from_backports() {
        let gaps = Gaps { qemu: true, packages: vec!["lz4", "gcc libc6-dev"], mirror: false };
        let lines = commands(&gaps, "bookworm", HOST);
        assert_eq!(
            lines[0],
            "printf '%s\\n' 'Types: deb' 'URIs: http://m.example/debian' \
             'Suites: bookworm-backports' 'Components: main' \
             'Signed-By: /k/debian-archive-keyring.gpg' \
             | sudo tee /etc/apt/sources.list.d/paste-backports.sources >/dev/null"
        );
        assert!(lines[1].contains("'Package: src:qemu src:seabios'"), "{}", lines[1]);
        assert!(lines[1].contains("| sudo tee /etc/apt/preferences.d/paste-backports "));
        assert_eq!(lines[2], "sudo apt-get update");
        assert!(lines[3].ends_with("--no-install-recommends lz4 gcc libc6-dev qemu-system-x86"));
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn backports_that_are_there_are_not_added() {
        let gaps = Gaps { qemu: true, ..Gaps::default() };
        let host = format!("{HOST}deb http://m.example/debian bookworm-backports main\n");
        let lines = commands(&gaps, "bookworm", &host);
        assert!(!lines.iter().any(|line| line.contains("sources.list.d")), "{lines:?}");
    }

    #[test]
    fn debian_13_takes_all_from_main() {
        let gaps = Gaps { qemu: true, packages: vec!["lz4"], mirror: false };
        let lines = commands(&gaps, "trixie", "");
        assert_eq!(lines.len(), 2);
        assert!(lines[1].ends_with("--no-install-recommends lz4 qemu-system-x86"));
    }

    #[test]
    fn elsewhere_the_options_are_named() {
        let gaps = Gaps { qemu: true, packages: vec!["lz4"], mirror: true };
        let system = System { name: "Other 1".into(), debian: None };
        let Plan::Advice(text) = gaps.plan(&system, &[], "") else { panic!("no advice") };
        for part in ["Other 1", "--qemu PATH", "--debian-mirror URL", "lz4"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(Gaps::default().plan(&system, &[], ""), Plan::Nothing);
        let no_mirror = Gaps { qemu: true, ..Gaps::default() };
        assert!(matches!(no_mirror.plan(&debian("bookworm"), &[], ""), Plan::Advice(_)));
    }
}
