//! Moments: a trace played up to one crash point; any state of that point from there.

use crate::checker::{Checker, Fault, Verdict, View};
use crate::event::Event;
use crate::explore::flight::{Choice, Flight};
use crate::explore::point::Point;
use crate::image;
use crate::marker::Marker;
use crate::model::stores::{TraceModel, steps};
use crate::rules::Rules;
use crate::state::InFlight;

/// A crash point of a trace.
#[derive(Debug)]
pub struct Moment {
    point: Point,
    model: TraceModel,
    flight: Flight,
    markers: Vec<Marker>,
}

impl Moment {
    /// Plays the events over the image from which the trace starts, up to the point.
    pub fn at(image: Vec<u8>, events: &[Event], rules: Rules, point: Point) -> Self {
        let flight = Flight::new(image::copy(&image));
        let (model, markers) = (TraceModel::new(image, rules), Vec::new());
        let mut moment = Self { point, model, flight, markers };
        for (event, number) in events.iter().zip(1..) {
            for (step, at) in steps(event).into_iter().zip(0..) {
                if (Point { event: number, step: at }) > point {
                    moment.fill();
                    return moment;
                }
                for line in moment.model.apply(number, step) {
                    moment.flight.settle(line, &line.of(moment.model.durable()));
                }
            }
            match event {
                Event::Marker(marker) if marker.op.promises() => {
                    moment.markers.push(marker.clone());
                }
                _ => {}
            }
        }
        moment.fill();
        moment
    }

    fn fill(&mut self) {
        let lines = self.model.lines().map(|(line, _)| line);
        let lines: Vec<_> = lines.filter_map(|line| self.model.in_flight(line)).collect();
        for (line, _) in lines {
            self.flight.set(line);
        }
    }

    /// Which point this is.
    pub fn point(&self) -> Point {
        self.point
    }

    /// The model at this point.
    pub fn model(&self) -> &TraceModel {
        &self.model
    }

    /// The lines in flight, ascending.
    pub fn lines(&self) -> impl Iterator<Item = &InFlight> {
        self.flight.lines()
    }

    /// The markers so far, but for those of STATS.
    pub fn markers(&self) -> &[Marker] {
        &self.markers
    }

    /// The image that a choice leaves behind.
    pub fn image(&mut self, choice: &Choice) -> Vec<u8> {
        self.flight.show(choice, <[u8]>::to_vec)
    }

    /// Judges what a choice leaves behind.
    ///
    /// # Errors
    /// If the checker gives no verdict.
    pub fn judge(&mut self, choice: &Choice, checker: &mut dyn Checker) -> Result<Verdict, Fault> {
        let Self { point, flight, markers, .. } = self;
        let (point, changed) = (*point, None);
        flight.show(choice, |image| checker.check(&View { image, changed, point, markers }))
    }
}
