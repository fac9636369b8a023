//! Guests: machines in QEMU that boot, run commands, lose power and boot again.
//!
//! The life of a guest is a chain of types, so that misuse does not compile:
//!
//! ```text
//! Spec --boot--> Guest --power_fail | shut_down--> PowerLost --boot--> Guest
//! ```
//!
//! A guest that lost power has no methods except `boot`. This crate does not know what is tested
//! inside its guests. One module starts processes ([`process`]), one looks at the host (`host`).

#![deny(unsafe_code)]

pub mod error;
pub mod image;
pub mod module;
#[expect(unsafe_code, reason = "pre_exec and pidfd_open have no safe wrapper")]
pub mod process;
pub mod setup;

pub mod units;

pub use error::{Error, Failure, GuestError, Result};
pub use units::Mib;
pub use vnet;
