//! What the tests share: programs, and the first failure of one.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

pub mod log;
pub mod random;
pub mod spec;

pub use crash::recording::{KERNEL, PROGRAM, Recording as Program};
use crash::report::{NoSymbols, explain};
use crash::{Checker, Failure, Plan, Report, Rules, explore};

/// Bytes of the NVDIMM of small programs.
pub const BYTES: usize = 192;

/// The first failure of a program.
pub fn failure(program: &Program, checker: &mut dyn Checker) -> Failure {
    let image = vec![0; program.live.len()];
    let found = explore(image, &program.events, &Plan::default(), checker);
    found.failures.into_iter().next().expect("a failure is found")
}

/// The first failure of a program, explained.
pub fn report(program: &Program, checker: &mut dyn Checker) -> Report {
    let failure = failure(program, checker);
    let (image, rules) = (vec![0; program.live.len()], Rules::default());
    let explained = explain(image, &program.events, rules, &failure, checker, &NoSymbols);
    explained.expect("the checker answers").expect("a failure stays one")
}
