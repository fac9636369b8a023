//! Toolchain: the Rust that builds the guest programs, and what to do if there is none that works.

use std::path::Path;
use std::time::Duration;

use vm::process::Program;

/// How to get one.
pub const WAY_OUT: &str =
    "install Rust with rustup, as its site describes, then: rustup default stable";

/// What the cargo that works in the folder `here` says of itself, like
/// "cargo 1.91.0 (ea2d97820 2025-10-10)".
///
/// # Errors
/// [`vm::Error::Missing`] with the way out: there is none, or it is the one of rustup, which has
/// no toolchain to hand on to.
pub fn cargo_version(cargo: &Path, here: &Path, within: Duration) -> vm::Result<String> {
    let asked = Program::new(cargo)
        .arg("--version")
        .cwd(here)
        // Else rustup adds its own call stack to what it says, if ours was wanted.
        .env("RUST_BACKTRACE", "0")
        .env("RUST_LIB_BACKTRACE", "0")
        .timeout(within)
        .run_ok();
    match asked {
        Ok(output) => Ok(output.text().trim().to_owned()),
        Err(vm::Error::Program { stderr, status, .. }) => {
            let said = if stderr.trim().is_empty() { &status } else { &stderr };
            let said = said.lines().map(str::trim).collect::<Vec<_>>().join("; ");
            Err(missing(cargo, &said))
        }
        Err(vm::Error::Missing { .. }) => Err(missing(cargo, "not found")),
        Err(other) => Err(other),
    }
}

fn missing(cargo: &Path, why: &str) -> vm::Error {
    vm::Error::missing(format!("no Rust toolchain ({}: {why})", cargo.display()), WAY_OUT)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    /// A cargo that is this shell script.
    fn play(script: &str) -> vm::Result<String> {
        let dir = tempfile::tempdir().unwrap();
        let cargo = dir.path().join("cargo");
        std::fs::write(&cargo, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
        cargo_version(&cargo, dir.path(), SOON)
    }

    #[test]
    fn a_cargo_that_works_tells_its_version() {
        assert_eq!(play("echo cargo 1.91.0").unwrap(), "cargo 1.91.0");
    }

    #[test]
    fn a_cargo_without_a_toolchain_is_missing_and_shows_no_call_stack() {
        let error = play(
            "echo 'error: no default is configured.' >&2
             echo 'help: run rustup default stable' >&2
             [ $RUST_BACKTRACE$RUST_LIB_BACKTRACE = 00 ] || echo 'Stack backtrace:' >&2
             exit 1",
        );
        let text = error.unwrap_err().to_string();
        let said = "/cargo: error: no default is configured.; help: run rustup default stable)";
        assert!(text.ends_with(&format!("{said}: {WAY_OUT}")), "{text}");
    }

    #[test]
    fn no_cargo_at_all_names_the_way_out() {
        let error = cargo_version(Path::new("/no/such/cargo"), Path::new("/"), SOON).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("no Rust toolchain (/no/such/cargo: not found): {WAY_OUT}")
        );
        let silent = play("exit 3").unwrap_err().to_string();
        assert!(silent.contains('3') && silent.contains(WAY_OUT), "{silent}");
    }
}
