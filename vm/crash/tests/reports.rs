//! Reports: each class on the smallest program that deserves it, pictures, assertions.

mod common;

use common::{BYTES, Program, failure, report};
use crash::assertion::assertions;
use crash::picture::picture;
use crash::report::NoSymbols;
use crash::{
    Choice, Class, Event, Fault, FenceKind, FlushKind, Marker, Offset, Op, Range, Rules, Verdict,
    View,
};

/// Data at 64, and a word at 0 that says that it is there.
#[expect(clippy::unnecessary_wraps, reason = "checkers may fail")]
fn check(view: &View<'_>) -> Result<Verdict, Fault> {
    let is_said = view.image[0] == 1;
    let is_whole = view.image[64..80] == [7; 16];
    let bad = || Verdict::Bad("said to be there, and is not".into());
    Ok(if is_said && !is_whole { bad() } else { Verdict::Good })
}

fn class(build: impl Fn(&mut Program)) -> Class {
    let mut program = Program::new(BYTES);
    build(&mut program);
    report(&program, &mut check).class
}

fn persist(program: &mut Program, offset: u64) {
    program.flush(FlushKind::Clwb, offset);
    program.fence(FenceKind::Sfence);
}

fn publish(program: &mut Program) {
    program.store(0, &[1; 8]);
    persist(program, 0);
}

#[test]
fn never_flushed() {
    let found = class(|program| {
        program.store(64, &[7; 16]);
        publish(program);
    });
    assert_eq!(found, Class::NeverFlushed);
}

#[test]
fn flushed_not_fenced() {
    let found = class(|program| {
        program.store(64, &[7; 16]);
        program.flush(FlushKind::Clwb, 64);
        publish(program);
    });
    assert_eq!(found, Class::FlushedNotFenced);
}

#[test]
fn nontemporal_not_fenced() {
    let found = class(|program| {
        program.nontemporal(64, &[7; 16]);
        publish(program);
    });
    assert_eq!(found, Class::NontemporalNotFenced);
}

#[test]
fn device_write_never_flushed() {
    let found = class(|program| {
        program.dma(64, &[7; 16]);
        publish(program);
    });
    assert_eq!(found, Class::DeviceWriteNeverFlushed);
}

#[test]
fn published_before_durable() {
    let found = class(|program| {
        program.store(64, &[7; 16]);
        publish(program);
        persist(program, 64);
    });
    assert_eq!(found, Class::PublishedBeforeDurable);
}

#[test]
fn torn() {
    // The loss of the whole line is noticed, that of its second word is not.
    let mut half = |view: &View<'_>| {
        let is_torn = view.image[64..72] == [7; 8] && view.image[72..80] != [7; 8];
        Ok(if is_torn { Verdict::Bad("half a record".into()) } else { Verdict::Good })
    };
    let mut program = Program::new(BYTES);
    program.store(64, &[7; 16]);
    persist(&mut program, 64);
    let report = report(&program, &mut half);
    assert_eq!(report.class, Class::Torn);
    assert_eq!((report.lost[0].value, report.lost[0].values), (1, 3));
}

#[test]
fn not_a_matter_of_flushes() {
    let found = class(|program| {
        publish(program);
        program.store(64, &[7; 16]);
    });
    assert_eq!(found, Class::NotAMatterOfFlushes);
}

#[test]
fn a_choice_from_a_foreign_file_is_no_failure() {
    let mut program = Program::new(BYTES);
    program.store(64, &[7; 16]);
    program.store(0, &[1; 8]);
    let (mut failure, image) = (failure(&program, &mut check), vec![0; BYTES]);
    failure.choice = Choice { all: true, except: vec![(crash::Line(1), 99), (crash::Line(9), 0)] };
    let rules = Rules::default();
    let explained =
        crash::report::explain(image, &program.events, rules, &failure, &mut check, &NoSymbols);
    assert_eq!(explained, Ok(None));
}

#[test]
fn a_picture_shows_the_lost_line_and_the_cut() {
    let mut program = Program::new(BYTES);
    program.store(64, &[7; 16]);
    publish(&mut program);
    let report = report(&program, &mut check);
    let svg = picture(vec![0; BYTES], &program.events, Rules::default(), &report, &NoSymbols);
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    assert!(svg.contains(">0x40 lost</text>"), "{svg}");
    assert!(svg.contains("power lost after event 2: never flushed"), "{svg}");
    assert_eq!(svg.matches("<rect").count(), svg.matches("fill=").count());
    let letters: Vec<_> = ["S", "F", "|"].iter().map(|it| format!(">{it}<title>")).collect();
    assert!(letters.iter().all(|letter| svg.contains(letter)), "{svg}");
}

fn assert_persisted(program: &mut Program, id: u64) {
    let (vcpu, pc, op) = (program.vcpu, program.pc, Op::AssertPersisted);
    let ranges = vec![Range { offset: Offset(64), len: 16 }];
    program.events.push(Event::Marker(Marker { vcpu, pc, op, args: [0, 16, id], ranges }));
}

#[test]
fn assertions_hold_when_all_is_durable() {
    let mut program = Program::new(BYTES);
    assert_persisted(&mut program, 1);
    program.at(5).store(64, &[7; 16]);
    assert_persisted(&mut program, 2);
    program.flush(FlushKind::Clwb, 64);
    assert_persisted(&mut program, 3);
    program.fence(FenceKind::Sfence);
    assert_persisted(&mut program, 4);
    // Another word of the line is no matter of the assertion.
    program.store(120, &[7; 8]);
    assert_persisted(&mut program, 5);
    let image = vec![0; BYTES];
    let found = assertions(image, &program.events, Rules::default(), &NoSymbols);
    assert_eq!(found.count, 5);
    let classes: Vec<_> =
        found.broken.iter().map(|broken| (broken.id, broken.lines[0].class)).collect();
    assert_eq!(classes, [(2, Class::PublishedBeforeDurable), (3, Class::FlushedNotFenced)]);
    assert_eq!(
        found.broken[0].lines[0].writer.as_ref().and_then(|site| site.pc?.0.into()),
        Some(5)
    );
}
