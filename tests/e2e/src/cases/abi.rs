//! ABI cases: what docs/abi.md says, done to the real device.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use vm::{Command, Mib};

use crate::bench::Bench;
use crate::echo::while_echoing;
use crate::needs::Needs;
use crate::part::number;
use crate::rig::Rig;

/// How long all rows together may take.
const LIMIT: Duration = Duration::from_mins(4);

/// What names a row's test on the real device in docs/abi.md, up to the closing backquote.
const MARK: &str = "`device: ";

/// Every row that docs/abi.md promises of the device holds, and the module leaves no trace.
pub(super) fn rows(rig: &mut Rig) -> anyhow::Result<()> {
    let document = rig.world().options().root.join("docs/abi.md");
    let document = std::fs::read_to_string(document).context("read docs/abi.md")?;
    let bench = equip(rig, "rows")?;
    // The kernel would look for it at a socket's first wish; then it has to unpack it, too.
    bench.shell("modprobe tls")?;
    rig.step("try every row");
    let run = || bench.guest().run(&Command::new(program("rows")).timeout(LIMIT));
    let exit = while_echoing(&bench, || run().context("run the rows"))?;
    std::fs::write(rig.dir().join("rows.txt"), &exit.stdout).context("keep what the rows said")?;
    let said = exit.text();
    let failed: Vec<_> = said.lines().filter(|line| !line.ends_with(" ok")).collect();
    ensure!(failed.is_empty(), "{} rows failed: {}", failed.len(), failed.join("; "));
    ensure!(exit.success(), "the rows ended with {}: {}", exit.code, exit.error_text());
    same(&promised(&document), &tried(&said))?;
    leave(rig, &bench)
}

/// A guest with the module, and with one of the programs that try the device.
pub(super) fn equip(rig: &mut Rig, name: &str) -> anyhow::Result<Bench> {
    let built = rig.world().device_program(name)?;
    let bench = rig.boot_with_module(Needs::devdax(Mib(64)).cpus(2), &[])?;
    bench.put(&built, &program(name))?;
    Ok(bench)
}

pub(super) fn program(name: &str) -> String {
    format!("/run/device-{name}")
}

/// The module goes, nothing stays pinned, and the kernel has not complained.
pub(super) fn leave(rig: &mut Rig, bench: &Bench) -> anyhow::Result<()> {
    rig.step("unload the module");
    bench.unload()?;
    pins_are_balanced(bench)?;
    let warnings = bench.guest().warnings();
    ensure!(warnings.is_empty(), "the guest's kernel complains: {}", warnings.join("; "));
    bench.ping().context("after unload")
}

/// Every page that was pinned is let go, as the kernel itself counts.
fn pins_are_balanced(bench: &Bench) -> anyhow::Result<()> {
    // Each CPU counts for itself; a look at stat_refresh adds up.
    let count = "cat /proc/sys/vm/stat_refresh; awk '/^nr_foll_pin/ { print $2 }' /proc/vmstat";
    let pins = bench.shell(count)?;
    let pins: Vec<_> = pins.lines().collect();
    ensure!(pins.len() == 2 && pins[0] == pins[1], "pages stay pinned: {pins:?}");
    Ok(())
}

/// What a hostile program does at least, so that it counts: requests, syncs, changes of rings and
/// whatever else there is; and how many of them are requests.
const HOSTILE_OPERATIONS: u64 = 100_000;
const HOSTILE_REQUESTS: u64 = 10_000;

/// A user who does nothing right, by the seed, brings nothing down.
pub(super) fn hostile(rig: &mut Rig) -> anyhow::Result<()> {
    let bench = equip(rig, "hostile")?;
    rig.step("be hostile");
    let command = Command::new(program("hostile")).arg(rig.seed().to_string()).timeout(LIMIT);
    let exit = while_echoing(&bench, || bench.run(&command))?;
    let did: Value = serde_json::from_slice(&exit.stdout).context("read what was done")?;
    rig.step(format!("it did {did}"));
    ensure!(did["hung"] == false, "a system call did not come back: {did}");
    let operations = number(&did, "operations")?;
    let enough = operations >= HOSTILE_OPERATIONS && number(&did, "requests")? >= HOSTILE_REQUESTS;
    ensure!(enough, "too little was tried: {did}");
    for deep in ["registered", "attached", "sockets", "slots"] {
        ensure!(number(&did, deep)? >= 100, "only {deep} of {did} got deep enough");
    }
    rig.count("hostile_operations", operations)?;
    leave(rig, &bench)
}

/// The rows that a document names.
fn promised(document: &str) -> BTreeSet<&str> {
    document.split(MARK).skip(1).filter_map(|rest| rest.split('`').next()).collect()
}

/// The rows that a program tried.
fn tried(said: &str) -> BTreeSet<&str> {
    said.lines().filter_map(|line| line.strip_prefix("row ")?.split(' ').next()).collect()
}

fn same(promised: &BTreeSet<&str>, tried: &BTreeSet<&str>) -> anyhow::Result<()> {
    let only: Vec<_> = promised.symmetric_difference(tried).collect();
    ensure!(only.is_empty(), "either docs/abi.md or the program alone has {only:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_document_and_of_the_program_must_be_the_same() {
        let document = "| mmap | EINVAL | `attach: syncs`, `device: mmap_plain`, `device: a` |";
        let said = "row mmap_plain ok\nrow a FAIL rows.c:7: no\n";
        assert_eq!(promised(document), tried(said));
        same(&promised(document), &tried(said)).unwrap();
        let why = same(&promised(document), &tried("row a ok\nrow b ok")).unwrap_err();
        assert!(why.to_string().ends_with("has [\"b\", \"mmap_plain\"]"), "{why}");
    }
}
