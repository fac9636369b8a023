//! End-to-end cases: the host half. Each case is a short story about one guest; the guest half
//! is the program in `tests/e2e/guest`, one subcommand per case by the same name.
//!
//! ```text
//! runner --plays--> case --given a--> rig --from the--> world (image, modules, programs)
//!                     |
//!                   oracle: a pure judge of what the case saw
//! ```

#![forbid(unsafe_code)]

pub mod case;
pub mod cases;
mod cpu;
pub mod oracle;
pub mod outcome;
pub mod rig;
pub mod runner;
pub mod seed;
pub mod stream;
pub mod world;

pub use case::Case;
pub use cases::{CASES, HIDDEN};
pub use outcome::{CaseResult, Cause, Outcome};
pub use seed::Seed;
pub use world::World;
