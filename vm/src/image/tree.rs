//! Tree: a guest's unpacked root on the host, and how to run the guest's programs in it.
//!
//! Root uses a mount namespace of its own; other users get one together with a user namespace.

use std::path::Path;

use crate::process::Program;

/// Where a tree's program finds the folder that was bound into it.
pub(crate) const WORK: &str = "usr/src/module";

/// Binds the host's devices, a private /tmp and the work folder, then enters the tree. The mounts
/// end with the namespace, so the tree itself stays as it is.
const ENTER: &str = r#"
set -e
tree=$1 at=$2 work=$3
shift 3
mount --rbind /dev "$tree/dev"
mount -t tmpfs tmpfs "$tree/tmp"
[ -z "$work" ] || mount --bind "$work" "$tree/$at"
exec /usr/sbin/chroot "$tree" /usr/bin/env -i PATH=/usr/sbin:/usr/bin HOME=/root LC_ALL=C "$@"
"#;

/// A program of the tree, with `work` (if any) bound to [`WORK`].
pub(crate) fn program(tree: &Path, work: Option<&Path>, argv: &[&str]) -> Program {
    let root = nix::unistd::geteuid().is_root();
    let user: &[&str] = if root { &[] } else { &["--user", "--map-root-user"] };
    Program::new("unshare")
        .args(user)
        .args(["--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"])
        .arg(tree)
        .arg(WORK)
        .arg(work.unwrap_or(Path::new("")))
        .args(argv)
}
