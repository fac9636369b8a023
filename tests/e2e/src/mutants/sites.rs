//! Sites: each store, flush, fence and publication of the library has a mutant, or a reason for
//! having none.

use std::path::{Path, PathBuf};

use super::{CORRECT, CPU, Edit, LOG, REGION, edit, mutants};

/// What the protocol is made of, as it is written in the sources.
const CALLS: [&str; 10] = [
    ".store(",
    ".cover(",
    ".flush()",
    ".drain()",
    ".publish(",
    "::fence(",
    "::flush(",
    "persist.flush(",
    "persist.drain(",
    "write_back(",
];

/// Where the library makes things durable.
const PLACES: [&str; 5] = ["pool.rs", "pool", "log.rs", "log", "pmem"];

/// Tests.
const TESTS: [&str; 3] = ["recorded.rs", "tests.rs", "crash_tests.rs"];

/// What has no mutant; `new` is the reason.
const WITHOUT: &[Edit] = &[
    edit(
        REGION,
        "word.store(value, Ordering::Release);",
        "nothing would be stored at all, and every test sees that",
    ),
    edit(
        LOG,
        "batch.store(at, &header.encode(geometry.id));",
        "the next opening finds entries of an epoch that has not begun, power or no power",
    ),
    edit(CPU, "imp::write_back(self, address)", "it is what a flush is; flushes have mutants"),
    edit(CPU, "    imp::fence();", "it is what a drain is; drains have mutants"),
    edit(
        "paste/src/pmem/page.rs",
        ".try_for_each(|pages| mapping.write_back(pages.start * PAGE..pages.end * PAGE))",
        "a file that is not on an NVDIMM: the kernel writes it back, which no observer sees",
    ),
];

/// The part of a source that is no test.
fn code(text: &str) -> &str {
    let tests = text.find("\n#[cfg(test)]\nmod tests {");
    let tests = tests.or_else(|| text.find("\n#[cfg(all(test,"));
    &text[..tests.unwrap_or(text.len())]
}

/// Where calls are in a source.
fn sites(text: &str) -> Vec<usize> {
    let code = code(text);
    let of = |call: &'static str| code.match_indices(call).map(|(at, _)| at);
    let is_code = |at: &usize| {
        let line = code[..*at].rfind('\n').map_or(0, |end| end + 1);
        let before = code[line..*at].trim_start();
        !before.starts_with("//") && !before.contains("fn ")
    };
    CALLS.into_iter().flat_map(of).filter(is_code).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.is_dir() {
        for entry in std::fs::read_dir(folder).unwrap() {
            sources(&entry.unwrap().path(), found);
        }
    } else if TESTS.iter().all(|name| !folder.ends_with(name)) {
        found.push(folder.to_owned());
    }
}

fn edits() -> impl Iterator<Item = &'static Edit> {
    let mutants = mutants().flat_map(|mutant| mutant.variant.edits);
    mutants.chain(CORRECT.iter().flat_map(|correct| correct.variant.edits)).chain(WITHOUT)
}

#[test]
fn each_step_of_the_protocol_has_a_mutant_or_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for place in PLACES {
        sources(&root.join("paste/src").join(place), &mut files);
    }
    let (mut all, mut missing) = (0, Vec::new());
    for path in files {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let edits = edits().filter(|edit| edit.file == name);
        let spans: Vec<_> = edits
            .map(|edit| edit.place(&text).unwrap()..edit.place(&text).unwrap() + edit.old.len())
            .collect();
        for site in sites(&text) {
            all += 1;
            if spans.iter().all(|span| !span.contains(&site)) {
                let line = text[..site].matches('\n').count() + 1;
                missing.push(format!("{name}:{line}"));
            }
        }
    }
    assert!(all > 20, "only {all} sites");
    assert!(missing.is_empty(), "without a mutant (see WITHOUT): {missing:#?}");
}
