//! What an NVDIMM holds after a loss of power.
//!
//! The rules are those of `docs/crash-model.md`; the code cites them as M1, M2 and so on. Pure: no
//! guest, no QEMU, no process, only byte slices.
//!
//! - [`line`](mod@line), [`event`], [`marker`], [`rules`]: the words of the model; [`cut`]: at
//!   which marker power is to be lost.
//! - [`journal`]: what a device wrote, told by the device.
//! - [`trace`], [`recording`]: what was seen of a run, as a file and in memory.
//! - [`image`](mod@image): how an NVDIMM's bytes are kept.
//! - [`state`]: what is in flight at one moment, line by line, each with its possible values.
//! - [`model`]: two models that answer with such a state, from every store or from flushes alone;
//!   [`litmus`] holds them against what is known of real machines.
//! - [`explore`](mod@explore): which states are looked at; [`checker`]: who judges them.
//! - [`moment`], [`minimise`](mod@minimise), [`report`]: one failure, made small and explained;
//!   [`picture`](mod@picture) draws it, [`symbols`] names instructions; [`assertion`]: what should
//!   have been durable at a marker.

#![forbid(unsafe_code)]

pub mod assertion;
pub mod checker;
pub mod cut;
pub mod event;
pub mod explore;
pub mod image;
pub mod journal;
pub mod line;
pub mod litmus;
pub mod marker;
pub mod minimise;
pub mod model;
pub mod moment;
pub mod picture;
pub mod recording;
pub mod report;
pub mod rules;
pub mod state;
pub mod symbols;
pub mod trace;

pub use checker::{Checker, Fault, InTurn, Judges, Verdict, View};
pub use cut::CutAt;
pub use event::{
    Context, Dma, Event, Fence, FenceKind, Flush, FlushKind, Pc, Store, StoreBytes, Vcpu,
};
pub use explore::choices::Bounds;
pub use explore::flight::Choice;
pub use explore::point::{Point, Points, Shard};
pub use explore::{Explored, Failure, Plan, explore, explore_by, explore_state};
pub use line::{LINE, Line, LineBytes, Offset, Range, WORD};
pub use marker::{Marker, Op};
pub use model::diff::DiffModel;
pub use model::live::Live;
pub use model::stores::TraceModel;
pub use moment::Moment;
pub use recording::Recording;
pub use report::{Class, Report};
pub use rules::{DeviceWrites, Domain, Fences, Rules};
pub use state::{CrashState, InFlight, Survivors};
