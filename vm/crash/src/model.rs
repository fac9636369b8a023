//! Models: who answers what may survive. Two forms of the same rules (M15).

pub mod diff;
pub mod history;
pub mod live;
mod pending;
pub mod stores;
