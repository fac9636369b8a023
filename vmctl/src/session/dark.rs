//! Dark: a session's guest without power.

use std::time::Duration;

use anyhow::Context;
use vm::crash::{CutAt, Survivors};
use vm::{PendingCut, PowerLost};

use crate::cli::guest::GuestArgs;
use crate::exit::Usage;
use crate::report::progress::Progress;

use super::{Place, Session, leave};

/// A guest without power, and what it hangs on.
#[derive(Debug)]
pub(crate) struct Dark {
    guest: PowerLost,
    place: Place,
}

/// Ways to lose power.
impl Session {
    /// Cuts its power.
    pub(crate) fn power_fail(self) -> Dark {
        Dark { guest: self.guest.power_fail(), place: self.place }
    }

    /// Asks for a loss of power at a marker.
    ///
    /// # Errors
    /// No observer can do that.
    pub(crate) fn cut_at(&self, at: CutAt) -> anyhow::Result<PendingCut> {
        if self.place.watch.is_none() {
            let way = "start it with `vmctl up --accel tcg`, and with an NVDIMM";
            return Err(Usage(format!("no observer sees this guest's markers: {way}")).into());
        }
        self.guest.cut_at(at).context("ask for a loss of power")
    }

    /// What is left of a guest that has lost its power at a marker, or does so within this time;
    /// and which marker that was.
    ///
    /// # Errors
    /// It goes on, or ended otherwise: here it is again, and why.
    pub(crate) fn lost_power(
        self,
        time: Duration,
    ) -> Result<(Dark, String), Box<(Self, vm::Error)>> {
        let Self { guest, place } = self;
        match guest.lost_power(time) {
            Ok(guest) => {
                let cut = guest.cut().ok().flatten();
                let at = cut.map_or_else(String::new, |cut| format!(" at marker {cut}"));
                Ok((Dark { guest, place }, at))
            }
            Err(not) => Err(Box::new((Self { guest: not.guest, place }, not.why))),
        }
    }
}

impl Dark {
    /// Leaves in the NVDIMM what survives of that which was not durable: how many lines that was.
    /// None if nobody knows; then every store survives.
    ///
    /// # Errors
    /// The observer's files are no good.
    pub(crate) fn settle(&self, survivors: Survivors) -> anyhow::Result<Option<usize>> {
        let found = self.guest.crash_state().context("look at what was durable")?;
        let Some((state, _)) = found else { return Ok(None) };
        self.guest.settle(survivors).context("lose what was not durable")?;
        Ok(Some(state.lines.len()))
    }

    /// Boots the guest again and prepares it.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub(crate) fn boot(self, args: &GuestArgs) -> anyhow::Result<Session> {
        let guest = self.guest.boot().context("boot again")?;
        let session = Session { guest, place: self.place };
        session.equip(args, &mut Progress::new(args.quiet))?;
        Ok(session)
    }

    /// Ends what the guest hangs on.
    pub(crate) fn end(self) {
        leave(&self.place.run_dir(), true);
    }
}
