//! Steps: what a program does with its pool, step by step, and what of it a power loss may leave.

use std::fmt::Write;

use super::Verdict;
use super::records::{Held, Record, judge_recovery, recover};
use crate::seed::Seed;

/// The bytes of one packet.
type Packet = Vec<u8>;

/// One step; the program acknowledges each when it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Makes the pool, with this number.
    Make(u64),
    /// Makes a pool where another one is.
    Remake(u64),
    /// Opens pool and log.
    Open,
    /// Appends a batch of records, each of some packets.
    Append(Vec<Vec<Packet>>),
    /// Empties the log.
    Reset,
    /// Closes everything.
    Close,
}

/// A row of steps, and what is held after each of them.
#[derive(Clone, Debug)]
pub(crate) struct Steps {
    row: Vec<Step>,
    held: Vec<Held>,
    /// How many steps the first program begins; it is killed in the last of them, and another one
    /// plays the rest.
    killed: Option<usize>,
}

impl Step {
    /// A batch of records with packets of these lengths in bytes.
    pub(crate) fn append(seed: Seed, lengths: &[&[usize]]) -> Self {
        let mut labels = 0..;
        let mut packet = |len: &usize| seed.part(labels.next().unwrap_or_default()).bytes(*len);
        Self::Append(
            lengths.iter().map(|record| record.iter().map(&mut packet).collect()).collect(),
        )
    }

    /// The line that tells the program of it.
    fn line(&self) -> String {
        match self {
            Self::Make(id) => format!("make {id}"),
            Self::Remake(id) => format!("remake {id}"),
            Self::Open => "open".into(),
            Self::Append(records) => {
                let record = |record: &Vec<Packet>| {
                    record.iter().map(|packet| hex(packet)).collect::<Vec<_>>().join("+")
                };
                let records: Vec<_> = records.iter().map(record).collect();
                format!("append {}", records.join(" "))
            }
            Self::Reset => "reset".into(),
            Self::Close => "close".into(),
        }
    }

    fn after(&self, held: &Held) -> Held {
        match self {
            Self::Make(_) | Self::Remake(_) | Self::Reset => Some(Vec::new()),
            Self::Open | Self::Close => held.clone(),
            Self::Append(records) => {
                let new = records.iter().map(|packets| Record::of(&packets.concat()));
                Some(held.iter().flatten().copied().chain(new).collect())
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A String takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Steps {
    /// Steps on a device without a pool.
    pub(crate) fn from_nothing(steps: Vec<Step>) -> Self {
        Self::go_on(None, steps)
    }

    /// Steps on a pool whose log holds this.
    pub(crate) fn go_on(held: Held, steps: Vec<Step>) -> Self {
        let mut all = vec![held];
        for step in &steps {
            all.push(step.after(&all[all.len() - 1]));
        }
        Self { row: steps, held: all, killed: None }
    }

    /// The program is killed in step `number`, when it has stored everything, and another one
    /// plays the steps after that. Power is not lost: what was stored is there.
    pub(crate) fn killed_in(self, number: usize) -> Self {
        Self { killed: Some(number), ..self }
    }

    /// What each program reads, and the number of its first step.
    pub(crate) fn programs(&self) -> Vec<(String, usize)> {
        let text = |steps: &[Step]| steps.iter().map(|step| step.line() + "\n").collect();
        let Some(killed) = self.killed else { return vec![(text(&self.row), 1)] };
        let (first, second) = self.row.split_at(killed);
        vec![(text(first), 1), (text(second), killed + 1)]
    }

    /// The records in the order in which they are appended.
    pub(crate) fn records(&self) -> impl Iterator<Item = Vec<u8>> {
        let batches = self.row.iter().filter_map(|step| match step {
            Step::Append(records) => Some(records),
            _ => None,
        });
        batches.flatten().map(|packets| packets.concat())
    }

    /// How many steps are acknowledged when all is done.
    pub(crate) fn acknowledged(&self) -> usize {
        self.row.len() - usize::from(self.killed.is_some())
    }

    /// Whether a power loss may leave this pool after `done` steps were acknowledged.
    pub(crate) fn judge(&self, done: usize, pool: &[u8]) -> Verdict {
        self.judge_recovered(done, recover(pool))
    }

    /// Whether it may leave a pool from which this is recovered.
    pub(crate) fn judge_recovered(&self, done: usize, found: Result<Held, String>) -> Verdict {
        let held = self.held.get(done).ok_or_else(|| format!("step {done} was acknowledged"))?;
        let next = self.row.get(done);
        let Some(found) = found? else {
            return match held {
                None => Ok(()),
                Some(_) if matches!(next, Some(Step::Remake(_))) => Ok(()),
                Some(_) => Err("the pool is lost".into()),
            };
        };
        match (held, next) {
            (None, Some(Step::Make(_))) => judge_recovery(&[], 0, &found),
            (None, _) => Err("there is a pool that nobody made".into()),
            (Some(held), Some(Step::Append(_))) => {
                let sent = self.held[done + 1].as_deref().unwrap_or_default();
                judge_recovery(sent, held.len(), &found)
            }
            (Some(_), Some(Step::Reset | Step::Remake(_))) if found.is_empty() => Ok(()),
            (Some(held), _) => judge_recovery(held, held.len(), &found),
        }
    }
}

#[cfg(test)]
mod tests {
    use paste_net::{Log, Pool, PoolSpec};

    use super::*;

    fn steps() -> Steps {
        let batch = Step::append(Seed(1), &[&[3, 4], &[5]]);
        Steps::from_nothing(vec![Step::Make(9), Step::Open, batch, Step::Reset])
    }

    #[test]
    fn the_program_reads_a_line_a_step() {
        let (lines, first) = steps().programs().remove(0);
        assert_eq!(first, 1);
        let lines: Vec<_> = lines.lines().collect();
        assert_eq!((lines[0], lines[1], lines[3]), ("make 9", "open", "reset"));
        let words: Vec<usize> = lines[2].split([' ', '+']).map(str::len).collect();
        assert_eq!(words, ["append".len(), 6, 8, 10]);
        assert_eq!(lines[2].matches('+').count(), 1);
    }

    #[test]
    fn a_killed_program_leaves_the_rest_to_another() {
        let steps = steps().killed_in(2);
        let [(first, 1), (second, 3)] = &steps.programs()[..] else { panic!("{steps:?}") };
        assert_eq!(first, "make 9\nopen\n");
        assert!(second.starts_with("append ") && second.ends_with("\nreset\n"));
        assert_eq!(steps.acknowledged(), 3);
    }

    #[test]
    fn a_pool_may_be_missing_until_it_was_made() {
        let nothing = vec![0; 1 << 20];
        assert_eq!(steps().judge(0, &nothing), Ok(()));
        assert_eq!(steps().judge(1, &nothing).unwrap_err(), "the pool is lost");
        assert!(steps().judge(0, &[1; 4096]).is_err(), "neither a pool nor nothing");
        let again = Steps::go_on(Some(Vec::new()), vec![Step::Remake(2)]);
        assert_eq!(again.judge(0, &nothing), Ok(()));
        assert!(again.judge(1, &nothing).is_err());
        assert!(steps().judge(5, &nothing).is_err(), "no such step");
    }

    #[test]
    fn an_empty_log_is_good_before_the_batch_and_after_the_reset_began() {
        let spec = PoolSpec::new("memory").size(1 << 20).log_entries(64);
        let pool = Pool::volatile(&spec).unwrap();
        drop(Log::open(&pool).unwrap());
        let image = pool.image();
        for done in [0, 1, 2, 3, 4] {
            assert_eq!(steps().judge(done, &image), Ok(()), "{done}");
        }
        let last = Steps::from_nothing(steps().row[..3].to_vec());
        let why = last.judge(3, &image).unwrap_err();
        assert_eq!(why, "2 records were acknowledged, 0 were recovered");
        let later = Steps::go_on(None, vec![Step::Open]);
        assert_eq!(later.judge(0, &image).unwrap_err(), "there is a pool that nobody made");
    }
}
