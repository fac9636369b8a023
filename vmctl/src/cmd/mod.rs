//! Commands: one file each.

pub(crate) mod crash;
pub(crate) mod doctor;
mod gate;
pub(crate) mod image;
pub(crate) mod power;
pub(crate) mod run;
pub(crate) mod setup;
pub(crate) mod shell;
pub(crate) mod test;
pub(crate) mod up;
