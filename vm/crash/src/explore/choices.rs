//! Choices: which states of a crash point are looked at (M19, M20, M22).

use serde::{Deserialize, Serialize};

use crate::explore::flight::{Choice, Flight};
use crate::line::Line;

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Up to this many states of a point, all of them.
    pub exhaustive: u64,
    /// Random products of a point that has more.
    pub random: u32,
    /// The most states of a point; beyond that a sample of this size, by seed.
    pub most: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { exhaustive: 256, random: 32, most: 4096 }
    }
}

/// Random numbers by seed: splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        // The remainder of a usize fits.
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or_default()
    }
}

/// How a point's states were chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of them.
    Exhaustive,
    /// The families of M19.
    Families,
    /// A sample of the families.
    Sampled,
}

/// Which families need a look.
#[derive(Clone, Copy, Debug)]
pub(crate) enum News<'a> {
    /// The durable image changed, or a marker came: everything is new.
    Everything,
    /// Only these lines changed: what survives alone of the others was looked at.
    Lines(&'a [Line]),
}

/// Calls `visit` with each choice.
pub(crate) fn each(
    flight: &Flight,
    bounds: Bounds,
    seed: u64,
    news: News<'_>,
    visit: &mut dyn FnMut(&Choice),
) -> Extent {
    let product = flight.lines().try_fold(1_u64, |product, line| {
        let product = product.checked_mul(line.values.len() as u64);
        product.filter(|product| *product <= bounds.exhaustive)
    });
    if let Some(product) = product {
        for number in 0..product {
            visit(&numbered(flight, number));
        }
        return Extent::Exhaustive;
    }
    let total: u64 = flight.lines().map(|line| 2 * line.values.len() as u64).sum();
    let is_sampled = total > bounds.most;
    for all in [false, true] {
        visit(&Choice { all, except: Vec::new() });
    }
    families(flight, news, &mut |choice| {
        if !is_sampled || lot(seed, choice) % total < bounds.most {
            visit(choice);
        }
    });
    let mut random = Random(seed ^ 1);
    for _ in 0..bounds.random {
        visit(&any(flight, &mut random));
    }
    if is_sampled { Extent::Sampled } else { Extent::Families }
}

/// A random number for one choice of the families, whichever others are looked at (M22).
fn lot(seed: u64, choice: &Choice) -> u64 {
    let number = |(line, value): &(Line, usize)| line.0 << 20 ^ *value as u64;
    let number = choice.except.first().map_or(0, number);
    Random(seed ^ number << 1 ^ u64::from(choice.all)).next()
}

/// One in, one out and torn, for each line.
fn families(flight: &Flight, news: News<'_>, visit: &mut dyn FnMut(&Choice)) {
    let mut choice = Choice { all: true, except: vec![(Line(0), 0)] };
    for line in flight.lines() {
        for value in (0..line.values.len()).filter(|value| *value != line.all) {
            choice.except[0] = (line.line, value);
            visit(&choice);
        }
    }
    choice.all = false;
    let changed = |line: Line| match news {
        News::Everything => true,
        News::Lines(lines) => lines.contains(&line),
    };
    for line in flight.lines().filter(|line| changed(line.line)) {
        for value in 1..line.values.len() {
            choice.except[0] = (line.line, value);
            visit(&choice);
        }
    }
}

/// The choice with this number among all.
fn numbered(flight: &Flight, mut number: u64) -> Choice {
    let mut except = Vec::with_capacity(flight.len());
    for line in flight.lines() {
        let count = line.values.len() as u64;
        // Less than the number of values.
        let value = usize::try_from(number % count).unwrap_or_default();
        number /= count;
        if value != 0 {
            except.push((line.line, value));
        }
    }
    Choice { all: false, except }
}

/// A random choice: a coin decides how many lines survive, so that few and many are both likely.
fn any(flight: &Flight, random: &mut Random) -> Choice {
    let odds = 1 + random.below(7);
    let mut except = Vec::new();
    for line in flight.lines() {
        if random.below(8) < odds {
            let value = random.below(line.values.len());
            if value != 0 {
                except.push((line.line, value));
            }
        }
    }
    Choice { all: false, except }
}
