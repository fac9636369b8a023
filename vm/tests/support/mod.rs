//! Support: a shell script that plays QEMU.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use agent_proto::{Frame, VERSION};
use vm::{BootFiles, Mib, Spec};

/// Finds the descriptors for console (c), monitor (q) and agent (g) in the arguments.
const START: &str = r#"#!/bin/bash
for word in "$@"; do
    case $word in
        socket,id=console,fd=*) c=${word##*=} ;;
        socket,id=qmp,fd=*) q=${word##*=} ;;
        socket,id=agent,fd=*) g=${word##*=} ;;
    esac
done
say() { echo "$1" >&$q; }
hear() { read -r line <&$q; }
greet() { say '{"QMP": {}}'; hear; say '{"return": {}, "id": 1}'; }
hello() { cat "${0%/*}/hello" >&$g; }
asked() { head -c 5 <&$g >/dev/null; }
panic() { echo '[    1.0] Kernel panic - not syncing: x' >&$c; }
event() { say '{"event": "'$1'", "data": {"guest": true, "reason": "'$2'"}}'; }
"#;

/// A script that plays QEMU, in a folder of its own.
#[derive(Debug)]
pub(crate) struct Play {
    /// The folder; `run` in it is the guest's.
    pub(crate) dir: tempfile::TempDir,
}

impl Play {
    /// A QEMU that does as the script says.
    pub(crate) fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let qemu = dir.path().join("qemu");
        fs::write(&qemu, format!("{START}{script}\n")).unwrap();
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
        let play = Self { dir };
        let hello = Frame::Hello { proto: VERSION, kernel: b"6.1".into(), boot_id: b"id".into() };
        play.put_frame("hello", &hello);
        play
    }

    /// Leaves a frame beside the script, in a file of this name.
    pub(crate) fn put_frame(&self, name: &str, frame: &Frame) {
        fs::write(self.dir.path().join(name), frame.encode().unwrap()).unwrap();
    }

    /// A guest for it.
    pub(crate) fn spec(&self) -> Spec {
        let file = PathBuf::from("/no/such/file");
        let boot = BootFiles { kernel: file.clone(), initrd: file, root: None };
        let spec = Spec::from_files("g", boot, &self.dir.path().join("run"));
        spec.ram(Mib(64)).qemu(self.dir.path().join("qemu"))
    }
}
