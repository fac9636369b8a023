//! Host: what this machine has; the only place that looks.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statvfs::statvfs;

use crate::error::{Error, Result};
use crate::process::{Program, Stdin};
use crate::units::Mib;

/// The QEMU that is looked for in `PATH`.
pub const QEMU: &str = "qemu-system-x86_64";

/// The folder for guest memory: a file here never meets a disk.
pub const SHARED_MEMORY: &str = "/dev/shm";

/// The oldest QEMU that is supported: older ones crash under TCG with vhost-user and MSI-X.
pub const OLDEST_QEMU: Version = Version(10, 0);

/// Major and minor version of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// A QEMU that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qemu {
    /// How it is called.
    pub path: PathBuf,
    /// Its version, for comparisons.
    pub version: Version,
    /// Its version line, for people and cache keys.
    pub line: String,
}

/// Asks a QEMU for its version.
///
/// # Errors
/// [`Error::Missing`] if it is not there or too old, [`Error::Program`] if it does not answer.
pub fn qemu(path: &Path) -> Result<Qemu> {
    let output = Program::new(path).arg("--version").timeout(Duration::from_secs(20)).run_ok()?;
    let text = output.text();
    let line = text.lines().next().unwrap_or_default().to_owned();
    let Some(version) = version(&line) else {
        return Err(Error::invalid(path.display().to_string(), format!("is no QEMU: {line:?}")));
    };
    if version < OLDEST_QEMU {
        let what = format!("QEMU {OLDEST_QEMU} or newer");
        return Err(Error::missing(what, format!("{} has version {version}", path.display())));
    }
    Ok(Qemu { path: path.to_owned(), version, line })
}

/// Has a QEMU load a plugin and end at once, without a guest.
///
/// # Errors
/// [`Error::Missing`] with QEMU's words if it does not: it may be built without plugins.
pub fn load_plugin(qemu: &Path, plugin: &Path, options: &str) -> Result<()> {
    let quit = b"{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"quit\"}\n";
    let words = "-nodefaults -no-user-config -display none -machine none -accel tcg -S -qmp stdio";
    let mut plugin_words = plugin.as_os_str().to_owned();
    plugin_words.push(format!(",{options}"));
    let asked = Program::new(qemu).args(words.split(' ')).arg("-plugin").arg(plugin_words);
    let asked = asked.stdin(Stdin::Bytes(quit.to_vec())).timeout(Duration::from_secs(20)).run()?;
    if asked.status.success() {
        return Ok(());
    }
    let said = asked.stderr_tail();
    let said = said.lines().next_back().unwrap_or("it says nothing");
    Err(Error::missing("a QEMU that loads the observer", format!("{}: {said}", qemu.display())))
}

/// The first two numbers of "... version 10.0.2 ...".
fn version(line: &str) -> Option<Version> {
    let mut numbers = line.split("version ").nth(1)?.split(|c: char| !c.is_ascii_digit());
    Some(Version(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Room left for us in the file system that holds `place`.
///
/// # Errors
/// [`Error::Io`] if there is no such place.
pub fn free_space(place: &Path) -> Result<Mib> {
    let stat = statvfs(place).map_err(|error| Error::io("look at", place, error.into()))?;
    let bytes = stat.blocks_available().saturating_mul(stat.fragment_size());
    Ok(Mib(u32::try_from(bytes >> 20).unwrap_or(u32::MAX)))
}

/// An unnamed file for a guest's memory, in the first of these places with twice its size free.
/// The kernel removes it when the last user is gone, whatever ends us. Twice, because a file in
/// memory that meets the limit kills QEMU with SIGBUS, and others use the place, too.
///
/// # Errors
/// [`Error::NoSpace`] that names the last place and the need, [`Error::Io`].
pub(crate) fn memory_file(size: Mib, places: &[PathBuf]) -> Result<File> {
    let need = size.0.saturating_mul(2);
    let mut refusal = Error::invalid("places for guest memory", "none is given");
    for place in places {
        match free_space(place) {
            Ok(free) if free.0 >= need => {
                let file = tempfile::tempfile_in(place);
                let file =
                    file.map_err(|error| Error::io("create a memory file in", place, error))?;
                file.set_len(size.bytes())
                    .map_err(|e| Error::io("size a memory file in", place, e))?;
                return Ok(file);
            }
            Ok(free) => {
                refusal = Error::NoSpace {
                    place: place.clone(),
                    what: format!("guest memory (twice {size})"),
                    need_mib: need.into(),
                    free_mib: free.0.into(),
                }
            }
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

/// A name under which our children can open a file that has no other.
pub(crate) fn name_of(file: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}

/// The way out where [`root_is_mounted`] is not so.
pub const MOUNT_ROOT: &str = "this is a chroot into a plain folder, where no mount can be private; \
                              enter it anew as: mount --bind DIR DIR && chroot DIR";

/// Whether our root folder is a mount point, as mount namespaces need it to be. If nothing tells,
/// it is taken for one.
pub fn root_is_mounted() -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo");
    mounts.map_or(true, |mounts| mounts.is_empty() || has_root(&mounts))
}

/// Whether one of these lines (proc(5), mountinfo) is of the root folder.
fn has_root(mounts: &str) -> bool {
    mounts.lines().any(|line| line.split(' ').nth(4) == Some("/"))
}

/// Differs for every boot of this host.
pub(crate) fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// The rate of the time stamp counter in kHz, where the host's kernel was told it by a hypervisor
/// and shows it as the clock of the CPU.
pub(crate) fn tsc_khz() -> Option<u32> {
    tsc_khz_of(&std::fs::read_to_string("/proc/cpuinfo").ok()?)
}

fn tsc_khz_of(cpuinfo: &str) -> Option<u32> {
    let value = |name| {
        let mut rows = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        rows.find_map(|(key, value)| (key.trim() == name).then(|| value.trim()))
    };
    let has = |flag| value("flags").is_some_and(|all| all.split(' ').any(|one| one == flag));
    // With aperfmperf it is what the CPU does at the moment.
    if !has("tsc_known_freq") || has("aperfmperf") {
        return None;
    }
    let (mhz, khz) = value("cpu MHz")?.split_once('.')?;
    if khz.len() == 3 { format!("{mhz}{khz}").parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_the_time_stamp_counter_is_read_where_it_is_one() {
        let told = |flags| format!("cpu MHz\t\t: 2299.998\nflags\t\t: fpu {flags}\nbugs\t\t:\n");
        assert_eq!(tsc_khz_of(&told("tsc_known_freq pni")), Some(2_299_998));
        assert_eq!(tsc_khz_of(&told("tsc_known_freq aperfmperf")), None);
        assert_eq!(tsc_khz_of(&told("tsc")), None);
        assert_eq!(tsc_khz_of(""), None);
    }

    #[test]
    fn versions_are_read_and_compared() {
        let line = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)";
        assert_eq!(version(line), Some(Version(10, 0)));
        assert_eq!(version("QEMU emulator version 7.2"), Some(Version(7, 2)));
        assert!(Version(7, 2) < OLDEST_QEMU && Version(11, 0) > OLDEST_QEMU);
        assert_eq!(version("grep (GNU grep) 3.8"), None);
    }

    #[test]
    fn a_program_that_is_no_qemu_is_refused() {
        assert!(matches!(qemu(Path::new("/bin/true")), Err(Error::Invalid { .. })));
        assert!(matches!(qemu(Path::new("/no/qemu")), Err(Error::Missing { .. })));
    }

    #[test]
    fn a_qemu_without_plugins_is_told_by_its_own_words() {
        let dir = tempfile::tempdir().unwrap();
        let stand_in = |name: &str, script: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&path, mode).unwrap();
            path
        };
        let said = "qemu-system-x86_64: plugin interface not enabled in this build";
        let without = stand_in("without", &format!("echo '{said}' >&2; exit 1"));
        let error = load_plugin(&without, Path::new("/o.so"), "out=x").unwrap_err().to_string();
        let expected = "a QEMU that loads the observer: ";
        assert!(error.starts_with(expected) && error.ends_with(said), "{error}");
        // It is asked for the plugin with its options, and told to end.
        let line = "case \"$*\" in *'-plugin /o.so,out=x'*) grep -q quit;; *) exit 1;; esac";
        load_plugin(&stand_in("with", line), Path::new("/o.so"), "out=x").unwrap();
    }

    #[test]
    fn the_root_of_a_bare_chroot_is_no_mount_point() {
        let proc = "35 24 0:5 / /proc rw - proc proc rw\n";
        assert!(!has_root(proc));
        assert!(has_root(&format!("24 1 254:0 / / rw - ext4 /dev/vda rw\n{proc}")));
        assert!(root_is_mounted());
    }

    #[test]
    fn memory_needs_twice_its_size() {
        let places = [PathBuf::from(SHARED_MEMORY)];
        let free = free_space(&places[0]).unwrap();
        let error = memory_file(Mib(free.0 / 2 + 64), &places).unwrap_err().to_string();
        assert!(error.starts_with("/dev/shm: "), "{error}");
        assert!(error.contains("guest memory (twice "), "{error}");
    }

    #[test]
    fn a_second_place_is_tried() {
        let dir = tempfile::tempdir().unwrap();
        let places = [PathBuf::from("/no/such/place"), dir.path().to_owned()];
        let file = memory_file(Mib(1), &places).unwrap();
        assert_eq!(file.metadata().unwrap().len(), Mib(1).bytes());
        // Unnamed: nothing is left behind by a killed process.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
