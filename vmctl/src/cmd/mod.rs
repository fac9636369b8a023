//! Commands: one file each.

mod gate;
pub(crate) mod image;
pub(crate) mod setup;
pub(crate) mod test;
