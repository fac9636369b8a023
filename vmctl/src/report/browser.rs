//! Browser: a page in Chromium or Chrome, and what a reader would see of it.

use std::time::Duration;

use serde_json::Value;
use vm::process::Program;

/// Lays the page out in a frame of this width and measures it: `seen` is an object of JavaScript
/// in which `all` finds elements and `box` their rectangles. The page may say nothing itself.
pub(crate) fn look(width: u32, page: &str, seen: &str) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let probe = format!(
        "<!doctype html><iframe style=\"width:{width}px;height:900px;border:0\" src=\"page.html\">\
         </iframe><script>\
         const frame = document.querySelector('iframe');\
         frame.onload = () => {{\
           const view = frame.contentWindow, page = view.document;\
           const all = (what, from = page) => [...from.querySelectorAll(what)];\
           const box = (what) => all(what).map(e => e.getBoundingClientRect());\
           const overflow = page.documentElement.scrollWidth - view.innerWidth;\
           const seen = {{overflow, {seen}}};\
           document.body.innerHTML = '<pre></pre>';\
           document.body.firstChild.textContent = '@@' + JSON.stringify(seen) + '@@';\
         }};</script>"
    );
    let file = folder.path().join("probe.html");
    std::fs::write(&file, probe).expect("a file");
    std::fs::write(folder.path().join("page.html"), page).expect("a file");
    let output = browser()
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--allow-file-access-from-files", "--enable-logging=stderr"])
        .args(["--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("file://{}", file.display()))
        .timeout(Duration::from_mins(2))
        .run_ok()
        .expect("the browser looks at a page");
    let log = String::from_utf8_lossy(&output.stderr);
    let said: Vec<_> = log.lines().filter(|line| line.contains(":CONSOLE")).collect();
    assert!(said.is_empty(), "{said:?}");
    let dom = unescaped(&output.text());
    let seen = dom.split("@@").nth(1).unwrap_or_else(|| panic!("nothing was measured: {dom}"));
    serde_json::from_str(seen).expect("JSON")
}

fn browser() -> Program {
    let is_there = |name: &&str| Program::new(name).arg("--version").run().is_ok();
    let name = ["chromium", "google-chrome"].into_iter().find(is_there);
    Program::new(name.expect("Chromium or Chrome is installed (apt-get install chromium)"))
}

/// Text as it stood before it was put into a page.
fn unescaped(html: &str) -> String {
    html.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", "\u{a0}").replace("&amp;", "&")
}
