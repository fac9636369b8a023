//! Cost: instructions per message, from counts at the ends of rounds.

use std::fmt;

/// The counters at the end of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Messages so far.
    pub(crate) messages: u64,
    /// Instructions so far.
    pub(crate) instructions: u64,
}

/// What a message cost in several windows of the same run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cost {
    /// Instructions per message: the median of the windows.
    pub(crate) median: f64,
    /// The windows' coefficient of variation.
    pub(crate) variation: f64,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} (CV {:.1} %)", self.median, self.variation * 100.0)
    }
}

/// What a message cost in `windows` windows of `size` messages each; the messages before the last
/// of these are warm-up.
pub(crate) fn judge(marks: &[Mark], windows: usize, size: u64) -> Result<Cost, String> {
    let last = marks.last().ok_or("the guest set no marker")?.messages;
    let first = (windows as u64 * size <= last).then(|| last - windows as u64 * size);
    let first = first.ok_or_else(|| format!("{last} messages are too few"))?;
    let at = |messages| {
        let mark = marks.iter().find(|mark| mark.messages == messages);
        mark.map(|mark| mark.instructions).ok_or_else(|| format!("no marker after {messages}"))
    };
    let ends = (0..=windows as u64).map(|n| at(first + n * size));
    let ends = ends.collect::<Result<Vec<_>, _>>()?;
    let costs = ends.windows(2).map(|ends| {
        let instructions = ends[1].checked_sub(ends[0]).ok_or("the counter goes backwards")?;
        Ok(float(instructions) / float(size))
    });
    let mut costs = costs.collect::<Result<Vec<_>, String>>()?;
    costs.sort_by(f64::total_cmp);
    let count = float(costs.len() as u64);
    let mean = costs.iter().sum::<f64>() / count;
    let variance = costs.iter().map(|cost| (cost - mean).powi(2)).sum::<f64>() / count;
    Ok(Cost { median: costs[windows / 2], variation: variance.sqrt() / mean })
}

#[expect(clippy::cast_precision_loss, reason = "counts of a window are far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(costs: &[u64]) -> Vec<Mark> {
        let mut at = Mark { messages: 0, instructions: 7 };
        let next = |cost: &u64| {
            at = Mark { messages: at.messages + 2, instructions: at.instructions + cost };
            at
        };
        costs.iter().map(next).collect()
    }

    #[test]
    fn the_median_of_the_last_windows_counts() {
        let marks = marks(&[900, 900, 20, 22, 20, 20, 24, 20, 20, 20]);
        let cost = judge(&marks, 3, 4).unwrap();
        assert!((cost.median - 10.0).abs() < 1e-9);
        assert!(cost.variation > 0.0 && cost.variation < 0.1);
    }

    #[test]
    fn what_cannot_be_judged_is_no_cost() {
        assert!(judge(&[], 3, 4).unwrap_err().contains("no marker"));
        assert!(judge(&marks(&[1, 1]), 3, 4).unwrap_err().contains("too few"));
        let mut holey = marks(&[1; 8]);
        holey.remove(3);
        assert!(judge(&holey, 3, 4).unwrap_err().contains("no marker after 8"));
    }
}
