//! Lives: the steps that programs play.

use super::Victim;
use crate::oracle::records::Held;
use crate::oracle::steps::{Step, Steps};
use crate::seed::Seed;

/// The step in which the batch of [`torn`] is appended.
pub(crate) const TORN: u64 = 4;

fn append(seed: Seed, label: u64, lengths: &[&[usize]]) -> Step {
    Step::append(seed.part(label), lengths)
}

/// Everything that a program does with a pool.
pub(crate) fn whole(seed: Seed) -> Steps {
    Steps::from_nothing(vec![
        Step::Make(7),
        Step::Open,
        append(seed, 0, &[&[100], &[40, 90]]),
        append(seed, 1, &[&[150]]),
        Step::Close,
        Step::Open,
        append(seed, 2, &[&[60], &[8]]),
        Step::Reset,
        append(seed, 3, &[&[120], &[30]]),
        Step::Close,
        Step::Remake(8),
        Step::Open,
        append(seed, 4, &[&[80]]),
    ])
}

/// Records that come over the network.
pub(crate) fn wired(seed: Seed) -> Steps {
    Steps::from_nothing(vec![
        Step::Make(7),
        Step::Open,
        append(seed, 12, &[&[100], &[40]]),
        append(seed, 13, &[&[1024]]),
        append(seed, 14, &[&[30]]),
    ])
}

/// A batch whose entries lie on several lines, to be torn.
pub(crate) fn torn(seed: Seed) -> Steps {
    let batch: [&[usize]; 6] = [&[20]; 6];
    let steps = vec![Step::Make(7), Step::Open, append(seed, 5, &[&[50]]), append(seed, 6, &batch)];
    Steps::from_nothing(steps)
}

/// Recovery, and one more record.
pub(crate) fn go_on(seed: Seed, held: &Held) -> Steps {
    Steps::go_on(held.clone(), vec![Step::Open, append(seed, 7, &[&[30]])])
}

/// What a victim begins, and what another program makes of it.
pub(crate) fn after(seed: Seed, victim: Victim) -> Steps {
    let (mut steps, killed) = match victim {
        Victim::Superblock => (vec![Step::Make(7)], 1),
        Victim::Header => {
            let first = append(seed, 8, &[&[50]]);
            (vec![Step::Make(7), Step::Open, first, Step::Close, Step::Open], 5)
        }
        Victim::Entries => {
            let (first, second) = (append(seed, 8, &[&[50]]), append(seed, 9, &[&[70], &[20]]));
            (vec![Step::Make(7), Step::Open, first, second], 4)
        }
    };
    steps.extend([Step::Open, append(seed, 10, &[&[90]]), append(seed, 11, &[&[10]])]);
    Steps::from_nothing(steps).killed_in(killed)
}
