//! Inner cases: cases that end badly on purpose; others judge how that is reported.

use crate::outcome::{Lost, Skipped};
use crate::rig::{Needs, Rig};

/// Passes at once.
#[expect(clippy::unnecessary_wraps, reason = "the type of every case")]
pub(super) fn passes(_: &mut Rig) -> anyhow::Result<()> {
    Ok(())
}

/// Fails at once.
pub(super) fn says_no(_: &mut Rig) -> anyhow::Result<()> {
    anyhow::bail!("the verdict is no")
}

/// Skips itself.
pub(super) fn does_not_apply(_: &mut Rig) -> anyhow::Result<()> {
    Err(Skipped("nothing to look at".into()).into())
}

/// Ends as if the guest had vanished.
pub(super) fn loses_its_guest(_: &mut Rig) -> anyhow::Result<()> {
    Err(Lost("the guest vanished".into()).into())
}

/// Waits for something that never comes.
pub(super) fn waits_in_vain(rig: &mut Rig) -> anyhow::Result<()> {
    rig.wait_in_vain()
}

/// Asks for a guest and is content when it is there.
pub(super) fn needs_a_guest(rig: &mut Rig) -> anyhow::Result<()> {
    rig.boot(Needs::default()).map(drop)
}
