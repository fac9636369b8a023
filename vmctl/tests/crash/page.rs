//! Page: what a reader sees of the report, in a real browser.

use serde_json::json;

use super::pasted::pasted;
use super::{CHECKER, browser, explore, path, recording};

#[test]
#[ignore = "needs Chromium"]
fn browser_shows_the_lines_over_time_and_the_command_on_any_width() {
    let folder = recording(false);
    let page = path(folder.path(), "r.html");
    explore(folder.path(), CHECKER, &["--html", &page]);
    let page = std::fs::read_to_string(&page).expect("the page is there");
    let seen = "\
        svgs: all('svg').map(svg => {\
          const at = svg.getBoundingClientRect(), parts = all('text, rect, line', svg);\
          const out = (b) => b.left < at.left || b.right > at.right + 1 || b.bottom > at.bottom;\
          return {\
            size: [at.width, at.height],\
            bars: all('rect', svg).filter(bar => bar.getBoundingClientRect().width > 5).length,\
            fills: new Set(all('rect', svg).map(bar => view.getComputedStyle(bar).fill)).size,\
            bold: all('text', svg).filter(t => view.getComputedStyle(t).fontWeight > 500).length,\
            outside: parts.filter(part => out(part.getBoundingClientRect())).length,\
          };\
        }),\
        clipped: all('body *').filter(e => !e.closest('.wide') &&\
          e.getBoundingClientRect().right > view.innerWidth).length,\
        selected: ['h2', '.why', '.again'].map(what => {\
          view.getSelection().selectAllChildren(page.querySelector(what));\
          return view.getSelection().toString();\
        }),\
        writer: box('.stack td').filter(b => b.width > 60 && b.right <= view.innerWidth).length";
    for width in [1280, 400] {
        let seen = browser::look(width, &page, seen);
        assert!(seen["overflow"].as_i64().expect("a number") <= 0, "{width} px: {seen}");
        assert_eq!((&seen["clipped"], &seen["writer"]), (&json!(0), &json!(5)), "{width}: {seen}");
        let svgs = seen["svgs"].as_array().expect("drawings");
        let [svg] = &svgs[..] else { panic!("one drawing: {seen}") };
        assert!(svg["size"][0].as_f64() > Some(300.0) && svg["size"][1].as_f64() > Some(80.0));
        assert!(svg["bars"].as_u64() >= Some(8) && svg["fills"].as_u64() >= Some(4), "{svg}");
        assert_eq!((&svg["bold"], &svg["outside"]), (&json!(1), &json!(0)), "{width}: {svg}");
        let [class, why, again] = [0, 1, 2].map(|n| seen["selected"][n].as_str().expect("text"));
        assert!(class.starts_with("flushed, not fenced"), "{class}");
        assert_eq!(why, "the text is <not> there");
        let (status, text) = pasted(again);
        assert_eq!(status, Some(1), "{again}: {text}");
    }
}
