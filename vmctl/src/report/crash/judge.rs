//! Judge: who says whether a state is good, and the command that asks again.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use vm::crash::{Failure, Rules};
use vm::process::quoted;
use vm::recording::Elf;

use crate::cli::crash::judge::{CheckerArgs, InsideArgs, JudgeArgs};
use crate::cli::guest::Copy;
use crate::env;
use crate::exit::Usage;

/// How long a checker may take unless told otherwise.
const PATIENCE_SECONDS: u64 = 30;

/// Who judges states, and what they are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Judge {
    pub(crate) checker: String,
    /// Where the checker starts, if not in a guest.
    pub(crate) folder: PathBuf,
    pub(crate) timeout_seconds: u64,
    pub(crate) whole: bool,
    /// What it takes if it judges in a guest.
    #[serde(default)]
    pub(crate) in_guest: Option<Inside>,
    /// Files that name instructions, beside those of the recording.
    #[serde(default)]
    pub(crate) elf: Vec<Elf>,
}

/// The guest in which a checker runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inside {
    /// Its name; else it is the recording's.
    pub(crate) guest: Option<String>,
    /// Files that are copied there.
    pub(crate) put: Vec<Copy>,
    /// Its QEMU, if not the one in `PATH`.
    pub(crate) qemu: Option<PathBuf>,
}

impl Judge {
    /// The judge that a command line asks for.
    pub(crate) fn new(checker: &str, args: &JudgeArgs) -> anyhow::Result<Self> {
        let folder = std::env::current_dir().context("find the working folder")?;
        let (checker, timeout_seconds) = (checker.to_owned(), PATIENCE_SECONDS);
        let elf = Vec::new();
        let judge = Self { checker, folder, timeout_seconds, whole: false, in_guest: None, elf };
        judge.told(args)
    }

    /// This one, but for what a command line says.
    pub(crate) fn told(mut self, args: &JudgeArgs) -> anyhow::Result<Self> {
        let CheckerArgs { checker_timeout, whole, in_guest } = args.checker;
        if let Some(limit) = checker_timeout {
            self.timeout_seconds = limit.as_secs();
        }
        if whole {
            (self.whole, self.in_guest) = (true, None);
        }
        if in_guest {
            let InsideArgs { guest, put, qemu } = args.inside.clone();
            let found = |Copy { host, guest }| anyhow::Ok(Copy { host: absolute(&host)?, guest });
            let put = put.into_iter().map(found).collect::<anyhow::Result<_>>()?;
            (self.whole, self.in_guest) = (false, Some(Inside { guest, put, qemu }));
        }
        for Elf { path, bias } in &args.elf {
            // A file that is not there is told later, with the others.
            let path = absolute(path).unwrap_or_else(|_| path.clone());
            self.elf.push(Elf { path, bias: *bias });
        }
        Ok(self)
    }

    /// Whether it is another one; where its files are and how long it may take does not matter.
    pub(crate) fn is_not(&self, other: &Self) -> bool {
        let what = |judge: &Self| {
            let files =
                |inside: &Inside| inside.put.iter().map(|copy| copy.guest.clone()).collect();
            let inside = judge.in_guest.as_ref();
            let inside = inside.map(|inside| (inside.guest.clone(), files(inside)));
            let inside: Option<(_, Vec<PathBuf>)> = inside;
            (judge.checker.clone(), judge.whole, inside)
        };
        what(self) != what(other)
    }

    /// The command that judges a state of a recording again, wherever it is given; with more words.
    pub(crate) fn again(
        &self,
        recording: &Path,
        rules: Rules,
        failure: &Failure,
        more: &[&str],
    ) -> String {
        let (point, choice) = (failure.point.to_string(), failure.choice.to_string());
        let words =
            ["--point", &point, "--choice", &choice].into_iter().chain(more.iter().copied());
        let words: Vec<_> = words.map(OsStr::new).collect();
        self.command("replay", recording, &words, rules)
    }

    /// A command on a recording that asks this judge, with more words of its own.
    pub(crate) fn command(
        &self,
        name: &str,
        recording: &Path,
        more: &[&OsStr],
        Rules { domain, fences, dma }: Rules,
    ) -> String {
        let mut words: Vec<OsString> = vec![env::program().into(), "crash".into(), name.into()];
        words.push(recording.into());
        words.extend(more.iter().map(OsString::from));
        let mut option = |name: &str, value: &OsStr| words.extend([name.into(), value.to_owned()]);
        option("--checker", self.checker.as_ref());
        if self.timeout_seconds != PATIENCE_SECONDS {
            option("--checker-timeout", self.timeout_seconds.to_string().as_ref());
        }
        option("--domain", domain.name().as_ref());
        option("--fences", fences.name().as_ref());
        option("--dma", dma.name().as_ref());
        for Elf { path, bias } in &self.elf {
            option("--elf", &joined(path, "@", format!("{bias:#x}")));
        }
        if let Some(Inside { guest, put, qemu }) = &self.in_guest {
            let guest = guest.as_ref().map(|guest| ("--guest", OsString::from(guest)));
            let qemu = qemu.as_ref().map(|qemu| ("--qemu", OsString::from(qemu)));
            let put = put.iter().map(|copy| ("--put", joined(&copy.host, ":", &copy.guest)));
            guest.into_iter().chain(qemu).chain(put).for_each(|(name, to)| option(name, &to));
            words.push("--in-guest".into());
        }
        if self.whole {
            words.push("--whole".into());
        }
        let words: Vec<_> = words.iter().map(quoted).collect();
        // The checker may be named from there; the reader's shell stays where it is.
        format!("(cd {} && {})", quoted(&self.folder), words.join(" "))
    }
}

fn joined(first: &Path, sign: &str, second: impl AsRef<OsStr>) -> OsString {
    [first.as_os_str(), OsStr::new(sign), second.as_ref()].into_iter().collect()
}

/// A replay may be asked for elsewhere.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    Ok(fs::canonicalize(path)
        .map_err(|error| Usage(format!("find {}: {error}", path.display())))?)
}
