//! Guests: machines in QEMU that boot, run commands, lose power and boot again.
//!
//! The life of a guest is a chain of types, so that misuse does not compile:
//!
//! ```text
//! Spec --boot--> Guest --power_fail | shut_down | lost_power--> PowerLost --boot--> Guest
//! Spec --template--> Template --restore, any number of times--> Guest
//! Spec --closed--> Closed --run, to its own end--> Ended
//! ```
//!
//! A guest that lost power can only boot:
//!
//! ```compile_fail,E0382
//! fn misuse(guest: vm::Guest) {
//!     let off = guest.power_fail();
//!     guest.pause();
//! }
//! ```
//!
//! ```compile_fail,E0599
//! fn misuse(off: vm::PowerLost) {
//!     off.run(&vm::Command::new("true"));
//! }
//! ```
//!
//! This crate does not know what is tested
//! inside its guests. One module starts processes ([`process`]), one looks at the host ([`host`]).

#![deny(unsafe_code)]

pub mod accel;
mod argv;
mod channel;
pub mod check;
mod closed;
mod command;
mod console;
pub mod cut;
pub mod error;
pub mod evidence;
mod guest;
pub mod host;
pub mod image;
mod machine;
pub mod module;
pub mod nvdimm;
mod power;
#[expect(unsafe_code, reason = "pre_exec and pidfd_open have no safe wrapper")]
pub mod process;
mod qmp;
pub mod recording;
mod running;
pub mod setup;
mod spec;
mod template;
mod transfer;
pub mod units;
pub mod watch;

pub use ::crash;
pub use accel::Accel;
pub use closed::{Closed, Ended};
pub use command::{Command, Exit, ExitCode};
pub use cut::{NotCut, PendingCut};
pub use error::{Error, Failure, GuestError, Result};
pub use guest::Guest;
pub use nvdimm::Nvdimm;
pub use power::PowerLost;
pub use running::{Event, Input, Running};
pub use spec::{BootFiles, Mac, Nic, Spec};
pub use template::Template;
pub use units::Mib;
pub use vnet;
pub use watch::Watch;
