//! Restored cases: crash states judged by programs in guests that are brought back for each.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use vm::check::{GuestChecker, InGuest};
use vm::crash::checker::{Checker, Fault, Verdict, View};
use vm::crash::explore::{Explored, Plan, explore_state};
use vm::crash::line::{LINE, LineBytes, Offset};
use vm::crash::state::InFlight;
use vm::nvdimm::Mode;
use vm::{Command, Mib, Nvdimm, Template};

use crate::bench::PROGRAM;
use crate::rig::Rig;

/// The smallest NVDIMM: each state is a copy of it.
const SIZE: Mib = Mib(16);

/// How long a program may take for its verdict.
const LIMIT: Duration = Duration::from_mins(1);

/// The four lines of a file: something durable, what changes, and what says that it has.
const FILE: [&str; 4] = ["a file on ext4", "data: old", "done: no", ""];
/// Its second and third line when they have changed.
const CHANGED: [&str; 2] = ["data: new", "done: yes"];

/// What a program must not leave behind; both judges say so.
const WRONG: &str = "done without the data";

/// A guest that is brought back says of crash states what the host says of the same bytes, and
/// one that cannot judge says nothing.
pub(super) fn judges(rig: &mut Rig) -> anyhow::Result<()> {
    rig.step("boot the guest and save it");
    let template = Arc::new(rig.template(SIZE)?);
    let dir = rig.dir().join("copies");
    let checker = |command: &str, limit| {
        let (command, dir) = (command.to_owned(), dir.clone());
        GuestChecker::new(&template, InGuest { command, limit, dir, at_once: 1 })
    };
    rig.step("judge a devdax NVDIMM");
    let (good, bad) = devdax(rig)?;
    let mut program = checker(&format!("{PROGRAM} persistence::recover {{image}}"), LIMIT);
    expect_good(&judge(&good, &mut program))?;
    expect_bad(&judge(&bad, &mut program), "open the pool")?;
    rig.step("judge a file system");
    let image = file_system(&template, &dir, &rig.nvdimm())?;
    let mut in_guest = checker(&script(), LIMIT);
    let lines = in_flight(&image)?;
    let explore = |checker: &mut dyn Checker| {
        explore_state(image.clone(), lines.clone(), Vec::new(), &Plan::default(), checker)
    };
    let (guest, host) = (explore(&mut in_guest), explore(&mut on_host));
    ensure!(guest == host, "the guest says {guest:?}, the host says {host:?}");
    let counts = (host.states, host.failing);
    ensure!(counts == (4, 1), "of 4 states 1 is wrong, not {counts:?}");
    rig.figure("cpu_seconds_per_state", in_guest.cpu_seconds_per_state());
    rig.step("meet what is no verdict");
    expect_bad(&judge(&without_superblock(&image), &mut in_guest), "mount")?;
    let hangs = checker(&format!("exec {PROGRAM} rig::hangs"), Duration::from_secs(5));
    expect_fault(&image, hangs, "its time was over after 5s")?;
    let absent = checker("no_such_program {image}", LIMIT);
    expect_fault(&image, absent, "no verdict: exit status 127")?;
    let panics = checker("echo c > /proc/sysrq-trigger", LIMIT);
    expect_fault(&image, panics, "guest panicked")
}

/// An empty NVDIMM, and one with something else where a pool would begin.
fn devdax(rig: &Rig) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    std::fs::create_dir_all(rig.dir()).context("create the case's folder")?;
    let nvdimm = Nvdimm::create(rig.nvdimm(), SIZE, Mode::Devdax).context("create the NVDIMM")?;
    let good = std::fs::read(nvdimm.path()).context("read the NVDIMM")?;
    let mut bad = good.clone();
    bad[usize::try_from(nvdimm.data_offset())?..][..4].copy_from_slice(b"odd!");
    Ok((good, bad))
}

/// The image of an NVDIMM with a file system, made by a copy of the guest.
fn file_system(template: &Template, dir: &Path, path: &Path) -> anyhow::Result<Vec<u8>> {
    let nvdimm = Nvdimm::create(path, SIZE, Mode::Fsdax).context("create the NVDIMM")?;
    let guest = template.restore(nvdimm, dir).context("bring the guest back")?;
    let device = Mode::Fsdax.device();
    let make = format!("mkfs.ext4 -q -b 4096 {device}; mount -o dax {device} /mnt");
    let write = "dd bs=4096 conv=sync of=/mnt/file; umount /mnt";
    let content: String = FILE.into_iter().map(line).collect();
    guest.run_ok(&Command::shell(format!("{make}; {write}")).stdin(content))?;
    drop(guest.power_fail());
    std::fs::read(path).context("read the NVDIMM")
}

/// A line of text that is a line of the cache.
fn line(text: &str) -> String {
    format!("{text:width$}\n", width = LINE - 1)
}

fn bytes(text: &str) -> anyhow::Result<LineBytes> {
    Ok(line(text).as_bytes().try_into()?)
}

/// The second and the third line of the file, both on their way to what they change into.
fn in_flight(image: &[u8]) -> anyhow::Result<Vec<InFlight>> {
    let start = line(FILE[0]);
    let mut lines = image.chunks(LINE).zip((0..).step_by(LINE));
    let found = lines.find(|(bytes, _)| *bytes == start.as_bytes());
    let (_, at) = found.context("find the file in the image")?;
    let changes = FILE[1..].iter().zip(CHANGED).zip(1..);
    let change = |((old, new), number): ((&&str, &str), u64)| {
        let place = Offset(at + number * LINE as u64).line();
        Ok(InFlight::new(place, vec![bytes(old)?], bytes(new)?, false))
    };
    changes.map(change).collect()
}

/// What the host says: with its own eyes, without a file system.
#[expect(clippy::unnecessary_wraps, reason = "the type of every checker")]
fn on_host(view: &View<'_>) -> Result<Verdict, Fault> {
    let holds = |text| view.image.chunks(LINE).any(|bytes| bytes == line(text).as_bytes());
    let [data, done] = CHANGED;
    let wrong = holds(done) && !holds(data);
    Ok(if wrong { Verdict::Bad(WRONG.into()) } else { Verdict::Good })
}

/// What the guest says: with its file system.
fn script() -> String {
    let [data, done] = CHANGED;
    let wrong = format!("grep -q '{done}' {{image}}/file && ! grep -q '{data}' {{image}}/file");
    format!("if {wrong}; then echo {WRONG}; exit 1; fi")
}

/// Where ext4 says what it is.
fn without_superblock(image: &[u8]) -> Vec<u8> {
    let mut image = image.to_vec();
    image[(2 << 20) + 1024..][..1024].fill(0);
    image
}

fn judge(image: &[u8], checker: &mut GuestChecker) -> Explored {
    explore_state(image.to_vec(), Vec::new(), Vec::new(), &Plan::default(), checker)
}

fn expect_good(found: &Explored) -> anyhow::Result<()> {
    ensure!(found.is_good() && found.states == 1, "a good state, but: {found:?}");
    Ok(())
}

fn expect_bad(found: &Explored, words: &str) -> anyhow::Result<()> {
    let told = found.failures.iter().any(|failure| failure.why.contains(words));
    ensure!(told && found.fault.is_none(), "bad by {words:?}, but: {found:?}");
    Ok(())
}

fn expect_fault(image: &[u8], mut checker: GuestChecker, words: &str) -> anyhow::Result<()> {
    let found = judge(image, &mut checker);
    let told = found.fault.as_ref().is_some_and(|fault| fault.why.contains(words));
    ensure!(told && found.failing == 0, "a fault by {words:?}, but: {found:?}");
    Ok(())
}
