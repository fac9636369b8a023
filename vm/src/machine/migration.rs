//! Migration: a machine's devices saved in a file, and taken from there.
//!
//! Memory that is a shared file is no part of it (QEMU's capability `x-ignore-shared`): not the
//! guest's own, whose file is kept, and not an NVDIMM, whose file another machine brings along.

use std::fs::File;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Machine, QEMU_TIME, Silence};
use crate::error::{Failure, Result};

impl Machine {
    /// Saves the machine, which stands still and goes on doing so.
    pub(crate) fn save_to(&self, file: &File, time: Duration) -> Result<()> {
        self.set_capabilities()?;
        self.execute_with("migrate", &channel(file))?;
        self.await_migration("save", time)
    }

    /// Takes a saved machine's place; it stands still then.
    pub(crate) fn restore_from(&self, file: &File, time: Duration) -> Result<()> {
        self.set_capabilities()?;
        self.execute_with("migrate-incoming", &channel(file))?;
        self.await_migration("restore", time)
    }

    fn set_capabilities(&self) -> Result<()> {
        let on = |name| json!({"capability": name, "state": true});
        let all = json!({"capabilities": [on("x-ignore-shared"), on("events")]});
        self.execute_with("migrate-set-capabilities", &all).map(drop)
    }

    fn await_migration(&self, doing: &str, time: Duration) -> Result<()> {
        let deadline = Instant::now() + time;
        let events = self.migration.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(status) if status == "completed" => return Ok(()),
                Ok(status) if status == "failed" => break,
                Ok(_) => {}
                Err(_) if Instant::now() >= deadline => {
                    return Err(self.error(doing, Silence::Deadline(time)));
                }
                // QEMU ends when it cannot restore, and says why on its standard error.
                Err(_) => return Err(self.error(doing, Silence::Closed)),
            }
        }
        drop(events);
        let told = self.qmp.execute("query-migrate", &Value::Null, Instant::now() + QEMU_TIME);
        let why = told.ok().and_then(|told| Some(told["error-desc"].as_str()?.to_owned()));
        match why {
            Some(why) => Err(self.guest_error(doing, Failure::Lost(why))),
            None => Err(self.error(doing, Silence::Closed)),
        }
    }
}

fn channel(file: &File) -> Value {
    let name = crate::host::name_of(file);
    let file = json!({"transport": "file", "filename": name, "offset": 0});
    json!({"channels": [{"channel-type": "main", "addr": file}]})
}
