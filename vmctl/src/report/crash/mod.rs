//! Crash reports: what an exploration found, on a terminal, as JSON and as a page.

pub(crate) mod html;
pub(crate) mod judge;
pub(crate) mod result;
pub(crate) mod text;
