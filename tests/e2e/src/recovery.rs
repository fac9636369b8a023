//! Recovery: a program on the host that says what its own library recovers from a pool.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Lines, PipeReader, PipeWriter, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;
use vm::process::{Child, Program, Stdin};

use crate::oracle::records::{Held, Record};

/// Bytes of a line.
const LINE: usize = 64;

/// The running program.
#[derive(Debug)]
pub(crate) struct Recovery {
    _child: Child,
    input: BufWriter<PipeWriter>,
    output: Lines<BufReader<PipeReader>>,
    /// The pool that it was told of.
    told: Vec<u8>,
}

impl Recovery {
    /// Starts the program `path` as the one with this number; its pools have `len` bytes.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn start(path: &Path, number: usize, len: usize) -> anyhow::Result<Self> {
        let (from, to) = std::io::pipe().context("make a pipe")?;
        let program = Program::new(path).arg("power_loss::remains");
        let program = program.env("MUTANT", number.to_string());
        let input = Stdin::File(File::from(OwnedFd::from(from)));
        let mut child = program.stdin(input).start().context("start the recovery")?;
        let output = child.take_stdout().context("hear the recovery")?;
        let output = BufReader::new(output).lines();
        let mut input = BufWriter::new(to);
        input.write_all(&(len as u64).to_le_bytes()).context("tell the pool's length")?;
        Ok(Self { _child: child, input, output, told: vec![0; len] })
    }

    /// What it recovers from this pool; only `changed` lines (by where they begin) may differ from
    /// the last one, if that is known.
    ///
    /// # Errors
    /// The program gives no answer. What it says of a pool that it cannot recover is no error.
    pub(crate) fn recover(
        &mut self,
        pool: &[u8],
        changed: Option<Vec<usize>>,
    ) -> anyhow::Result<Result<Held, String>> {
        let starts = changed.unwrap_or_else(|| {
            let lines = pool.chunks_exact(LINE).zip(self.told.chunks_exact(LINE));
            let lines = lines.enumerate().filter(|(_, (new, old))| new != old);
            lines.map(|(line, _)| line * LINE).collect()
        });
        self.tell(pool, &starts).context("tell the recovery")?;
        let line = self.output.next().context("the recovery has ended")?;
        read(&serde_json::from_str(&line?).context("read what the recovery says")?)
    }

    fn tell(&mut self, pool: &[u8], starts: &[usize]) -> anyhow::Result<()> {
        let count = u32::try_from(starts.len()).context("count the lines")?;
        self.input.write_all(&count.to_le_bytes())?;
        for start in starts {
            let line = pool.get(*start..*start + LINE).context("a line of the pool")?;
            self.input.write_all(&(*start as u64).to_le_bytes())?;
            self.input.write_all(line)?;
            self.told[*start..*start + LINE].copy_from_slice(line);
        }
        Ok(self.input.flush()?)
    }
}

/// What the recovery says.
fn read(said: &Value) -> anyhow::Result<Result<Held, String>> {
    if let Some(why) = said["corrupt"].as_str() {
        return Ok(Err(why.to_owned()));
    }
    let held = said.get("held").context("what is held")?;
    let Some(records) = held.as_array() else { return Ok(Ok(None)) };
    let record = |record: &Value| {
        let (len, hash) = record[0].as_u64().zip(record[1].as_u64())?;
        Some(Record { len: usize::try_from(len).ok()?, hash })
    };
    let records: Option<Vec<_>> = records.iter().map(record).collect();
    Ok(Ok(Some(records.context("read a record")?)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_recovery_says_is_read() {
        let records = vec![Record { len: 3, hash: u64::MAX }];
        let said = json!({ "held": [[3, u64::MAX]] });
        assert_eq!(read(&said).unwrap(), Ok(Some(records)));
        assert_eq!(read(&json!({ "held": null })).unwrap(), Ok(None));
        assert_eq!(read(&json!({ "corrupt": "why" })).unwrap(), Err("why".to_owned()));
        for bad in [json!({}), json!({ "held": [[3]] }), json!({ "held": [["3", 4]] })] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_recovery_that_ends_is_named() {
        let mut ends = Recovery::start(Path::new("true"), 0, 128).unwrap();
        assert!(ends.recover(&[1; 128], None).is_err());
    }
}
