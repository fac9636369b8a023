//! Options: what stands after the plugin's file name on QEMU's command line.

use std::path::PathBuf;

use crash::{DeviceWrites, Domain, Fences, Rules};

/// How the observer is to work.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Where its lines go; the file is made anew.
    pub(crate) out: PathBuf,
    /// What is watched besides the guest's instructions.
    pub(crate) mode: Mode,
    /// What is assumed of the machine.
    pub(crate) rules: Rules,
    /// What fixes the guest's choices, for the header of traces; 0 if nothing does.
    pub(crate) seed: u64,
}

/// What is watched.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing else: `out=FILE` alone.
    Count,
    /// What is durable, kept in a file: `durable=FILE`. Who wants power to be lost at a marker
    /// says so in another one: `cuts=FILE`.
    Diff { place: Place, durable: PathBuf, cuts: Option<PathBuf> },
    /// Every store, kept in a folder: `traces=DIR`, in order with `journal=FILE`.
    Trace { place: Place, traces: PathBuf, journal: Option<PathBuf> },
}

/// Where the NVDIMM is: `nvdimm=FILE,base=ADDRESS,ram=FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The NVDIMM's file.
    pub(crate) nvdimm: PathBuf,
    /// The guest-physical address of its first byte.
    pub(crate) base: u64,
    /// The file that is the guest's memory, from address 0 on.
    pub(crate) ram: PathBuf,
}

/// Why the options are no good.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    #[error(
        "option {0:?} is unknown; there are out, nvdimm, ram, durable, cuts, traces, journal=FILE, \
         base=0xADDRESS, seed=NUMBER, domain=adr|eadr, fences=strict|hw, dma=cache|persist"
    )]
    Unknown(String),
    #[error("option {0}= is missing")]
    Missing(&'static str),
    #[error("durable= (diff mode) and traces= (trace mode) exclude each other")]
    TwoModes,
}

#[derive(Debug, Default)]
struct Words {
    out: Option<PathBuf>,
    nvdimm: Option<PathBuf>,
    base: Option<u64>,
    ram: Option<PathBuf>,
    durable: Option<PathBuf>,
    cuts: Option<PathBuf>,
    traces: Option<PathBuf>,
    journal: Option<PathBuf>,
    rules: Rules,
    seed: u64,
}

impl Options {
    /// Reads `key=value` words.
    pub(crate) fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, Wrong> {
        let mut all = Words::default();
        for word in words {
            let value = word.split_once('=').filter(|(_, value)| !value.is_empty());
            let known = value.and_then(|(key, value)| all.take(key, value));
            known.ok_or_else(|| Wrong::Unknown(word.to_owned()))?;
        }
        all.options()
    }
}

impl Words {
    fn take(&mut self, key: &str, value: &str) -> Option<()> {
        match (key, value) {
            ("out", path) => self.out = Some(path.into()),
            ("nvdimm", path) => self.nvdimm = Some(path.into()),
            ("ram", path) => self.ram = Some(path.into()),
            ("durable", path) => self.durable = Some(path.into()),
            ("cuts", path) => self.cuts = Some(path.into()),
            ("traces", path) => self.traces = Some(path.into()),
            ("journal", path) => self.journal = Some(path.into()),
            ("seed", number) => self.seed = number.parse().ok()?,
            ("base", number) => self.base = Some(hexadecimal(number)?),
            ("domain", "adr") => self.rules.domain = Domain::Adr,
            ("domain", "eadr") => self.rules.domain = Domain::Eadr,
            ("fences", "strict") => self.rules.fences = Fences::Strict,
            ("fences", "hw") => self.rules.fences = Fences::Hw,
            ("dma", "cache") => self.rules.dma = DeviceWrites::Cache,
            ("dma", "persist") => self.rules.dma = DeviceWrites::Persist,
            _ => return None,
        }
        Some(())
    }

    fn options(self) -> Result<Options, Wrong> {
        let Self { out, nvdimm, base, ram, durable, cuts, traces, journal, rules, seed } = self;
        let out = out.ok_or(Wrong::Missing("out"))?;
        let place = || {
            Ok(Place {
                nvdimm: nvdimm.ok_or(Wrong::Missing("nvdimm"))?,
                base: base.ok_or(Wrong::Missing("base"))?,
                ram: ram.ok_or(Wrong::Missing("ram"))?,
            })
        };
        let mode = match (durable, traces) {
            (None, None) => Mode::Count,
            (Some(durable), None) => Mode::Diff { place: place()?, durable, cuts },
            (None, Some(traces)) => Mode::Trace { place: place()?, traces, journal },
            (Some(_), Some(_)) => return Err(Wrong::TwoModes),
        };
        Ok(Options { out, mode, rules, seed })
    }
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(words: &str) -> Result<Options, Wrong> {
        Options::parse(words.split(',').filter(|word| !word.is_empty()))
    }

    #[test]
    fn options_are_exact() {
        let (mode, rules) = (Mode::Count, Rules::default());
        assert_eq!(parse("out=/a=b"), Ok(Options { out: "/a=b".into(), mode, rules, seed: 0 }));
        assert_eq!(parse("out=o,seed=18446744073709551615").map(|it| it.seed), Ok(u64::MAX));
        assert_eq!(parse(""), Err(Wrong::Missing("out")));
        for unknown in ["seed=-1", "out=", "in=x", "base=12", "base=0xz", "domain=x", "out"] {
            assert_eq!(parse(unknown), Err(Wrong::Unknown(unknown.into())));
        }
    }

    #[test]
    fn a_mode_needs_the_place_of_the_nvdimm() {
        let place = Place { nvdimm: "n".into(), base: 1 << 32, ram: "r".into() };
        let given = "out=o,nvdimm=n,base=0x100000000,ram=r";
        let diff = parse(&format!("{given},durable=d,domain=eadr,fences=hw,dma=persist")).unwrap();
        let (durable, cuts) = ("d".into(), None);
        assert_eq!(diff.mode, Mode::Diff { place: place.clone(), durable, cuts });
        let asked = parse(&format!("{given},durable=d,cuts=c")).unwrap().mode;
        assert!(matches!(asked, Mode::Diff { cuts: Some(file), .. } if file == Path::new("c")));
        let (domain, fences, dma) = (Domain::Eadr, Fences::Hw, DeviceWrites::Persist);
        assert_eq!(diff.rules, Rules { domain, fences, dma });
        let trace = parse(&format!("{given},traces=t,journal=j")).unwrap().mode;
        assert_eq!(trace, Mode::Trace { place, traces: "t".into(), journal: Some("j".into()) });
        assert_eq!(parse(&format!("{given},durable=d,traces=t")), Err(Wrong::TwoModes));
        assert_eq!(parse("out=o,durable=d,nvdimm=n,ram=r"), Err(Wrong::Missing("base")));
    }
}
