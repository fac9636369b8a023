//! Part: the guest half of a case while it runs, and what it says line by line.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::{Context, bail};
use serde_json::Value;
use vm::{Event, ExitCode, Running};

use crate::bench::{PATIENCE, in_time};

/// The guest half of a case while it runs. Dropped: it is killed with the guest.
#[derive(Debug)]
pub struct Part {
    name: String,
    running: Running,
    /// What came after the last line break.
    rest: Vec<u8>,
    lines: VecDeque<Value>,
    /// What it said to standard error; shown when it fails.
    complaint: Vec<u8>,
    ended: Option<ExitCode>,
}

impl Part {
    pub(crate) fn new(name: &str, running: Running) -> Self {
        Self {
            name: name.to_owned(),
            running,
            rest: Vec::new(),
            lines: VecDeque::new(),
            complaint: Vec::new(),
            ended: None,
        }
    }

    /// The next object it says.
    ///
    /// # Errors
    /// It ended, said something else, or was silent for too long.
    pub fn hear(&mut self) -> anyhow::Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(line);
            }
            if self.ended.is_some() {
                bail!("{} ended: {}", self.name, self.epitaph());
            }
            in_time(deadline, &format!("a word from {}", self.name))?;
            self.listen(deadline)?;
        }
    }

    /// Passes over what it says until an object has the field `name`.
    ///
    /// # Errors
    /// As [`Part::hear`].
    pub fn hear_of(&mut self, name: &str) -> anyhow::Result<Value> {
        Ok(self.collect_until(name)?.1)
    }

    /// What it says before an object that has the field `name`, and that object.
    ///
    /// # Errors
    /// As [`Part::hear`].
    pub fn collect_until(&mut self, name: &str) -> anyhow::Result<(Vec<Value>, Value)> {
        let mut before = Vec::new();
        loop {
            let line = self.hear();
            let line =
                line.with_context(|| format!("wait for {name:?} after {} lines", before.len()))?;
            if line.get(name).is_some() {
                return Ok((before, line));
            }
            before.push(line);
        }
    }

    /// Tells it to go on.
    ///
    /// # Errors
    /// The guest is gone.
    pub fn go_on(&mut self) -> anyhow::Result<()> {
        self.running.write(b"\n").with_context(|| format!("write to {}", self.name))
    }

    /// Waits for its end, which must be a good one.
    ///
    /// # Errors
    /// It failed, or did not end in time.
    pub fn end(mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.ended.is_none() {
            in_time(deadline, &format!("the end of {}", self.name))?;
            self.listen(deadline)?;
        }
        if self.ended != Some(ExitCode::Code(0)) {
            bail!("{} failed: {}", self.name, self.epitaph());
        }
        Ok(())
    }

    fn listen(&mut self, deadline: Instant) -> anyhow::Result<()> {
        let event = self.running.recv(deadline).with_context(|| format!("play {}", self.name))?;
        match event {
            Event::Stdout(bytes) => self.take(&bytes),
            Event::Stderr(bytes) => {
                self.complaint.extend(bytes);
                Ok(())
            }
            Event::Exit(code) => {
                self.ended = Some(code);
                Ok(())
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.rest.extend(bytes);
        let Some(end) = self.rest.iter().rposition(|&byte| byte == b'\n') else { return Ok(()) };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        for line in whole.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let text = || format!("{} says {:?}", self.name, String::from_utf8_lossy(line));
            self.lines.push_back(serde_json::from_slice(line).with_context(text)?);
        }
        Ok(())
    }

    fn epitaph(&self) -> String {
        let code = self.ended.map_or_else(String::new, |code| code.to_string());
        format!("{code}: {}", String::from_utf8_lossy(&self.complaint).trim_end())
    }
}

/// A number that an object holds under `name`.
///
/// # Errors
/// It holds none.
pub(crate) fn number(object: &Value, name: &str) -> anyhow::Result<u64> {
    object[name].as_u64().with_context(|| format!("find the number {name:?} in {object}"))
}
