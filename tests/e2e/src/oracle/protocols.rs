//! Protocols: what the logs of `protocols.c` may leave behind, right and wrong.

use vm::crash::{Class, Fault, LINE, Op, Verdict, View};

/// Bytes of a record: two lines of text and the line of its number.
const RECORD: usize = 3 * LINE;
const TEXT: usize = 2 * LINE;

/// A way to write the log.
#[derive(Debug)]
pub(crate) struct Way {
    /// Its name in the program.
    pub(crate) name: &'static str,
    /// What the explorer must find wrong with it.
    pub(crate) wrong: Option<Class>,
    /// Whether what it asserts to be durable is not.
    pub(crate) asserts_too_much: bool,
}

/// All ways. Assertions see what is not durable in time; they are blind to what becomes durable in
/// a wrong order.
pub(crate) const WAYS: [Way; 10] = [
    Way { name: "good", wrong: None, asserts_too_much: false },
    Way { name: "good_past_caches", wrong: None, asserts_too_much: false },
    Way { name: "good_clflush", wrong: None, asserts_too_much: false },
    wrong("no_flush", Class::NeverFlushed, true),
    wrong("half_a_flush", Class::NeverFlushed, true),
    wrong("flush_before_store", Class::NeverFlushed, true),
    wrong("one_fence", Class::FlushedNotFenced, false),
    wrong("past_caches_no_fence", Class::NontemporalNotFenced, false),
    wrong("flush_too_late", Class::PublishedBeforeDurable, false),
    wrong("early_acknowledgement", Class::PublishedBeforeDurable, false),
];

const fn wrong(name: &'static str, class: Class, asserts_too_much: bool) -> Way {
    Way { name, wrong: Some(class), asserts_too_much }
}

/// Judges an image whose log begins at `start`: every number that is there has its text, and every
/// acknowledged record is there.
#[expect(clippy::unnecessary_wraps, reason = "checkers may fail")]
pub(crate) fn check(start: usize, view: &View<'_>) -> Result<Verdict, Fault> {
    let records = view.image[start..].chunks_exact(RECORD).zip(1_u8..);
    let whole = records.take_while(|(record, number)| record[TEXT..][..8] == number_of(*number));
    let mut count = 0;
    for (record, number) in whole {
        if record[..TEXT] != [b'a' + number; TEXT] {
            return Ok(Verdict::Bad(format!("record {number} has another text")));
        }
        count += 1;
    }
    let promised = view.markers.iter().filter(|marker| marker.op == Op::Checkpoint);
    let promised = promised.map(|marker| marker.args[0]).max().unwrap_or_default();
    if count < promised {
        return Ok(Verdict::Bad(format!(
            "{promised} records were acknowledged, {count} are there"
        )));
    }
    Ok(Verdict::Good)
}

fn number_of(number: u8) -> [u8; 8] {
    u64::from(number).to_le_bytes()
}
