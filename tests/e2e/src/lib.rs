//! End-to-end cases: the host half. Each case is a short story about one guest; the guest half
//! is the program in `tests/e2e/guest`, one subcommand per case by the same name.
//!
//! ```text
//! runner --plays--> case --given a--> rig --from the--> world (image, modules, programs)
//!                     |                |
//!                     |              bench: a booted guest, its NIC and its NVDIMM
//!                   oracle: a pure judge of what the case saw
//! ```

#![forbid(unsafe_code)]

pub mod address;
mod bench;
pub mod case;
mod cases;
mod console;
mod court;
mod cpu;
mod deploy;
mod echo;
mod losses;
mod medium;
mod mutants;
mod needs;
mod oracle;
pub mod outcome;
mod part;
mod promises;
mod recovery;
mod rig;
pub mod runner;
mod seed;
mod sight;
mod stream;
pub mod toolchain;
mod way;
mod workshop;
pub mod world;

pub use case::Case;
pub use cases::{CASES, HIDDEN};
pub use outcome::{CaseResult, Cause, Outcome};
pub use seed::Seed;
pub use sight::Sight;
pub use way::{Station, Way};
pub use world::World;
