//! The page in a real browser: what it looks like on a desk and on a phone.
//!
//! Needs Chromium (`apt-get install chromium`) or Chrome; run with
//! `cargo test -p vmctl --bin vmctl -- --ignored browser`.

use std::time::Duration;

use serde_json::Value;
use vm::process::Program;

use super::super::tests::{head, results};
use super::{escaped, text};

/// Lays the page out in a frame of this width and measures what a reader would see.
fn look(width: u32, page: &str) -> Value {
    let probe = format!(
        "<!doctype html><iframe style=\"width:{width}px;height:900px;border:0\" srcdoc=\"{}\">\
         </iframe><script>\
         const frame = document.querySelector('iframe');\
         frame.onload = () => {{\
           const page = frame.contentDocument, all = (what) => [...page.querySelectorAll(what)];\
           const box = (what) => all(what).map(e => e.getBoundingClientRect());\
           const seen = {{\
             rows: all('tbody tr').length,\
             overflow: page.documentElement.scrollWidth - frame.contentWindow.innerWidth,\
             stations: box('.way li').map(b => [b.left, b.top, b.width, b.height]),\
             marks: box('.way .mark').map(b => [b.width, b.height]),\
             hidden: all('h1, h2, td, li').filter(e => e.offsetWidth == 0).length,\
           }};\
           document.body.innerHTML = '<pre>@@' + JSON.stringify(seen) + '@@</pre>';\
         }};</script>",
        escaped(page)
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("probe.html");
    std::fs::write(&file, probe).unwrap();
    let output = browser()
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("file://{}", file.display()))
        .timeout(Duration::from_mins(2))
        .run_ok()
        .unwrap();
    let dom = output.text();
    let seen = dom.split("@@").nth(1).unwrap_or_else(|| panic!("nothing was measured: {dom}"));
    serde_json::from_str(seen).unwrap()
}

fn browser() -> Program {
    let is_there = |name: &&str| Program::new(name).arg("--version").run().is_ok();
    let name = ["chromium", "google-chrome"].into_iter().find(is_there);
    Program::new(name.expect("Chromium or Chrome is installed"))
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
