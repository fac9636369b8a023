//! Weave: all edits of a file in one text, in which a number says which of them are in force.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Edit, Variant};

/// The file's text, such that a program with one of these numbers does what the edits of the
/// variant with that number say, and all others do what they did.
///
/// # Errors
/// A text to be replaced is not there, or more than once, or overlaps another.
pub(crate) fn weave(
    file: &str,
    text: &str,
    variants: impl Iterator<Item = (usize, Variant)>,
) -> Result<String, String> {
    let mut places: BTreeMap<usize, (&str, String)> = BTreeMap::new();
    for (number, variant) in variants {
        for edit in variant.edits.iter().filter(|edit| edit.file == file) {
            let (_, arms) = places.entry(edit.place(text)?).or_insert((edit.old, String::new()));
            // A String takes everything.
            let _ = write!(arms, " {number} => {{ {} }}", edit.new);
        }
    }
    let number = if file.starts_with("paste/") { "crate" } else { "paste_net" };
    let mut woven = String::new();
    let mut end = 0;
    for (start, (old, arms)) in places {
        let before = text.get(end..start);
        woven += before.ok_or_else(|| format!("{file}: edits overlap: {}", old.trim()))?;
        let choice = format!("match {number}::mutant::number() {{{arms} _ => {{ {old} }} }}");
        // Statements stand for themselves; an expression may be a part of a larger one.
        let [left, right] = if old.contains(';') { ["", ""] } else { ["(", ")"] };
        woven += &[left, &choice, right].concat();
        end = start + old.len();
    }
    Ok(woven + &text[end..])
}

impl Edit {
    /// Where in the file's text it applies.
    ///
    /// # Errors
    /// The old text is not there, or more than once.
    pub(crate) fn place(&self, text: &str) -> Result<usize, String> {
        let mut found = text.match_indices(self.old);
        match (found.next(), found.count()) {
            (Some((place, _)), 0) => Ok(place),
            (first, others) => {
                let count = others + usize::from(first.is_some());
                Err(format!("{}: {count} times, not once: {}", self.file, self.old.trim()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::mutants::{HELPERS, variants};

    const fn edit(old: &'static str, new: &'static str) -> Edit {
        Edit { file: "paste/a.rs", old, new }
    }

    fn woven(edits: &'static [Edit], text: &str) -> Result<String, String> {
        let variants = edits.chunks(1).map(|edits| Variant { name: "", edits });
        weave("paste/a.rs", text, (1..).zip(variants))
    }

    #[test]
    fn every_edit_still_finds_its_place() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let edits = variants().flat_map(|(_, variant)| variant.edits);
        let files: BTreeSet<_> = edits.map(|edit| edit.file).collect();
        for file in files.into_iter().chain(HELPERS.iter().map(|edit| edit.file)) {
            let text = std::fs::read_to_string(root.join(file)).unwrap();
            weave(file, &text, variants()).unwrap();
            for helper in HELPERS.iter().filter(|helper| helper.file == file) {
                helper.place(&text).unwrap();
            }
        }
    }

    #[test]
    fn a_number_chooses_among_edits_of_one_place() {
        static EDITS: [Edit; 3] = [edit("b()", "c()"), edit("b()", "d()"), edit("e();", "")];
        let woven = woven(&EDITS, "a(b()); e(); f();").unwrap();
        let expected = "a((match crate::mutant::number() { 1 => { c() } 2 => { d() } \
            _ => { b() } })); match crate::mutant::number() { 3 => {  } _ => { e(); } } f();";
        assert_eq!(woven, expected);
    }

    #[test]
    fn an_edit_without_a_place_of_its_own_names_it() {
        static NOWHERE: [Edit; 1] = [edit("flush(); ", "")];
        static OVERLAP: [Edit; 2] = [edit("a; b;", ""), edit("b; c;", "")];
        for text in ["drain();", "flush(); flush(); "] {
            let why = woven(&NOWHERE, text).unwrap_err();
            assert!(why.ends_with("not once: flush();"), "{why}");
        }
        assert!(woven(&OVERLAP, "a; b; c;").unwrap_err().ends_with("edits overlap: b; c;"));
    }
}
