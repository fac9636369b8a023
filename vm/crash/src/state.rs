//! States: what is in flight at one moment, and so what an NVDIMM may hold after a power loss.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::explore::choices::Random;
use crate::line::{LINE, Line, LineBytes};

/// A line that may hold one of several values after a loss of power.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// Which line.
    pub line: Line,
    /// The possible values, all different: the first if nothing in flight survives.
    pub values: Vec<LineBytes>,
    /// Which of them it is if all survives: the last, or the first if that is the same.
    pub all: usize,
    /// Whether all that is in flight is flushed, or passed the caches, and waits for a fence.
    pub is_pending: bool,
}

impl InFlight {
    /// A line with its possible values, the first one first, and what it is if all survives.
    pub fn new(line: Line, values: Vec<LineBytes>, all: LineBytes, is_pending: bool) -> Self {
        let mut different = Vec::with_capacity(values.len() + 1);
        // Few in most lines, and a set where they are not.
        let mut seen = HashSet::from([values[0]]);
        for value in values {
            if different.is_empty() || (value != all && seen.insert(value)) {
                different.push(value);
            }
        }
        if different.first() != Some(&all) {
            different.push(all);
        }
        let last = different.len() - 1;
        let all = if different[0] == all { 0 } else { last };
        Self { line, values: different, all, is_pending }
    }
}

/// One moment: the durable image is kept elsewhere, these lines are in flight over it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashState {
    /// Size of the NVDIMM in bytes.
    pub nvdimm_bytes: u64,
    /// The file that holds what is durable at this moment.
    pub persisted: String,
    /// The lines in flight, ascending.
    pub lines: Vec<InFlight>,
}

/// Which of the lines in flight survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// None does.
    None,
    /// All do, as if nothing had been lost.
    All,
    /// Each line takes one of its values, drawn by this seed.
    Random(u64),
}

/// Why a state does not belong to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The image is that of another NVDIMM.
    #[error("the state is of an NVDIMM of {state} bytes, the image has {image}")]
    Size {
        /// The size in the state.
        state: u64,
        /// The image's size.
        image: u64,
    },
    /// A line lies outside the NVDIMM, or stands twice.
    #[error("line {} is not where it can be", .0.0)]
    Line(Line),
    /// A line's first value is not what the image holds there.
    #[error("the image holds other bytes at line {} than the state", .0.0)]
    Durable(Line),
}

impl CrashState {
    /// Whether the lines are in flight over this image.
    ///
    /// # Errors
    /// If they cannot be.
    pub fn fits(&self, image: &[u8]) -> Result<(), Mismatch> {
        let size = image.len() as u64;
        if size != self.nvdimm_bytes {
            return Err(Mismatch::Size { state: self.nvdimm_bytes, image: size });
        }
        let mut next = 0;
        for in_flight in &self.lines {
            let line = in_flight.line;
            if line.0 < next || line.0 >= size / LINE as u64 {
                return Err(Mismatch::Line(line));
            }
            if image[line.span()] != in_flight.values[0] {
                return Err(Mismatch::Durable(line));
            }
            next = line.0 + 1;
        }
        Ok(())
    }

    /// What the NVDIMM holds after the power loss, over what was durable, which fits.
    pub fn image(&self, mut durable: Vec<u8>, survivors: Survivors) -> Vec<u8> {
        let mut random = Random(if let Survivors::Random(seed) = survivors { seed } else { 0 });
        for in_flight in &self.lines {
            let chosen = match survivors {
                Survivors::None => 0,
                Survivors::All => in_flight.all,
                Survivors::Random(_) => random.below(in_flight.values.len()),
            };
            durable[in_flight.line.span()].copy_from_slice(&in_flight.values[chosen]);
        }
        durable
    }
}

/// A line as it stands in a file: its bytes in hexadecimal.
#[derive(Serialize, Deserialize)]
struct Written {
    line: Line,
    all: usize,
    is_pending: bool,
    values: Vec<String>,
}

impl Serialize for InFlight {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let values = self.values.iter().map(|value| hex(value)).collect();
        let (line, all, is_pending) = (self.line, self.all, self.is_pending);
        Written { line, all, is_pending, values }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for InFlight {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let written = Written::deserialize(deserializer)?;
        let values: Option<Vec<_>> = written.values.iter().map(|text| unhex(text)).collect();
        let values = values.filter(|values| written.all < values.len());
        let values =
            values.ok_or_else(|| D::Error::custom("a value is 64 bytes in hexadecimal"))?;
        let Written { line, all, is_pending, .. } = written;
        Ok(Self { line, values, all, is_pending })
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // A String takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(text: &str) -> Option<LineBytes> {
    if !text.is_ascii() {
        return None;
    }
    let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let bytes: Vec<u8> = (0..text.len()).step_by(2).map(byte).collect::<Option<_>>()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survivors_are_values_of_their_lines() {
        let values = |line: u8| (0..4).map(|n| [line * 16 + n; 64]).collect::<Vec<_>>();
        let line = |n: u8| InFlight::new(Line(n.into()), values(n), [n * 16 + 3; 64], false);
        let lines = vec![line(0), line(2)];
        let mut durable = [[0; 64], [7; 64], [32; 64]].concat();
        let state = CrashState { nvdimm_bytes: 192, persisted: String::new(), lines };
        assert_eq!(state.image(durable.clone(), Survivors::None), durable);
        let seen = |seed| {
            let image = state.image(durable.clone(), Survivors::Random(seed));
            assert_eq!(image[64..128], [7; 64]);
            (image[0], image[128])
        };
        let all: HashSet<_> = (0..200).map(seen).collect();
        assert_eq!(all.len(), 16, "every product of values comes up");
        assert_eq!(seen(5), seen(5));
        let expected = [[3; 64], [7; 64], [35; 64]].concat();
        durable = state.image(durable, Survivors::All);
        assert_eq!(durable, expected);
    }

    #[test]
    fn a_state_is_written_as_json_and_read_back() {
        let mut bytes = [0; 64];
        bytes[3] = 0xfe;
        let line = InFlight::new(Line(9), vec![[0; 64], [0; 64]], bytes, true);
        assert_eq!((line.values.len(), line.all), (2, 1));
        let persisted = "at.img".to_owned();
        let state = CrashState { nvdimm_bytes: 1 << 20, persisted, lines: vec![line] };
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<CrashState>(&text).unwrap(), state);
        let image = vec![0; 1 << 20];
        assert_eq!(state.fits(&image), Ok(()));
        assert!(matches!(state.fits(&image[64..]), Err(Mismatch::Size { .. })));
        let mut other = image.clone();
        other[9 * 64] = 1;
        assert_eq!(state.fits(&other), Err(Mismatch::Durable(Line(9))));
        let mut twice = state.clone();
        twice.lines.push(twice.lines[0].clone());
        assert_eq!(twice.fits(&image), Err(Mismatch::Line(Line(9))));
        twice.lines[1].line = Line(u64::MAX);
        assert_eq!(twice.fits(&image), Err(Mismatch::Line(Line(u64::MAX))));
        let bad = text.replace("fe", "f");
        assert!(serde_json::from_str::<CrashState>(&bad).is_err());
    }
}
