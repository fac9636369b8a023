//! Minimising: the smallest set of lost lines that still is a failure.

use crate::checker::{Checker, Fault, Verdict};
use crate::explore::flight::Choice;
use crate::line::Line;
use crate::moment::Moment;

/// Up to this many lost lines every pair of them is tried.
const PAIRS: usize = 48;

/// A failure that is as small as it gets: giving back any one line makes it good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smallest {
    /// The lines that are not as the CPUs saw them, each with the number of its value; ascending.
    pub lost: Vec<(Line, usize)>,
    /// What the checker says about it.
    pub why: String,
    /// How many states were judged on the way.
    pub checks: u64,
}

impl Smallest {
    /// The state.
    pub fn choice(&self) -> Choice {
        Choice { all: true, except: self.lost.clone() }
    }
}

/// Finds the smallest set of lost lines behind a bad choice; nothing if the choice is good after
/// all.
///
/// # Errors
/// If the checker gives no verdict.
pub fn minimise(
    moment: &mut Moment,
    choice: &Choice,
    checker: &mut dyn Checker,
) -> Result<Option<Smallest>, Fault> {
    let mut lost = lost(moment, choice);
    let mut trial = Trial { moment, checker, checks: 0 };
    let Some(mut why) = trial.why(&lost)? else { return Ok(None) };
    if let Some((few, found)) = trial.few(&lost)? {
        (lost, why) = (few, found);
    }
    // Give back one line after the other.
    let mut at = 0;
    while at < lost.len() {
        let taken = lost.remove(at);
        if let Some(found) = trial.why(&lost)? {
            why = found;
        } else {
            lost.insert(at, taken);
            at += 1;
        }
    }
    // A line that is lost as a whole is easier to understand than one that is torn.
    for at in 0..lost.len() {
        let value = std::mem::take(&mut lost[at].1);
        if value != 0 {
            match trial.why(&lost)? {
                Some(found) => why = found,
                None => lost[at].1 = value,
            }
        }
    }
    Ok(Some(Smallest { lost, why, checks: trial.checks }))
}

/// The lines that a choice does not leave as the CPUs saw them.
fn lost(moment: &Moment, choice: &Choice) -> Vec<(Line, usize)> {
    let lines = moment.lines().map(|line| {
        let named = choice.except.binary_search_by_key(&line.line, |(line, _)| *line);
        let other = if choice.all { line.all } else { 0 };
        let value = named.map_or(other, |at| choice.except[at].1);
        let value = if value < line.values.len() { value } else { other };
        (line.line, value, line.all)
    });
    lines.filter(|(_, value, all)| value != all).map(|(line, value, _)| (line, value)).collect()
}

struct Trial<'a> {
    moment: &'a mut Moment,
    checker: &'a mut dyn Checker,
    checks: u64,
}

impl Trial<'_> {
    /// Why the state is bad in which just these lines are lost.
    fn why(&mut self, lost: &[(Line, usize)]) -> Result<Option<String>, Fault> {
        self.checks += 1;
        let choice = Choice { all: true, except: lost.to_vec() };
        Ok(match self.moment.judge(&choice, self.checker)? {
            Verdict::Good => None,
            Verdict::Bad(why) => Some(why),
        })
    }

    /// One or two of the lost lines that are enough.
    #[expect(clippy::type_complexity, reason = "the lines, and why they are bad")]
    fn few(
        &mut self,
        lost: &[(Line, usize)],
    ) -> Result<Option<(Vec<(Line, usize)>, String)>, Fault> {
        for line in lost {
            let one = vec![*line];
            if let Some(why) = self.why(&one)? {
                return Ok(Some((one, why)));
            }
        }
        if lost.len() > PAIRS {
            return Ok(None);
        }
        for (at, one) in lost.iter().enumerate() {
            for other in &lost[at + 1..] {
                let two = vec![*one, *other];
                if let Some(why) = self.why(&two)? {
                    return Ok(Some((two, why)));
                }
            }
        }
        Ok(None)
    }
}
