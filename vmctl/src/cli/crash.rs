//! Crash arguments: what `crash` can be asked.

pub(crate) mod judge;

use std::path::PathBuf;

use clap::{Arg, Args, Subcommand, ValueEnum};
use vm::crash::{DeviceWrites, Domain, Fences, Rules, Shard};
use vm::recording::Elf;

use super::guest::RunArgs;
use judge::{
    CheckerArgs, ExploreArgs, FilesArgs, InsideArgs, JudgeArgs, MatrixArgs, MergeArgs, OtherRules,
    ReplayArgs, ReportArgs, StatesArgs,
};

const RECORD_HELP: &str = "\
The program runs in a guest of its own, as with `vmctl run`, on /dev/dax0.0 (--pmem devdax) or
in an empty ext4 with DAX on /mnt (--pmem fsdax). Every store, flush and fence is recorded, from
its start or, if it executes marker ARM, from its last ARM on (docs/crash-model.md).

With --checker what was recorded is explored at once, as `vmctl crash explore` does; with
--in-guest in guests like the program's, with the same --put files.

Exit status: the program's own; 125 if it could not be recorded. With --checker, where the program
ended with 0: as of `vmctl crash explore`.

Examples:
  vmctl crash record -o rec -- ./append /dev/dax0.0
  vmctl crash record -o rec --checker './append --check {image}' -- ./append /dev/dax0.0
  vmctl crash record -o rec --pmem fsdax --elf ./libstore.so -- ./my-program /mnt/file";

const CRASH_HELP: &str = "\
Example:
  vmctl crash record -o rec -- ./append /dev/dax0.0
  vmctl crash explore rec --checker './check {image}'";

#[derive(Debug, Args)]
#[command(after_help = CRASH_HELP)]
pub(crate) struct CrashArgs {
    #[command(subcommand)]
    pub(crate) command: CrashCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CrashCommand {
    /// Run a program in a guest and record what it does to its NVDIMM.
    Record(Box<RecordArgs>),
    /// Lose power at every point of a recording, and let a checker judge what is left.
    Explore(Box<ExploreArgs>),
    /// Judge one state of a recording again, and say what it is.
    Replay(Box<ReplayArgs>),
    /// Explore under every combination of rules, as one table.
    Matrix(Box<MatrixArgs>),
    /// Show a result again.
    Report(ReportArgs),
    /// Make one result of those of several shards.
    Merge(MergeArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = RECORD_HELP,
    mut_arg("nvdimm", |arg| arg.default_value("16")),
    mut_arg("fsdax", |arg| arg.hide(true)),
    mut_args(about_exploring),
)]
pub(crate) struct RecordArgs {
    /// The folder to make for the recording.
    #[arg(long, short, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Explore what was recorded with this command.
    #[arg(long, value_name = "CMD")]
    pub(crate) checker: Option<String>,
    /// How the program sees the NVDIMM.
    #[arg(long, value_enum, default_value = "devdax")]
    pub(crate) pmem: Pmem,
    /// Another ELF file that names instructions, loaded BIAS bytes above its own addresses; the
    /// program needs none.
    #[arg(long, value_name = "FILE[@BIAS]", value_parser = judge::elf)]
    pub(crate) elf: Vec<Elf>,
    #[command(flatten)]
    pub(crate) rules: RulesArgs,
    #[command(flatten)]
    pub(crate) checkers: CheckerArgs,
    #[command(flatten)]
    pub(crate) states: StatesArgs,
    #[command(flatten)]
    pub(crate) files: FilesArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

impl RecordArgs {
    /// What it takes to explore what was recorded, if that is asked for.
    pub(crate) fn explore(&self) -> Option<ExploreArgs> {
        let run = &self.run;
        let (guest, put) = (Some(run.guest.guest.clone()), run.guest.put.clone());
        let inside = InsideArgs { guest, put, qemu: run.host.qemu.clone() };
        let inside = if self.checkers.in_guest { inside } else { InsideArgs::default() };
        // What names instructions is in the recording.
        let judge = JudgeArgs { checker: self.checkers.clone(), inside, elf: Vec::new() };
        Some(ExploreArgs {
            recording: self.out.clone(),
            checker: self.checker.clone()?,
            judge,
            rules: OtherRules::default(),
            states: self.states.clone(),
            shard: Shard::WHOLE,
            files: self.files.clone(),
        })
    }
}

/// Options that mean nothing without a checker need one.
fn about_exploring(arg: Arg) -> Arg {
    const NAMES: [&str; 11] = [
        "checker_timeout",
        "whole",
        "in_guest",
        "points",
        "seed",
        "exhaustive",
        "random",
        "most",
        "jobs",
        "json",
        "html",
    ];
    let is_one = NAMES.contains(&arg.get_id().as_str());
    if is_one { arg.requires("checker").help_heading("With --checker") } else { arg }
}

/// How the program sees the NVDIMM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pmem {
    /// A device to map.
    Devdax,
    /// A file system with DAX.
    Fsdax,
}

/// The machine that loses its power.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct RulesArgs {
    /// What survives of the caches: nothing, or everything.
    #[arg(long, value_parser = domain, default_value = "adr", value_name = "adr|eadr")]
    pub(crate) domain: Domain,
    /// Whose flushes a fence completes: those of its own context, or all of its CPU.
    #[arg(long, value_parser = fences, default_value = "strict", value_name = "strict|hw")]
    pub(crate) fences: Fences,
    /// Where device writes land: in a cache, or in durable memory.
    #[arg(long, value_parser = dma, default_value = "cache", value_name = "cache|persist")]
    pub(crate) dma: DeviceWrites,
}

impl From<RulesArgs> for Rules {
    fn from(args: RulesArgs) -> Self {
        let RulesArgs { domain, fences, dma } = args;
        Self { domain, fences, dma }
    }
}

fn domain(text: &str) -> Result<Domain, String> {
    named([Domain::Adr, Domain::Eadr], Domain::name, text)
}

fn fences(text: &str) -> Result<Fences, String> {
    named([Fences::Strict, Fences::Hw], Fences::name, text)
}

fn dma(text: &str) -> Result<DeviceWrites, String> {
    named([DeviceWrites::Cache, DeviceWrites::Persist], DeviceWrites::name, text)
}

fn named<T: Copy>(all: [T; 2], name: fn(T) -> &'static str, text: &str) -> Result<T, String> {
    let found = all.into_iter().find(|one| name(*one) == text);
    found.ok_or_else(|| format!("one of {}, {}", name(all[0]), name(all[1])))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;

    fn record(words: &[&str]) -> Result<RecordArgs, clap::Error> {
        let all = ["vmctl", "crash", "record"].iter().chain(words);
        match Cli::try_parse_from(all)?.command {
            Command::Crash(CrashArgs { command: CrashCommand::Record(args) }) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_recording_is_of_a_small_nvdimm_unless_asked() {
        let args = record(&["-o", "r", "--", "./p", "a"]).unwrap();
        assert_eq!((args.run.guest.nvdimm, args.pmem), (16, Pmem::Devdax));
        assert_eq!(Rules::from(args.rules), Rules::default());
        let more = ["--nvdimm", "64", "--domain", "eadr", "--fences", "hw", "--dma", "persist"];
        let args = record(&[&["-o", "r"], &more[..], &["--", "p"]].concat()).unwrap();
        assert_eq!((args.run.guest.nvdimm, args.rules.domain), (64, Domain::Eadr));
        assert!(record(&["--", "p"]).is_err() && record(&["-o", "r"]).is_err());
        assert!(record(&["-o", "r", "--domain", "x", "--", "p"]).is_err());
    }

    #[test]
    fn what_explores_needs_a_checker() {
        fn all<'a>(more: &[&'a str]) -> Vec<&'a str> {
            [&["-o", "r"], more, &["--", "p"]].concat()
        }
        for alone in [&["--json", "j"][..], &["--points", "fence"], &["--whole"]] {
            assert!(record(&all(alone)).is_err(), "{alone:?}");
            let args = record(&all(&[&["--checker", "c {image}"], alone].concat())).unwrap();
            assert_eq!(args.explore().unwrap().checker, "c {image}");
        }
        assert!(record(&all(&[])).unwrap().explore().is_none());
        let inside = ["--checker", "c", "--in-guest", "--put", "a:b", "--guest", "g"];
        let explore = record(&all(&inside)).unwrap().explore().unwrap();
        let inside = explore.judge.inside;
        assert_eq!((inside.guest.as_deref(), inside.put.len()), (Some("g"), 1));
    }

    #[test]
    fn the_help_is_records_own() {
        let error = record(&["--help"]).unwrap_err().to_string();
        assert!(
            error.contains("vmctl crash record -o rec") && !error.contains("--fsdax"),
            "{error}"
        );
    }
}
