//! Guest arguments: what `run` and `shell` can be told about their guest.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Args, value_parser};
use e2e::address;
use serde::{Deserialize, Serialize};

use super::{HostArgs, seconds};
use crate::forward::Ports;

/// The guest unless another one is named.
pub(crate) const GUEST: &str = "debian-12";

/// Where relative paths of the guest begin, and programs start.
pub(crate) const HOME: &str = "/root";

const RUN_HELP: &str = "\
The program is copied to /root and started there. A name without a slash is one of the guest's own
programs. The guest is a Debian 12 with glibc 2.36: link statically, or build for that.

Exit status: the program's own (128 + n: signal n killed it); 124: its time was over; 125: the
host could not provide what is needed; 126: the guest died; 130: interrupted.

Examples:
  vmctl run -- ./my-program --size 3 'two words'
  vmctl run --put data:data --get out.csv:. -- ./my-program data/input
  vmctl run --forward 8080:80 -- ./my-server     # then: curl localhost:8080
  vmctl run -q --no-module -- wc -c < some-file";

const SHELL_HELP: &str = "\
With a terminal the shell has one in the guest, too (job control, Ctrl-C, editing, window size);
else it reads commands from standard input. The guest ends with the shell.

Examples:
  vmctl shell
  vmctl shell --put ./my-program:. --forward 0:9000
  echo 'cat /proc/iomem' | vmctl shell --no-module";

/// What a guest is given.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct GuestArgs {
    /// The guest: a manifest in `images/`.
    #[arg(long, value_name = "NAME", default_value = GUEST, value_parser = name)]
    pub(crate) guest: String,
    /// Size of its NVDIMM, `/dev/dax0.0`: a multiple of 16 MiB; 0 for none.
    #[arg(long, value_name = "MIB", default_value = "128", value_parser = granules)]
    pub(crate) nvdimm: u32,
    /// Keep the NVDIMM in this file, which is used again if it is there.
    #[arg(long, value_name = "FILE")]
    pub(crate) nvdimm_file: Option<PathBuf>,
    /// The NVDIMM is a block device for a file system, `/dev/pmem0`.
    #[arg(long)]
    pub(crate) fsdax: bool,
    /// Its memory.
    #[arg(
        long,
        value_name = "MIB",
        default_value = "512",
        value_parser = value_parser!(u32).range(64..)
    )]
    pub(crate) memory: u32,
    /// Its CPUs.
    #[arg(
        long,
        value_name = "N",
        default_value = "1",
        value_parser = value_parser!(u32).range(1..=64)
    )]
    pub(crate) cpus: u32,
    /// Without a NIC.
    #[arg(
        long,
        conflicts_with = "forward",
        help = format!(
            "Without a NIC (else eth0 with {}; this machine is {})",
            address::GUEST,
            address::HOST
        )
    )]
    pub(crate) no_nic: bool,
    /// Without the PASTE module.
    #[arg(long)]
    pub(crate) no_module: bool,
    /// Copy a file or folder into the guest first; TO is relative to /root.
    #[arg(
        long,
        value_name = "FROM:TO",
        value_parser = OsStringValueParser::new().try_map(|text| put(&text))
    )]
    pub(crate) put: Vec<Copy>,
    /// Copy a file or folder of the guest here at the end.
    #[arg(
        long,
        value_name = "GUEST_PATH:TO",
        value_parser = OsStringValueParser::new().try_map(|text| get(&text))
    )]
    pub(crate) get: Vec<Copy>,
    /// A port of this machine (127.0.0.1) that leads to a TCP port of the guest; 0: any.
    #[arg(long, value_name = "HOST:GUEST", action = ArgAction::Append)]
    pub(crate) forward: Vec<Ports>,
    /// No progress; standard error is the program's alone.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
#[command(after_help = RUN_HELP)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) guest: GuestArgs,
    /// Kill the program after so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    /// The program and its arguments, which reach it byte for byte.
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(after_help = SHELL_HELP)]
pub(crate) struct ShellArgs {
    #[command(flatten)]
    pub(crate) guest: GuestArgs,
    #[command(flatten)]
    pub(crate) host: HostArgs,
}

/// A file or folder on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Copy {
    pub(crate) host: PathBuf,
    /// Absolute.
    pub(crate) guest: PathBuf,
}

/// Names become parts of paths.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let good = !text.is_empty() && text.chars().all(plain);
    good.then(|| text.to_owned()).ok_or_else(|| "the name of a manifest in images/".to_owned())
}

/// A size that an NVDIMM can have.
fn granules(text: &str) -> Result<u32, String> {
    let size = text.parse().ok().filter(|size: &u32| size.is_multiple_of(16));
    size.ok_or_else(|| "a multiple of 16".to_owned())
}

/// The host's path may hold colons, the guest's not.
pub(super) fn put(text: &OsStr) -> Result<Copy, String> {
    let at = text.as_bytes().iter().rposition(|&byte| byte == b':');
    let (from, to) = halves(text, at).ok_or("two paths, FROM:TO")?;
    Ok(Copy { host: from.into(), guest: in_guest(to) })
}

fn get(text: &OsStr) -> Result<Copy, String> {
    let at = text.as_bytes().iter().position(|&byte| byte == b':');
    let (from, to) = halves(text, at).ok_or("two paths, GUEST_PATH:TO")?;
    Ok(Copy { host: to.into(), guest: in_guest(from) })
}

fn halves(text: &OsStr, at: Option<usize>) -> Option<(&OsStr, &OsStr)> {
    let (first, second) = text.as_bytes().split_at(at?);
    let halves = (OsStr::from_bytes(first), OsStr::from_bytes(&second[1..]));
    (!halves.0.is_empty() && !halves.1.is_empty()).then_some(halves)
}

/// A path of the guest; relative ones begin in the home folder.
pub(crate) fn in_guest(path: &OsStr) -> PathBuf {
    // "." would leave its name in the path.
    let path = Path::new(path).strip_prefix(".").unwrap_or(Path::new(path));
    if path.as_os_str().is_empty() { PathBuf::from(HOME) } else { Path::new(HOME).join(path) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use std::os::unix::ffi::OsStringExt;

    use super::super::{Cli, Command};
    use super::*;

    fn run(args: &[&[u8]]) -> Result<RunArgs, clap::Error> {
        let words = [&b"vmctl"[..], b"run"].into_iter().chain(args.iter().copied());
        let words = words.map(|word| OsString::from_vec(word.to_vec()));
        match Cli::try_parse_from(words)?.command {
            Command::Run(args) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn everything_after_the_dashes_is_the_programs() {
        let words: [&[u8]; 7] = [b"--", b"./p", b"--quiet", b"--", b"", b"a b\n*'", b"\xff\xfe"];
        let args = run(&words).unwrap();
        let got: Vec<_> = args.command.iter().map(|word| word.as_bytes()).collect();
        assert_eq!(got, words[1..]);
        assert!(!args.guest.quiet);
        assert!(run(&[b"./p"]).is_err() && run(&[b"--"]).is_err() && run(&[]).is_err());
    }

    #[test]
    fn copies_have_two_ends() {
        let copy = |host: &str, guest: &str| Copy { host: host.into(), guest: guest.into() };
        let args: [&[u8]; 10] = [
            b"--put",
            b"a:b:/x/y",
            b"--put",
            b"dir:data",
            b"--put",
            b"p:.",
            b"--get",
            b"out:h:o",
            b"--get",
            b"/var/log:./",
        ];
        let args = run(&[&args[..], &[b"--", b"p"]].concat()).unwrap();
        let put = [copy("a:b", "/x/y"), copy("dir", "/root/data"), copy("p", "/root")];
        assert_eq!(args.guest.put, put);
        assert_eq!(args.guest.get, [copy("h:o", "/root/out"), copy("./", "/var/log")]);
        for half in [&b"a"[..], b":b", b"a:", b""] {
            assert!(run(&[b"--put", half, b"--", b"p"]).is_err());
            assert!(run(&[b"--get", half, b"--", b"p"]).is_err());
        }
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(run(&[b"--no-nic", b"--forward", b"1:2", b"--", b"p"]).is_err());
        assert!(run(&[b"--timeout", b"0", b"--", b"p"]).is_err());
        assert!(run(&[b"--forward", b"80", b"--", b"p"]).is_err());
        assert!(run(&[b"--nvdimm", b"17", b"--", b"p"]).is_err());
        assert!(run(&[b"--cpus", b"0", b"--", b"p"]).is_err());
        assert!(run(&[b"--guest", b"../x", b"--", b"p"]).is_err());
    }
}
