//! Judge arguments: what the commands on a recording can be told.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};
use vm::crash::{Bounds, Choice, DeviceWrites, Domain, Fences, Point, Points, Rules, Shard};
use vm::recording::Elf;

use super::{dma, domain, fences};
use crate::cli::guest::{Copy, name, put};
use crate::cli::seconds;

const EXPLORE_HELP: &str = "\
The checker is a command for /bin/sh. {image} stands for a file with the state: what the program saw
as its device. Exit status 0: good; 1: bad; anything else is no verdict and ends the exploration.
The markers before the crash come on standard input, or as a file {markers}; CRASH_CHECKPOINT has
the id of the last checkpoint.

Exit status: 0: every state is good; 1: one is bad, or an assertion does not hold; 125: there is no
verdict; 130: interrupted, what was found until then is reported.

Examples:
  vmctl crash explore rec --checker './check {image}'
  vmctl crash explore rec --checker 'e2fsck -fn {image}' --points store --html report.html
  vmctl crash explore rec --checker './check {image}/file' --in-guest --put check:.
  vmctl crash explore rec --checker './check {image}' --shard 0/2 --json part0.json";

const REPLAY_HELP: &str = "\
Every failure is shown with the command that replays it; the checker starts in the folder where it
started then. Of a result, the options that are given here take the place of what it says.

Exit status: 0: the state is good; 1: it is bad; 125: there is no verdict.

Examples:
  vmctl crash replay rec --point 12.0 --choice all,3=0 --checker './check {image}'
  vmctl crash replay result.json --id 5f0c12ab --image state.img";

const MATRIX_HELP: &str = "\
Exit status: 0: every state of every row is good; 1: one is bad; 125: there is no verdict.

Example:
  vmctl crash matrix rec --checker './check {image}' --points fence";

const REPORT_HELP: &str = "\
Exit status: that of the command that wrote the result.

Example:
  vmctl crash report result.json --html report.html";

const MERGE_HELP: &str = "\
Exit status: as of `vmctl crash explore` without shards; 125 if shards are missing.

Example:
  vmctl crash merge part0.json part1.json --json result.json";

/// How a checker is run.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct CheckerArgs {
    /// Kill a checker after so many seconds; that is no verdict (default: 30).
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) checker_timeout: Option<Duration>,
    /// The checker sees the whole NVDIMM, with what lies before the program's device.
    #[arg(long)]
    pub(crate) whole: bool,
    /// The checker is a program of a guest that is brought back for each state: {image} is
    /// /dev/dax0.0, or the folder where the file system is mounted.
    #[arg(long, conflicts_with = "whole")]
    pub(crate) in_guest: bool,
}

/// The guest of a checker.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct InsideArgs {
    /// The checker's guest, a manifest in `images/` (default: that of the recording).
    #[arg(long, value_name = "NAME", requires = "in_guest", value_parser = name)]
    pub(crate) guest: Option<String>,
    /// Copy a file or folder into that guest first; TO is relative to /root, where checkers start.
    #[arg(
        long,
        value_name = "FROM:TO",
        requires = "in_guest",
        value_parser = OsStringValueParser::new().try_map(|text| put(&text))
    )]
    pub(crate) put: Vec<Copy>,
    /// The QEMU of that guest, instead of the one in PATH.
    #[arg(long, value_name = "PATH", requires = "in_guest")]
    pub(crate) qemu: Option<PathBuf>,
}

/// Who judges what.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct JudgeArgs {
    #[command(flatten)]
    pub(crate) checker: CheckerArgs,
    #[command(flatten)]
    pub(crate) inside: InsideArgs,
    /// Another ELF file that names instructions, loaded BIAS bytes above its own addresses.
    #[arg(long, value_name = "FILE[@BIAS]", value_parser = elf)]
    pub(crate) elf: Vec<Elf>,
}

/// Rules that are not those under which the recording was made.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct OtherRules {
    /// What survives of the caches (default: as recorded).
    #[arg(long, value_parser = domain, value_name = "adr|eadr")]
    pub(crate) domain: Option<Domain>,
    /// Whose flushes a fence completes (default: as recorded).
    #[arg(long, value_parser = fences, value_name = "strict|hw")]
    pub(crate) fences: Option<Fences>,
    /// Where device writes land (default: as recorded).
    #[arg(long, value_parser = dma, value_name = "cache|persist")]
    pub(crate) dma: Option<DeviceWrites>,
}

impl OtherRules {
    /// The rules, over those of a recording.
    pub(crate) fn over(self, recorded: Rules) -> Rules {
        Rules {
            domain: self.domain.unwrap_or(recorded.domain),
            fences: self.fences.unwrap_or(recorded.fences),
            dma: self.dma.unwrap_or(recorded.dma),
        }
    }
}

/// Which states are looked at.
#[derive(Clone, Debug, Args)]
pub(crate) struct StatesArgs {
    /// After which events power is lost.
    #[arg(long, value_enum, default_value = "every")]
    pub(crate) points: PointsArg,
    /// The number that fixes every choice (default: the recording's).
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Of a point with up to so many states, all of them.
    #[arg(long, value_name = "N", default_value_t = Bounds::default().exhaustive)]
    pub(crate) exhaustive: u64,
    /// Of a larger point, so many random states beside the regular ones.
    #[arg(long, value_name = "N", default_value_t = Bounds::default().random)]
    pub(crate) random: u32,
    /// The most regular states of a point; beyond that a sample.
    #[arg(long, value_name = "N", default_value_t = Bounds::default().most)]
    pub(crate) most: u64,
    /// How many checkers run at a time (default: one for each CPU).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) jobs: Option<u16>,
}

impl StatesArgs {
    /// How many states of a point.
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds { exhaustive: self.exhaustive, random: self.random, most: self.most }
    }
}

/// After which events power is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PointsArg {
    /// Markers.
    Marker,
    /// Fences and markers.
    Fence,
    /// Stores, fences and markers.
    Store,
    /// All of these, and each line of a device write.
    Every,
}

impl From<PointsArg> for Points {
    fn from(arg: PointsArg) -> Self {
        match arg {
            PointsArg::Marker => Self::MARKERS,
            PointsArg::Fence => Self::FENCES,
            PointsArg::Store => Self::STORES,
            PointsArg::Every => Self::EVERY,
        }
    }
}

/// Where a report goes beside the terminal.
#[derive(Clone, Debug, Args)]
pub(crate) struct FilesArgs {
    /// Write the result as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the report as one HTML page.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = EXPLORE_HELP)]
pub(crate) struct ExploreArgs {
    /// The recording.
    #[arg(value_name = "DIR")]
    pub(crate) recording: PathBuf,
    /// The command that judges a state.
    #[arg(long, value_name = "CMD")]
    pub(crate) checker: String,
    #[command(flatten)]
    pub(crate) judge: JudgeArgs,
    #[command(flatten)]
    pub(crate) rules: OtherRules,
    #[command(flatten)]
    pub(crate) states: StatesArgs,
    /// Only part I (from 0 on) of N of the points.
    #[arg(long, value_name = "I/N", default_value = "0/1")]
    pub(crate) shard: Shard,
    #[command(flatten)]
    pub(crate) files: FilesArgs,
}

#[derive(Debug, Args)]
#[command(after_help = MATRIX_HELP)]
pub(crate) struct MatrixArgs {
    /// The recording.
    #[arg(value_name = "DIR")]
    pub(crate) recording: PathBuf,
    /// The command that judges a state.
    #[arg(long, value_name = "CMD")]
    pub(crate) checker: String,
    #[command(flatten)]
    pub(crate) judge: JudgeArgs,
    #[command(flatten)]
    pub(crate) states: StatesArgs,
}

#[derive(Debug, Args)]
#[command(after_help = REPLAY_HELP)]
pub(crate) struct ReplayArgs {
    /// The recording, or a result.
    #[arg(value_name = "DIR|RESULT")]
    pub(crate) from: PathBuf,
    /// The failure's short name in the result.
    #[arg(long, value_name = "ID", conflicts_with_all = ["point", "choice"])]
    pub(crate) id: Option<String>,
    /// Where power is lost.
    #[arg(long, value_name = "EVENT.STEP", requires = "choice")]
    pub(crate) point: Option<Point>,
    /// What survives: all or none, and LINE=VALUE for each line that is otherwise.
    #[arg(long, value_name = "CHOICE", requires = "checker", requires = "point")]
    pub(crate) choice: Option<Choice>,
    /// The command that judges the state.
    #[arg(long, value_name = "CMD")]
    pub(crate) checker: Option<String>,
    /// Write the state, as the checker sees it, to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) judge: JudgeArgs,
    #[command(flatten)]
    pub(crate) rules: OtherRules,
    #[command(flatten)]
    pub(crate) moved: MovedArgs,
}

/// Where a result's recording is now.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct MovedArgs {
    /// The recording, if it is not any more where the result says.
    #[arg(long, value_name = "DIR")]
    pub(crate) recording: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = REPORT_HELP)]
pub(crate) struct ReportArgs {
    /// The result: what `explore --json` or `merge --json` wrote.
    #[arg(value_name = "RESULT")]
    pub(crate) result: PathBuf,
    /// Write the report as one HTML page.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) moved: MovedArgs,
}

#[derive(Debug, Args)]
#[command(after_help = MERGE_HELP)]
pub(crate) struct MergeArgs {
    /// The results of all shards.
    #[arg(value_name = "PART", required = true)]
    pub(crate) parts: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) files: FilesArgs,
    #[command(flatten)]
    pub(crate) moved: MovedArgs,
}

/// A path, which may hold an `@`, and a number after the last one.
pub(super) fn elf(text: &str) -> Result<Elf, String> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    let split = text.rsplit_once('@').and_then(|(path, bias)| Some((path, number(bias)?)));
    let (path, bias) = split.unwrap_or((text, 0));
    if path.is_empty() {
        return Err("a file, or a file and the distance to its addresses: FILE@0x1000".to_owned());
    }
    Ok(Elf { path: path.into(), bias })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_elf_file_may_have_a_bias() {
        let elf = |text| elf(text).map(|elf| (elf.path.display().to_string(), elf.bias));
        assert_eq!(elf("a.so"), Ok(("a.so".into(), 0)));
        assert_eq!(elf("a@b.so@0x1000"), Ok(("a@b.so".into(), 0x1000)));
        assert_eq!(elf("a@b.so"), Ok(("a@b.so".into(), 0)));
        assert!(elf("").is_err() && elf("@1").is_err());
    }
}
