//! Init: from the initrd to the root file system.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};

use crate::Result;

/// Absolute module paths in the initrd, one a line, in load order.
const MODULES: &str = "/modules.list";

/// What the kernel was started with.
const COMMAND_LINE: &str = "/proc/cmdline";

/// The word of the kernel's command line with the modules that somebody loads later.
const LATER: &str = "agent.later=";

/// The disk with the squashfs root. Without it the initrd stays the root.
const ROOT_DISK: &str = "/dev/vda";

/// Mounts what everything else needs. Also called for an initrd without these directories.
pub(crate) fn mount_kernel_file_systems() -> Result<()> {
    for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        mount_at(kind, kind, place, MsFlags::empty(), "")?;
    }
    Ok(())
}

/// Mounts what programs expect; a kernel without one of these is fine.
pub(crate) fn mount_more() {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    for (kind, place, options) in [
        ("devpts", "/dev/pts", "ptmxmode=0666,mode=0620"),
        ("tmpfs", "/dev/shm", "mode=1777"),
        ("tmpfs", "/run", "mode=0755"),
        ("tmpfs", "/tmp", "mode=1777"),
        ("debugfs", "/sys/kernel/debug", ""),
        ("tracefs", "/sys/kernel/tracing", ""),
    ] {
        // A terminal is a device.
        let flags = if kind == "devpts" { MsFlags::MS_NOSUID } else { flags };
        if let Err(why) = mount_at(kind, kind, place, flags, options) {
            eprintln!("paste-agent: {why}");
        }
    }
    // Host names are for people; a guest without one works as well.
    let _ = nix::unistd::sethostname("guest");
}

/// Loads the modules of the list; one that is loaded already is fine. Those that the kernel's
/// command line puts off are left for somebody else.
pub(crate) fn load_modules() -> Result<()> {
    let read = |path: &str| fs::read_to_string(path).map_err(|e| format!("read {path}: {e}"));
    let (list, command_line) = (read(MODULES)?, read(COMMAND_LINE)?);
    let paths = list.lines().map(str::trim).filter(|line| !line.is_empty());
    for path in paths.filter(|path| !comes_later(&command_line, path)) {
        let file = File::open(path).map_err(|error| format!("open module {path}: {error}"))?;
        match finit_module(&file, c"", ModuleInitFlags::empty()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(format!("load module {path}: {error}")),
        }
    }
    Ok(())
}

/// Makes the squashfs on the root disk, with a tmpfs above it, the root.
pub(crate) fn switch_root() -> Result<()> {
    if !Path::new(ROOT_DISK).exists() {
        eprintln!("paste-agent: no {ROOT_DISK}, the initrd stays the root");
        return Ok(());
    }
    let quiet = MsFlags::MS_RDONLY | MsFlags::MS_NODEV;
    mount_at(ROOT_DISK, "squashfs", "/lower", quiet, "")?;
    mount_at("tmpfs", "tmpfs", "/upper", MsFlags::empty(), "mode=0755")?;
    for dir in ["/upper/root", "/upper/work"] {
        make_dir(dir)?;
    }
    let options = "lowerdir=/lower,upperdir=/upper/root,workdir=/upper/work";
    mount_at("root", "overlay", "/new", MsFlags::empty(), options)?;
    for place in ["/proc", "/sys", "/dev"] {
        let target = format!("/new{place}");
        make_dir(&target)?;
        mount_raw(place, &target, "", MsFlags::MS_MOVE, "")?;
    }
    let into = |what: &str, result: nix::Result<()>| result.map_err(|e| format!("{what}: {e}"));
    into("enter /new", nix::unistd::chdir("/new"))?;
    mount_raw(".", "/", "", MsFlags::MS_MOVE, "")?;
    into("make /new the root", nix::unistd::chroot("."))?;
    into("enter /", nix::unistd::chdir("/"))
}

fn comes_later(command_line: &str, module: &str) -> bool {
    let words = command_line.split_whitespace().filter_map(|word| word.strip_prefix(LATER));
    let file = module.rsplit('/').next().unwrap_or(module);
    words.flat_map(|names| names.split(',')).any(|name| file.strip_suffix(".ko") == Some(name))
}

fn make_dir(path: &str) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| format!("create {path}: {error}"))
}

fn mount_at(from: &str, kind: &str, place: &str, flags: MsFlags, options: &str) -> Result<()> {
    if !Path::new(place).exists() {
        make_dir(place)?;
        // Whatever the umask was: these become well-known directories.
        let _ = fs::set_permissions(place, Permissions::from_mode(0o755));
    }
    mount_raw(from, place, kind, flags, options)
}

fn mount_raw(from: &str, place: &str, kind: &str, flags: MsFlags, options: &str) -> Result<()> {
    match mount(Some(from), place, Some(kind), flags, Some(options)) {
        // The kernel mounts devtmpfs by itself if it was built so.
        Ok(()) | Err(Errno::EBUSY) => Ok(()),
        Err(error) => Err(format!("mount {from} at {place}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_that_the_command_line_names_come_later() {
        let line = "quiet agent.later=nfit,nd_btt root=x\n";
        assert!(comes_later(line, "/modules/nfit.ko"));
        assert!(comes_later(line, "/modules/nd_btt.ko"));
        assert!(!comes_later(line, "/modules/libnvdimm.ko"));
        assert!(!comes_later("quiet\n", "/modules/nfit.ko"));
    }
}
