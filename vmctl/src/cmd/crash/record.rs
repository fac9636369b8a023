//! Record: a program in a guest, and a folder with everything that it did to its NVDIMM.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use vm::crash::{Event, Pc, image};
use vm::process::quoted;
use vm::recording::{BASE, Elf, Kernel, RECORD, Record, SCHEMA, TRACE, Traced};

use super::bias;
use crate::cli::crash::{Pmem, RecordArgs};
use crate::cmd::gate;
use crate::cmd::run::{self, Program};
use crate::env;
use crate::exit::{Exit, Usage};
use crate::report::progress::Progress;
use crate::session::Session;

/// Where the file system of `--pmem fsdax` is mounted in the guest.
const MOUNTED: &str = "mkfs.ext4 -q -b 4096 /dev/pmem0 && mkdir -p /mnt && \
                       mount -o dax=always /dev/pmem0 /mnt && sync";

/// Names of files in the recording.
const KALLSYMS: &str = "kallsyms";
const MODULES: &str = "modules";
const PROGRAM: &str = "program";

/// Runs the program and keeps what the observer saw; the program's exit status.
pub(super) fn run(args: &RecordArgs) -> anyhow::Result<u8> {
    let program = Program::find(Path::new(&args.run.command[0]))?;
    check(args)?;
    gate::pass(&args.run.host)?;
    let mut guest = args.run.guest.clone();
    guest.fsdax |= args.pmem == Pmem::Fsdax;
    let mut progress = Progress::new(guest.quiet);
    let rules = args.rules.into();
    let opened = Session::open_traced(&guest, &args.run.host, rules, &mut progress);
    let session = match opened {
        Ok(session) => session,
        Err(error) => {
            progress.close();
            return Err(error);
        }
    };
    let played = play(args, &program, &session, progress);
    let status = session.end(played)?;
    match args.explore() {
        Some(explore) if status == 0 => super::explore::run(&explore).map(Exit::status),
        _ => Ok(status),
    }
}

/// Refuses what would be found out late.
fn check(args: &RecordArgs) -> anyhow::Result<()> {
    let guest = &args.run.guest;
    let wrong = |why: &str| Err(Usage(why.to_owned()).into());
    if guest.cpus > 1 {
        return wrong("a recording needs --cpus 1: with more, the order of stores is not seen");
    }
    if guest.nvdimm == 0 {
        return wrong("a recording needs an NVDIMM");
    }
    if args.run.host.accel == crate::cli::Accel::Kvm {
        return wrong("a recording needs TCG: KVM does not show a guest's stores");
    }
    match fs::create_dir(&args.out) {
        Ok(()) => Ok(()),
        Err(error) => {
            let out = args.out.display();
            Err(Usage(format!("make the folder {out} for the recording: {error}")).into())
        }
    }
}

fn play(
    args: &RecordArgs,
    program: &Program,
    session: &Session,
    mut progress: Progress,
) -> anyhow::Result<u8> {
    if args.pmem == Pmem::Fsdax && args.run.guest.nvdimm_file.is_none() {
        progress.step("making a file system");
        session.script(MOUNTED).context("make a file system")?;
    }
    session.mark("arm")?;
    let status = run::play(&args.run, program, session, progress)?;
    session.mark("disarm")?;
    let events = save(args, program, session)?;
    note_unmapped(session)?;
    let out = args.out.display();
    if status != 0 {
        eprintln!("vmctl: the program ended with exit status {status}");
    }
    eprintln!("vmctl: {events} events recorded in {out}");
    if args.checker.is_none() {
        let (vmctl, out) = (quoted(env::program()), quoted(&args.out));
        eprintln!("vmctl: next: {vmctl} crash explore {out} --checker 'CMD {{image}}'");
    }
    Ok(status)
}

/// What the recording cannot know.
fn note_unmapped(session: &Session) -> anyhow::Result<()> {
    let watch = session.watch().context("a session with an observer")?;
    let unmapped = watch.unmapped().context("read the observer's notes")?;
    if let Some(first) = unmapped.first() {
        let (count, first) = (unmapped.len(), first.0);
        eprintln!(
            "vmctl: {count} flush instructions (the first at {first:#x}) named pages that the \
             program had not touched; the emulator passes them by, a CPU does not: touch the \
             pages first, or lines count as not flushed that are"
        );
    }
    Ok(())
}

/// Copies the last trace and what names its instructions; how many events it has.
fn save(args: &RecordArgs, program: &Program, session: &Session) -> anyhow::Result<usize> {
    let watch = session.watch().context("a session with an observer")?;
    let traces = watch.recorded().context("record")?;
    // A program that arms by itself begins anew.
    let last = traces.last().context("record: the guest executed no marker")?;
    let out = &args.out;
    let Traced { events, image, .. } = Traced::read(last).context("record")?;
    let (from, to) = (last.join(TRACE), out.join(TRACE));
    fs::copy(&from, &to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    image::write(&out.join(BASE), &image).with_context(|| format!("write {BASE}"))?;
    let kept = |name: &str, text: &str| {
        fs::write(out.join(name), text).with_context(|| format!("write {name}"))
    };
    kept(KALLSYMS, &session.script("cat /proc/kallsyms")?)?;
    kept(MODULES, &session.script("cat /proc/modules")?)?;
    let mut elf: Vec<_> = args.elf.iter().map(absolute).collect::<Result<_, _>>()?;
    if let Some(bytes) = program.bytes() {
        fs::write(out.join(PROGRAM), bytes).context("write the program")?;
        let bias = bias::find(bytes, &executed(&events));
        elf.push(Elf { path: PROGRAM.into(), bias });
    }
    record(args, session, elf)?.write(out).with_context(|| format!("write {RECORD}"))?;
    Ok(events.len())
}

fn record(args: &RecordArgs, session: &Session, elf: Vec<Elf>) -> anyhow::Result<Record> {
    let text = |word: &std::ffi::OsString| word.to_string_lossy().into_owned();
    let nvdimm = session.guest().nvdimms().first().context("a guest with an NVDIMM")?;
    let versions = BTreeMap::from([
        ("vmctl".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("kernel".to_owned(), session.guest().kernel().to_owned()),
    ]);
    let kernel =
        Kernel { kallsyms: KALLSYMS.into(), modules: Some(MODULES.into()), files: BTreeMap::new() };
    Ok(Record {
        schema: SCHEMA,
        window: nvdimm.window()?,
        guest: Some(args.run.guest.guest.clone()),
        program: args.run.command.iter().map(text).collect(),
        command: std::env::args_os().map(|word| text(&word)).collect(),
        versions,
        elf,
        kernel: Some(kernel),
    })
}

fn absolute(Elf { path, bias }: &Elf) -> anyhow::Result<Elf> {
    let path = fs::canonicalize(path).with_context(|| format!("find {}", path.display()))?;
    Ok(Elf { path, bias: *bias })
}

/// The addresses of the markers that were executed.
fn executed(events: &[Event]) -> Vec<Pc> {
    let pc = |event: &Event| if let Event::Marker(marker) = event { Some(marker.pc) } else { None };
    let mut all: Vec<_> = events.iter().filter_map(pc).collect();
    all.sort_unstable();
    all.dedup();
    all
}
