//! Told: the observer's lines.

use std::fmt;

use crash::Op;
use crash::model::diff::Missing;
use serde::Deserialize;

/// The counters at a marker STATS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Stats {
    /// The marker's number.
    #[serde(rename = "stats")]
    pub number: u64,
    /// The virtual CPU that executed it.
    pub vcpu: u32,
    /// Instructions that all virtual CPUs have executed since the guest's start.
    pub instructions: u64,
}

/// The verdict on a marker `ASSERT_PERSISTED`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Asserted {
    /// The marker's id.
    #[serde(rename = "asserted")]
    pub id: u64,
    /// The marker's address in the guest.
    pub pc: u64,
    /// The lines of its range that are not durable.
    pub missing: Vec<Missing>,
    /// Bytes of its range that are not in the NVDIMM.
    pub outside: u64,
}

/// A crash state that a marker SNAP asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Kept {
    /// The marker's id.
    #[serde(rename = "kept")]
    pub id: u64,
    /// How often it was executed.
    pub n: u64,
    /// The name of its file.
    pub(crate) state: String,
}

/// The marker at which a guest lost its power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Cut {
    /// Its id, 0 if it has none.
    #[serde(rename = "cut")]
    pub id: u64,
    /// How often it was executed; since the cut was asked for, if that is why.
    pub n: u64,
    /// Its operation: CUT, unless somebody asked for another one.
    pub op: Op,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, n, op } = self;
        f.write_str(op.name())?;
        if op.has_id() {
            write!(f, ":{id}")?;
        }
        write!(f, "#{n}")
    }
}

/// A trace is complete.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Recorded {
    #[serde(rename = "recorded")]
    pub(crate) name: String,
}

/// A flush named a page that was not there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Unmapped {
    #[serde(rename = "unmapped")]
    pub(crate) pc: u64,
}

/// Something did not work.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Failed {
    pub(crate) failed: String,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Told {
    Stats(Stats),
    Asserted(Asserted),
    Kept(Kept),
    Cut(Cut),
    Recorded(Recorded),
    Unmapped(Unmapped),
    Failed(Failed),
}

/// The whole lines of a text.
pub(crate) fn parse(text: &str) -> std::result::Result<Vec<Told>, String> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(line).collect()
}

fn line(line: &str) -> std::result::Result<Told, String> {
    match serde_json::from_str(line) {
        Ok(Told::Failed(Failed { failed })) => Err(format!("the observer: {failed}")),
        Ok(told) => Ok(told),
        Err(why) => Err(format!("{line:?}: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_read_and_foreign_ones_refused() {
        let first = r#"{"stats":1,"vcpu":0,"instructions":70}"#;
        let stats = Told::Stats(Stats { number: 1, vcpu: 0, instructions: 70 });
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse(first), Ok(vec![]));
        assert_eq!(parse(&format!("{first}\n{{\"sta")), Ok(vec![stats]));
        assert!(parse("{\"stats\":1}\n").unwrap_err().contains("stats"));
    }

    #[test]
    fn every_kind_of_line_is_known() {
        let text = r#"{"asserted":2,"pc":3,"missing":[{"line":5,"is_pending":true}],"outside":0}
{"kept":1,"n":2,"state":"state-1-2"}
{"cut":4,"n":1,"op":"checkpoint"}
{"recorded":"1","events":4}
{"unmapped":9}
"#;
        let all = parse(text).unwrap();
        assert!(matches!(&all[0], Told::Asserted(asserted) if asserted.missing.len() == 1));
        assert!(matches!(&all[1], Told::Kept(kept) if kept.n == 2));
        let cut = Cut { id: 4, n: 1, op: Op::Checkpoint };
        assert_eq!((&all[2], cut.to_string().as_str()), (&Told::Cut(cut), "checkpoint:4#1"));
        assert!(matches!(&all[3], Told::Recorded(recorded) if recorded.name == "1"));
        assert!(matches!(&all[4], Told::Unmapped(Unmapped { pc: 9 })));
        assert_eq!(parse("{\"failed\":\"disk full\"}\n"), Err("the observer: disk full".into()));
    }
}
