//! Apt: the system's own package tool with a private state, so that nothing of the host changes.
//!
//! It sees only Debian's sources, an empty package database and none of the host's hooks; what it
//! keeps of the host's configuration is how to reach the network.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::Progress;
use super::lock::{Lock, Package};
use super::manifest::Manifest;
use super::sources::{self, Source};
use super::{cache, hash};
use crate::error::{Error, Result};
use crate::process::{Output, Program};
use crate::setup::system::System;

/// The keyring of Debian's archive, from the package `debian-archive-keyring`.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// How many packages one `apt-get download` fetches: small enough for some progress to be seen.
const AT_ONCE: usize = 16;
/// Options of the host that are kept: proxies, time-outs, clocks that are known to be wrong.
const KEPT: [&str; 5] =
    ["Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries", "Acquire::Force"];

/// A private apt, up to date with the mirror.
#[derive(Debug)]
pub(super) struct Apt {
    config: PathBuf,
}

impl Apt {
    /// Sets the private state up in `dir` and fetches the package lists from the first of the
    /// places that has them.
    pub(super) fn open(
        dir: &Path,
        architecture: &str,
        places: &[Vec<Source>],
        progress: Progress<'_>,
    ) -> Result<Self> {
        let mut refusal = Error::invalid("apt sources", "there are none");
        for sources in places {
            let apt = Self::configure(dir, architecture, sources)?;
            progress("fetching package lists");
            match apt.get(&["update", "-qq", "-o", "APT::Update::Error-Mode=any"]) {
                Ok(_) => return Ok(apt),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    fn configure(dir: &Path, architecture: &str, sources: &[Source]) -> Result<Self> {
        // Lists of other sources must not survive: they would offer packages, too.
        let _ = fs::remove_dir_all(dir);
        let make = |name: &str| {
            let path = dir.join(name);
            fs::create_dir_all(&path).map_err(|e| Error::io("create", &path, e))
        };
        let folders = ["state/lists/partial", "cache/archives/partial", "sources", "pins", "none"];
        folders.into_iter().try_for_each(make)?;
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            fs::write(&path, text).map_err(|e| Error::io("write", &path, e))
        };
        write("status", "")?;
        write("sources/debian.sources", &sources::deb822(sources))?;
        // A vendor whose source looks like Debian's still does not call itself Debian.
        write(
            "pins/debian",
            "Package: *\nPin: release o=Debian\nPin-Priority: 990\n\n\
            Package: *\nPin: release a=*\nPin-Priority: -1\n",
        )?;
        let dump = Program::new("apt-config").arg("dump").run_ok()?.text();
        write("apt.conf", &configuration(&dir.display().to_string(), architecture, &dump))?;
        Ok(Self { config: dir.join("apt.conf") })
    }

    /// The packages of the manifest with their dependencies, at the mirror's newest versions.
    pub(super) fn resolve(&self, manifest: &Manifest) -> Result<Lock> {
        let mut args = vec!["install", "--print-uris", "-qq", "-o", "Acquire::ForceHash=SHA256"];
        args.extend(manifest.packages.iter().map(String::as_str));
        let packages = parse_uris(&self.get(&args)?.text())
            .map_err(|line| Error::invalid("answer of apt-get --print-uris", line))?;
        Ok(Lock::new(packages.into_iter().filter(|p| !manifest.skips(&p.name)).collect()))
    }

    /// Which of these packages the mirror no longer has at this version.
    pub(super) fn dropped<'a>(&self, packages: &[&'a Package]) -> Result<Vec<&'a Package>> {
        let names = packages.iter().map(|package| package.name.as_str());
        let answer = self.program("apt-cache").arg("madison").args(names).run_ok()?.text();
        let offered = parse_madison(&answer);
        let has = |p: &Package| offered.iter().any(|(n, v)| *n == p.name && *v == p.version);
        Ok(packages.iter().copied().filter(|package| !has(package)).collect())
    }

    /// Fetches packages into `debs`, each under its hash.
    pub(super) fn download(
        &self,
        packages: &[&Package],
        debs: &Path,
        progress: Progress<'_>,
    ) -> Result<()> {
        cache::remove_leftovers(debs);
        let place = cache::temporary(debs)?;
        let mut done = 0;
        for some in packages.chunks(AT_ONCE) {
            progress(&format!("fetching packages: {done} of {}", packages.len()));
            let names = some.iter().map(|p| format!("{}={}", p.name, p.version));
            let args = ["download", "-qq"].map(str::to_owned).into_iter().chain(names);
            self.program("apt-get").args(args).cwd(place.path()).run_ok()?;
            for package in some {
                keep(package, place.path(), debs)?;
            }
            done += some.len();
        }
        Ok(())
    }

    fn get(&self, args: &[&str]) -> Result<Output> {
        self.program("apt-get").args(args).run_ok()
    }

    fn program(&self, name: &str) -> Program {
        Program::new(name).env("APT_CONFIG", &self.config).env("LC_ALL", "C")
    }
}

/// Where a package file lies once it was fetched.
pub(super) fn deb_path(debs: &Path, package: &Package) -> PathBuf {
    debs.join(format!("{}.deb", package.sha256))
}

/// Checks a fetched file against the lock and moves it to its place.
fn keep(package: &Package, from: &Path, debs: &Path) -> Result<()> {
    let start = format!("{}_", package.name);
    let mut entries = fs::read_dir(from).map_err(|e| Error::io("read", from, e))?.flatten();
    let found = entries.find(|e| e.file_name().to_string_lossy().starts_with(&start));
    let path = found.map(|entry| entry.path()).ok_or_else(|| {
        Error::invalid(format!("download of {}", package.name), "apt-get left no file")
    })?;
    let sha256 = hash::file(&path)?;
    if sha256 != package.sha256 {
        let what = format!("package {} {}", package.name, package.version);
        let reason = format!("its SHA-256 is {sha256}, the lock says {}", package.sha256);
        return Err(Error::invalid(what, reason));
    }
    fs::rename(&path, deb_path(debs, package)).map_err(|e| Error::io("keep", &path, e))
}

/// Where the guest's packages may come from, each place a list of sources, to be tried in turn.
pub(super) fn places(manifest: &Manifest, mirror: Option<&str>) -> Result<Vec<Vec<Source>>> {
    let hint = "name a Debian mirror with --debian-mirror URL";
    if let Some(mirror) = mirror {
        if !Path::new(KEYRING).exists() {
            let hint = "install the package debian-archive-keyring";
            return Err(Error::missing(format!("Debian's archive key {KEYRING}"), hint));
        }
        let with = |security| sources::of_mirror(mirror, &manifest.suite, KEYRING, security);
        return Ok(vec![with(true), with(false)]);
    }
    let host = sources::read(Path::new("/etc/apt"));
    let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let own = System::parse(&os).debian;
    // A Debian of another release uses a mirror that has ours, too.
    for codename in [Some(&manifest.suite), own.as_ref()].into_iter().flatten() {
        let debian = sources::of_debian(&host, codename);
        if debian.iter().any(|source| source.suites.contains(codename)) {
            return Ok(vec![sources::renamed(debian, codename, &manifest.suite)]);
        }
    }
    let what = format!("a Debian source for suite {} in /etc/apt", manifest.suite);
    Err(Error::missing(what, hint))
}

fn configuration(dir: &str, architecture: &str, host_dump: &str) -> String {
    let host = host_dump.lines().filter(|line| KEPT.iter().any(|key| line.starts_with(key)));
    let mut text: String = host.flat_map(|line| [line, "\n"]).collect();
    for (key, value) in [
        ("Dir::State", "state"),
        ("Dir::State::status", "status"),
        ("Dir::Cache", "cache"),
        ("Dir::Etc::main", "none/none"),
        ("Dir::Etc::parts", "none"),
        ("Dir::Etc::sourcelist", "none/none"),
        ("Dir::Etc::sourceparts", "sources"),
        ("Dir::Etc::preferences", "none/none"),
        ("Dir::Etc::preferencesparts", "pins"),
    ] {
        writeln!(text, "{key} \"{dir}/{value}\";").expect("a String takes everything");
    }
    for key in ["APT::Architecture", "APT::Architectures::"] {
        writeln!(text, "{key} \"{architecture}\";").expect("a String takes everything");
    }
    text += "APT::Install-Recommends \"false\";\nAcquire::Languages \"none\";\n";
    // The user _apt could not write into a private folder.
    text += "APT::Sandbox::User \"root\";\n";
    text
}

/// Lines like `'URI' name_version_arch.deb size SHA256:hash`; the error is the bad line.
fn parse_uris(text: &str) -> std::result::Result<Vec<Package>, String> {
    let package = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let (file, hash) = (words.next()?, words.nth(1)?);
        let mut parts = file.split('_');
        Some(Package {
            name: parts.next()?.to_owned(),
            version: parts.next()?.replace("%3a", ":"),
            sha256: hash.strip_prefix("SHA256:")?.to_owned(),
        })
    };
    let lines = text.lines().filter(|line| line.starts_with('\''));
    lines.map(|line| package(line).ok_or_else(|| line.to_owned())).collect()
}

/// Lines like `name | version | source` of `apt-cache madison`.
fn parse_madison(text: &str) -> Vec<(&str, &str)> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split('|').map(str::trim);
            Some((words.next()?, words.next()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn print_uris_becomes_packages() {
        let text = "Reading...\n'http://m.example/bzip2_1.0_amd64.deb' bzip2_1%3a1.0-5_amd64.deb \
            48 SHA256:abcd\n";
        let packages = parse_uris(text).unwrap();
        assert_eq!(packages.len(), 1);
        assert_eq!(packages[0].name, "bzip2");
        assert_eq!(packages[0].version, "1:1.0-5");
        assert_eq!(packages[0].sha256, "abcd");
        assert!(parse_uris("'http://m.example/x' x_1_a.deb 1 MD5Sum:0\n").is_err());
    }

    #[test]
    fn madison_becomes_pairs() {
        let text = "      make |    4.3-4.1 | http://m.example/debian bookworm/main\n";
        assert_eq!(parse_madison(text), [("make", "4.3-4.1")]);
    }

    #[test]
    fn the_network_settings_of_the_host_are_kept_and_nothing_else() {
        let dump = "APT::Update::Post-Invoke:: \"hook\";\n\
            Acquire::http::Proxy \"http://p.example\";\nDir::Etc \"etc/apt\";\n";
        let text = configuration("/c/apt", "amd64", dump);
        assert!(text.contains("Acquire::http::Proxy") && !text.contains("Post-Invoke"));
        assert!(text.contains("Dir::State \"/c/apt/state\";"));
    }
}
