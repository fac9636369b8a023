//! Observer: a QEMU plugin that watches a guest from outside.
//!
//! The guest says where it is with markers (`crash::Op`), instructions that do nothing on any CPU.
//! The observer counts instructions, and watches an NVDIMM in one of two modes: `diff` knows at
//! each moment what of it is durable, `trace` records every event between ARM and DISARM. What
//! it has to tell it appends to a file (`lines`). The rules are `crash`'s; here is only where
//! events come from: `instruction` says what one does, `walk`, `window` and `memory` where,
//! `registers` on whose behalf. `qemu_api` declares what is used of QEMU's plugin interface, found
//! by name at load time; `plugin` is what QEMU calls. All `unsafe` is in these two and `memory`.
//!
//! Needs plugin interface 4 (QEMU 9.1), whose callbacks can read registers, or a newer one up to 7
//! (QEMU 11), whose callbacks have other shapes (`qemu_api::shape`).

#![deny(unsafe_code)]

mod diff;
mod instruction;
mod journal;
mod lines;
#[expect(unsafe_code, reason = "looks at memory that others write")]
mod memory;
mod observer;
mod open;
mod options;
#[expect(unsafe_code, reason = "QEMU calls these functions by their C names")]
mod plugin;
#[expect(unsafe_code, reason = "functions of QEMU's C interface")]
mod qemu_api;
mod registers;
mod times;
mod trace;
mod walk;
mod window;
