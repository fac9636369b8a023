//! Merging: the parts of an exploration that several machines made, as one.

use serde::{Deserialize, Serialize};

use super::{Explored, Plan};
use crate::explore::point::Shard;

/// What one shard found, with what makes it comparable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The hash of the trace ([`crate::trace::hash`]).
    pub trace: String,
    /// What was to be explored.
    pub plan: Plan,
    /// What was found.
    pub explored: Explored,
}

/// Several parts as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merged {
    /// All of it: as one part, whose shard is the whole.
    pub part: Part,
    /// The shards that nobody handed in; without them this is no verdict.
    pub missing: Vec<u64>,
}

/// Why parts are not of one exploration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotMerge {
    /// There are none.
    #[error("there is nothing to merge")]
    Nothing,
    /// They are of two traces.
    #[error("shard {shard} is of another trace")]
    Trace {
        /// The one that differs from the first.
        shard: Shard,
    },
    /// They have another seed, other rules, bounds or points, or another number of shards.
    #[error("shard {shard} is of another plan: the seed, the rules, the bounds or the points")]
    Plan {
        /// The one that differs from the first.
        shard: Shard,
    },
    /// One is there twice.
    #[error("shard {shard} is there twice")]
    Twice {
        /// Which one.
        shard: Shard,
    },
}

/// Merges parts, in whatever order they come.
///
/// # Errors
/// If they are not of one exploration.
pub fn merge(parts: impl IntoIterator<Item = Part>) -> Result<Merged, CannotMerge> {
    let mut parts = parts.into_iter();
    let Part { trace, plan, mut explored } = parts.next().ok_or(CannotMerge::Nothing)?;
    let (first, count) = plan.shard.parts();
    let mut there = vec![first];
    for part in parts {
        let shard = part.plan.shard;
        let (index, other) = shard.parts();
        if part.trace != trace {
            return Err(CannotMerge::Trace { shard });
        }
        if other != count || (Plan { shard: plan.shard, ..part.plan }) != plan {
            return Err(CannotMerge::Plan { shard });
        }
        if there.contains(&index) {
            return Err(CannotMerge::Twice { shard });
        }
        there.push(index);
        explored.merge(part.explored);
    }
    let missing = (0..count).filter(|index| !there.contains(index)).collect();
    let plan = Plan { shard: Shard::WHOLE, ..plan };
    Ok(Merged { part: Part { trace, plan, explored }, missing })
}
