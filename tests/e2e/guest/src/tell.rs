//! Tell: what the guest half says to the host half, and hears from it.

use std::io::{BufRead, Write};

use anyhow::Context;
use serde_json::Value;

/// Says one object; it is out when this returns.
pub(crate) fn tell(what: &Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what}").and_then(|()| out.flush()).context("write to standard output")
}

/// Waits until the host half writes a line or ends our input.
pub(crate) fn wait_for_host() -> anyhow::Result<()> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("read standard input").map(drop)
}
