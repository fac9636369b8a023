//! Assertions: what a program says must be durable, held against the model (`ASSERT_PERSISTED`).

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::marker::Op;
use crate::model::stores::TraceModel;
use crate::report::{Explainer, Lost, Site, Symbols};
use crate::rules::Rules;

/// An assertion that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// The id that the program gave it.
    pub id: u64,
    /// The marker.
    pub at: Site,
    /// The lines that are not durable.
    pub lines: Vec<Lost>,
}

/// The verdicts on a run's assertions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assertions {
    /// How many there were.
    pub count: u64,
    /// Those that do not hold.
    pub broken: Vec<Broken>,
}

/// Judges the assertions of a trace over the image from which it starts.
pub fn assertions(
    image: Vec<u8>,
    events: &[Event],
    rules: Rules,
    symbols: &dyn Symbols,
) -> Assertions {
    let mut model = TraceModel::new(image, rules);
    let mut found = Assertions::default();
    for (event, number) in events.iter().zip(1..) {
        model.play(number, event);
        let Event::Marker(marker) = event else { continue };
        if marker.op != Op::AssertPersisted {
            continue;
        }
        found.count += 1;
        let missing = model.missing(&marker.ranges);
        if !missing.is_empty() {
            let explainer = Explainer { events, model: &model, event: number, symbols };
            let lines = missing.into_iter().map(|line| explainer.lost(line, 0)).collect();
            found.broken.push(Broken { id: marker.args[2], at: explainer.site(number), lines });
        }
    }
    found
}
