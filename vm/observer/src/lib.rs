//! Observer: a QEMU plugin that watches a guest from outside.
//!
//! The guest says where it is with markers (`crash::Op`), instructions that do nothing on any CPU.
//! The observer counts the guest's instructions and writes the count at each marker of kind STATS
//! into a file, one JSON object a line (`count`). `qemu_api` declares what it uses of QEMU's
//! plugin interface, found by name at load time, so that one library serves every QEMU that has
//! it; `plugin` is what QEMU calls. All `unsafe` is in these two.
//!
//! Needs plugin interface 4 or newer (QEMU 9.1), whose callbacks can read registers.

#![deny(unsafe_code)]

mod count;
mod options;
#[expect(unsafe_code, reason = "QEMU calls these functions by their C names")]
mod plugin;
#[expect(unsafe_code, reason = "functions of QEMU's C interface")]
mod qemu_api;
