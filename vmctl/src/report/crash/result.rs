//! Result: what was found in a recording, as JSON, so that it can be shown, merged and replayed.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use vm::crash::assertion::Assertions;
use vm::crash::explore::merge::{Part, merge};
use vm::crash::report::{Redundant, Site};
use vm::crash::{Class, Explored, Failure, Pc, Report};

use super::judge::Judge;
use crate::exit::{Exit, Usage};

/// The version of the layout; a change that breaks readers raises it.
const SCHEMA: u32 = 2;

/// The result of an exploration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CrashResult {
    pub(crate) schema: u32,
    /// The recording's folder.
    pub(crate) recording: PathBuf,
    /// Who judged.
    pub(crate) judge: Judge,
    /// What was to be explored, and what was found.
    pub(crate) part: Part,
    /// The shards that are not in it.
    pub(crate) missing: Vec<u64>,
    /// How many events the trace has.
    pub(crate) events: u64,
    /// Where in the NVDIMM the program's device begins.
    pub(crate) device: u64,
    /// Why it has no more, if it was cut short.
    pub(crate) cut: Option<String>,
    /// Each mistake once.
    pub(crate) mistakes: Vec<Mistake>,
    /// Why there may be more mistakes than these.
    pub(crate) unexplained: Option<String>,
    /// What the program said must be durable.
    pub(crate) assertions: Assertions,
    /// Instructions that work for nothing.
    pub(crate) redundant: Redundant,
}

/// A failure, explained, with the name of its smallest state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mistake {
    pub(crate) id: String,
    pub(crate) report: Report,
}

impl Mistake {
    pub(crate) fn new(report: Report) -> Self {
        Self { id: failure(&report).id(), report }
    }

    /// Two with the same are the same mistake.
    pub(crate) fn kind(&self) -> (Class, BTreeSet<Option<Pc>>) {
        let writer = |site: &Site| site.pc;
        let lost = self.report.lost.iter();
        let writers = lost.map(|lost| lost.writer.as_ref().and_then(writer)).collect();
        (self.report.class, writers)
    }
}

/// The smallest failing state of a report.
fn failure(report: &Report) -> Failure {
    let Report { point, choice, why, .. } = report.clone();
    Failure { point, choice, why }
}

impl CrashResult {
    /// A result without anything that needs the trace or the checker again.
    pub(crate) fn new(recording: PathBuf, judge: Judge, part: Part) -> Self {
        Self {
            schema: SCHEMA,
            recording,
            judge,
            part,
            missing: Vec::new(),
            events: 0,
            device: 0,
            cut: None,
            mistakes: Vec::new(),
            unexplained: None,
            assertions: Assertions::default(),
            redundant: Redundant::default(),
        }
    }

    /// Reads a result.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let wrong = |why: &str| Usage(format!("{}: this is no result: {why}", path.display()));
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(wrong("not there"))?,
            read => read.with_context(|| format!("read {}", path.display()))?,
        };
        let Version { schema } =
            serde_json::from_slice(&bytes).map_err(|error| wrong(&error.to_string()))?;
        if schema != SCHEMA {
            return Err(wrong(&format!("it has schema {schema}, not {SCHEMA}")).into());
        }
        Ok(serde_json::from_slice(&bytes).map_err(|error| wrong(&error.to_string()))?)
    }

    /// One result of several, each of one shard.
    pub(crate) fn merged(results: Vec<Self>) -> anyhow::Result<Self> {
        let usage = |error: String| Usage(format!("these results cannot be merged: {error}"));
        let parts = results.iter().map(|result| result.part.clone());
        let merged = merge(parts).map_err(|error| usage(error.to_string()))?;
        let mut results = results.into_iter();
        let mut all = results.next().ok_or_else(|| usage("there are none".to_owned()))?;
        let mut kinds: BTreeSet<_> = all.mistakes.iter().map(Mistake::kind).collect();
        for one in results {
            if one.judge.is_not(&all.judge) {
                let shard = one.part.plan.shard;
                return Err(usage(format!("shard {shard} was judged by another checker")).into());
            }
            let new = one.mistakes.into_iter().filter(|mistake| kinds.insert(mistake.kind()));
            all.mistakes.extend(new);
            all.unexplained = all.unexplained.or(one.unexplained);
        }
        all.mistakes.sort_by_key(|mistake| mistake.report.point);
        all.part = merged.part;
        all.missing = merged.missing;
        Ok(all)
    }

    /// What was found.
    pub(crate) fn explored(&self) -> &Explored {
        &self.part.explored
    }

    /// Why this is no verdict, although no state is bad.
    pub(crate) fn no_verdict(&self) -> Option<String> {
        let explored = self.explored();
        if let Some(fault) = &explored.fault {
            return Some(fault.why.clone());
        }
        if let Some(cut) = &self.cut {
            return Some(format!("the recording is not whole: {cut}"));
        }
        if !self.missing.is_empty() {
            return Some(format!("shards are missing: {:?}", self.missing));
        }
        let is_empty = explored.states == 0 && self.part.plan.shard.parts().1 == 1;
        is_empty.then(|| "the recording has no such crash points: nothing was judged".to_owned())
    }

    /// How the command ends.
    pub(crate) fn exit(&self) -> Exit {
        if self.explored().failing > 0 || !self.assertions.broken.is_empty() {
            Exit::Failed
        } else if self.no_verdict().is_some() {
            Exit::Infrastructure
        } else {
            Exit::Pass
        }
    }

    /// The failure with this short name: of a mistake, or one that is not explained.
    pub(crate) fn find(&self, id: &str) -> Option<Failure> {
        let mistakes = self.mistakes.iter().map(|mistake| failure(&mistake.report));
        let explored = self.explored();
        let others = explored.failures.iter().chain(&explored.fault).cloned();
        mistakes.chain(others).find(|failure| failure.id() == id)
    }

    /// The command that judges a state again.
    pub(crate) fn again(&self, failure: &Failure) -> String {
        self.judge.again(&self.recording, self.part.plan.rules, failure, &[])
    }

    /// Likewise, and keeps the state as a file.
    pub(crate) fn keep_state(&self, failure: &Failure) -> String {
        let (rules, more) = (self.part.plan.rules, ["--image", "state.img"]);
        self.judge.again(&self.recording, rules, failure, &more)
    }

    /// The command that replays a mistake.
    pub(crate) fn replay(&self, mistake: &Mistake) -> String {
        self.again(&failure(&mistake.report))
    }

    /// The whole result, with a line break at its end.
    pub(crate) fn json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self).context("write the result as JSON")? + "\n")
    }
}
