//! Accel: what executes a guest's instructions, and whether KVM can be trusted with that.
//!
//! `/dev/kvm` may exist, and even make VMs, without being able to run a kernel. So KVM is used only
//! after it has booted the very kernel that the guests run, up to a program in user mode. One
//! verdict holds for one boot of the host, one QEMU and one kernel; it is kept in a file.

use std::fmt;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::error::Result;
use crate::host;
use crate::spec::{BootFiles, Spec};
use crate::units::Mib;

/// A guest under a KVM that works is up in a second; one under a KVM that lies never is.
const PROBE_TIME: Duration = Duration::from_secs(20);

/// The name of the file that keeps the verdict.
const VERDICT: &str = "accel.json";

const KVM: &str = "/dev/kvm";

/// What executes a guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// QEMU's own translator: works everywhere.
    #[default]
    Tcg,
    /// The host's virtualisation; only after [`probe`] said so.
    Kvm,
}

impl Accel {
    /// The name QEMU knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Accel::Tcg => "tcg",
            Accel::Kvm => "kvm",
        }
    }
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What to use, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What to use.
    pub accel: Accel,
    /// Why, in words that continue "because".
    pub because: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, because {}", self.accel.name().to_uppercase(), self.because)
    }
}

/// A verdict with what it holds for.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    boot_id: String,
    qemu: String,
    kernel: String,
    verdict: Verdict,
}

/// Finds out what to use for guests that boot these files. Asks KVM to boot one (up to 20 s)
/// unless the verdict is kept in `cache` already.
///
/// # Errors
/// What [`host::qemu`] and the host's file system can meet; a KVM that fails is a verdict.
pub fn probe(boot: &BootFiles, qemu: &Path, cache: &Path) -> Result<Verdict> {
    // Without permission there is nothing to try, and nothing worth keeping: it can be granted.
    if let Err(error) = File::options().read(true).write(true).open(KVM) {
        return Ok(Verdict { accel: Accel::Tcg, because: format!("{KVM}: {error}") });
    }
    let qemu_line = host::qemu(qemu)?.line;
    let (boot_id, kernel) = (host::boot_id(), boot.kernel.display().to_string());
    let path = cache.join(VERDICT);
    if let Some(kept) = read(&path)
        && (&kept.boot_id, &kept.qemu, &kept.kernel) == (&boot_id, &qemu_line, &kernel)
    {
        return Ok(kept.verdict);
    }
    let verdict = try_kvm(boot, qemu)?;
    let kept = Kept { boot_id, qemu: qemu_line, kernel, verdict };
    write(&path, &kept);
    Ok(kept.verdict)
}

fn try_kvm(boot: &BootFiles, qemu: &Path) -> Result<Verdict> {
    let io = |source| crate::Error::Io { doing: "create folder for the KVM probe".into(), source };
    let dir = tempfile::tempdir().map_err(io)?;
    let start = Instant::now();
    let spec = Spec::from_files("kvm-probe", boot.clone(), dir.path());
    let spec = spec.accel(Accel::Kvm).ram(Mib(256)).qemu(qemu).boot_timeout(PROBE_TIME);
    let ran = spec.boot().and_then(|guest| {
        guest.run_ok(&Command::new("true").timeout(PROBE_TIME))?;
        Ok(())
    });
    Ok(match ran {
        Ok(()) => {
            let seconds = start.elapsed().as_secs_f64();
            let because = format!("KVM has booted the guest kernel in {seconds:.1} s");
            Verdict { accel: Accel::Kvm, because }
        }
        Err(error) => {
            let why = error.to_string();
            let why = why.lines().next().unwrap_or_default();
            let because = format!("KVM is there but cannot run the guest kernel: {why}");
            Verdict { accel: Accel::Tcg, because }
        }
    })
}

fn read(path: &Path) -> Option<Kept> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// A verdict that cannot be kept is found again next time.
fn write(path: &Path, kept: &Kept) {
    let Ok(text) = serde_json::to_vec_pretty(kept) else { return };
    let part = path.with_extension(format!("part-{}", std::process::id()));
    if let Some(folder) = path.parent() {
        let _ = fs::create_dir_all(folder);
    }
    if fs::write(&part, text).and_then(|()| fs::rename(&part, path)).is_err() {
        let _ = fs::remove_file(&part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(because: &str) -> Kept {
        let verdict = Verdict { accel: Accel::Tcg, because: because.into() };
        Kept { boot_id: "b".into(), qemu: "q".into(), kernel: "k".into(), verdict }
    }

    #[test]
    fn verdicts_are_kept_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(VERDICT);
        assert!(read(&path).is_none());
        write(&path, &kept("it lies"));
        let verdict = read(&path).unwrap().verdict;
        assert_eq!(verdict.to_string(), "TCG, because it lies");
        fs::write(&path, b"{\"boot_id\": \"b\"").unwrap();
        assert!(read(&path).is_none());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_no_error() {
        write(Path::new("/dev/null/folder/accel.json"), &kept("x"));
    }
}
