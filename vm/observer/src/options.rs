//! Options: what stands after the plugin's file name on QEMU's command line.

use std::path::PathBuf;

/// How the observer is to work.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Where its lines go; the file is made anew.
    pub(crate) out: PathBuf,
}

/// Why the options are no good.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    #[error("option {0:?} is unknown; there is out=FILE")]
    Unknown(String),
    #[error("option out=FILE is missing")]
    NoOut,
}

impl Options {
    /// Reads `key=value` words.
    pub(crate) fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, Wrong> {
        let mut out = None;
        for word in words {
            match word.split_once('=') {
                Some(("out", path)) if !path.is_empty() => out = Some(PathBuf::from(path)),
                _ => return Err(Wrong::Unknown(word.to_owned())),
            }
        }
        Ok(Self { out: out.ok_or(Wrong::NoOut)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_exact() {
        let ok = Options { out: "/a=b".into() };
        assert_eq!(Options::parse(["out=/a=b"]), Ok(ok));
        assert_eq!(Options::parse([]), Err(Wrong::NoOut));
        assert_eq!(Options::parse(["out="]), Err(Wrong::Unknown("out=".into())));
        assert_eq!(Options::parse(["in=x"]), Err(Wrong::Unknown("in=x".into())));
    }
}
