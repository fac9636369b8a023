//! Tidy: the layout rules of the project as tests. Each test names the rule and the place.

mod crates;
mod leftovers;
mod lengths;
mod map;
mod places;
mod tree;

/// Fails with one line per broken rule.
fn expect_none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}
