//! Record: a program in a guest, and a folder with everything that it did to its NVDIMM.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

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
use crate::session::{NotStarted, Session};

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
    let out = args.out.display();
    let made = fs::create_dir(&args.out);
    made.map_err(|error| Usage(format!("make the folder {out} for the recording: {error}")))?;
    let recorded = record_in(args, &program);
    if recorded.is_err() {
        // Goes only if nothing could be kept, so that the next try finds no folder.
        let _ = fs::remove_dir(&args.out);
    }
    match args.explore() {
        Some(explore) if matches!(recorded, Ok(0)) => {
            super::explore::run(&explore).map(Exit::status)
        }
        _ => recorded,
    }
}

/// Runs the program with a session of its own.
fn record_in(args: &RecordArgs, program: &Program) -> anyhow::Result<u8> {
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
    let played = play(args, program, &session, progress);
    session.end(played)
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
    Ok(())
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
    // Now, too: a guest that ends in the middle tells nothing any more.
    let names = Names::read(session)?;
    session.mark("arm")?;
    let played = run::play(&args.run, program, session, progress);
    let out = args.out.display();
    let (status, events) = match played.and_then(|status| Ok((status, whole(session)?))) {
        Ok((status, (folder, names))) => (status, save(args, program, session, &folder, &names)?),
        Err(why) if why.is::<NotStarted>() => return Err(why),
        Err(why) => {
            match keep_part(args, program, session, &names) {
                Ok(events) => eprintln!("vmctl: {events} events until then are kept in {out}"),
                Err(no) => eprintln!("vmctl: what was recorded until then is lost: {no:#}"),
            }
            return Err(why);
        }
    };
    note_unmapped(session)?;
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

/// What names a guest's kernel instructions: `/proc/kallsyms` and `/proc/modules`.
struct Names([String; 2]);

impl Names {
    fn read(session: &Session) -> anyhow::Result<Self> {
        let read = |path| session.script(&format!("cat {path}"));
        Ok(Self([read("/proc/kallsyms")?, read("/proc/modules")?]))
    }
}

/// Ends the recording: the folder of its trace, and the names as they are now.
fn whole(session: &Session) -> anyhow::Result<(PathBuf, Names)> {
    session.mark("disarm")?;
    let watch = session.watch().context("a session with an observer")?;
    // A program that arms by itself begins anew.
    let last = watch.recorded().context("record")?.pop();
    Ok((last.context("record: the guest executed no marker")?, Names::read(session)?))
}

/// Saves what was recorded before something went wrong.
fn keep_part(
    args: &RecordArgs,
    program: &Program,
    session: &Session,
    names: &Names,
) -> anyhow::Result<usize> {
    let watch = session.watch().context("a session with an observer")?;
    let last = watch.last_trace()?.context("the guest executed no marker")?;
    if is_full(&last) {
        eprintln!("vmctl: no room is left for the recording in {}", last.display());
    }
    save(args, program, session, &last, names)
}

/// Whether the disk with this folder is full: the observer has no room to tell that it is.
fn is_full(folder: &Path) -> bool {
    let probe = folder.join("room");
    let written = fs::write(&probe, [1; 1 << 13]);
    // Not there if nothing could be written.
    let _ = fs::remove_file(&probe);
    written.is_err_and(|error| error.kind() == ErrorKind::StorageFull)
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

/// Copies a trace and what names its instructions; how many events it has.
fn save(
    args: &RecordArgs,
    program: &Program,
    session: &Session,
    trace: &Path,
    Names([kallsyms, modules]): &Names,
) -> anyhow::Result<usize> {
    let out = &args.out;
    let (Traced { events, image, .. }, _) = Traced::read_part(trace).context("record")?;
    let (from, to) = (trace.join(TRACE), out.join(TRACE));
    fs::copy(&from, &to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    image::write(&out.join(BASE), &image).with_context(|| format!("write {BASE}"))?;
    let kept = |name: &str, text: &str| {
        fs::write(out.join(name), text).with_context(|| format!("write {name}"))
    };
    kept(KALLSYMS, kallsyms)?;
    kept(MODULES, modules)?;
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
