//! Kernel core: the core of the kernel extension as a program, under sanitizers.

use std::process::Command;

#[test]
fn the_core_holds_as_a_program_under_sanitizers() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernel/user");
    let made = Command::new("make").args(["--no-print-directory", "-C", folder, "test"]).output();
    let made = made.expect("make is installed (`cargo vmctl setup` does that)");
    let said = [made.stdout, made.stderr].concat();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&said));
}
