//! What an NVDIMM holds after a loss of power.
//!
//! The rules are those of `docs/crash-model.md`; the code cites them as M1, M2 and so on. Pure: no
//! guest, no QEMU, no process, only byte slices.
//!
//! - [`line`], [`event`], [`marker`], [`rules`]: the words of the model.
//! - [`trace`]: what was seen of a run, as a file.
//! - [`state`]: what is in flight at one moment, line by line, each with its possible values.
//! - [`model`]: two models that answer with such a state, from every store or from flushes alone.

#![forbid(unsafe_code)]

pub mod event;
pub mod line;
pub mod marker;
pub mod model;
pub mod rules;
pub mod state;
pub mod trace;

pub use event::{Context, Dma, Event, Fence, FenceKind, Flush, FlushKind, Pc, Store, Vcpu};
pub use line::{LINE, Line, LineBytes, Offset, Range, WORD};
pub use marker::{Marker, Op};
pub use model::diff::DiffModel;
pub use rules::{DeviceWrites, Domain, Fences, Rules};
pub use state::{CrashState, InFlight};
