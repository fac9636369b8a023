//! The page in a real browser: what it looks like on a desk and on a phone.
//!
//! Needs Chromium (`apt-get install chromium`) or Chrome; run with
//! `cargo test -p vmctl -- --ignored browser`.

use serde_json::Value;

use super::super::browser;
use super::super::tests::{head, results};
use super::text;

/// What a reader would see of a page of this width.
fn look(width: u32, page: &str) -> Value {
    let seen = "\
        rows: all('tbody tr').length,\
        stations: box('.way li').map(b => [b.left, b.top, b.width, b.height]),\
        marks: box('.way .mark').map(b => [b.width, b.height]),\
        hidden: all('h1, h2, td, li').filter(e => e.offsetWidth == 0).length";
    browser::look(width, page, seen)
}

fn numbers(of: &Value) -> Vec<f64> {
    of.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[test]
#[ignore = "needs Chromium"]
fn browser_shows_every_case_and_way_on_any_width() {
    for width in [1280, 390] {
        let seen = look(width, &text(&head(), &results()));
        assert_eq!(seen["rows"], 4, "{seen}");
        assert_eq!(seen["hidden"], 0, "{seen}");
        assert!(seen["overflow"].as_f64().unwrap() <= 0.0, "{width} px: {seen}");
        let stations: Vec<_> = seen["stations"].as_array().unwrap().iter().map(numbers).collect();
        assert_eq!(stations.len(), 8, "two for each case: {seen}");
        assert!(stations.iter().all(|at| at[2] > 100.0 && at[3] > 40.0), "{seen}");
        let side_by_side = stations[1][0] > stations[0][0];
        assert_eq!(side_by_side, width == 1280, "{width} px: {seen}");
        let marks: Vec<_> = seen["marks"].as_array().unwrap().iter().map(numbers).collect();
        assert!(marks.len() == 4 && marks.iter().all(|at| at[0] > 1.0 && at[1] > 4.0), "{seen}");
    }
}

#[test]
#[ignore = "needs Chromium"]
fn browser_runs_nothing_that_a_console_says() {
    let mut results = results();
    results[1].console = vec!["<script>document.body.innerHTML = ''</script>".into()];
    results[1].name = "<img src=x onerror=\"document.body.innerHTML=''\">".into();
    assert_eq!(look(1280, &text(&head(), &results))["rows"], 4);
}
