//! Tests, of traces: there and back, and every kind of bad file.

use super::*;
use crate::event::{
    Context, Dma, Event, Fence, FenceKind, Flush, FlushKind, Pc, Store, StoreBytes, Vcpu,
};
use crate::line::{Line, Offset, Range};
use crate::marker::{Marker, Op};

const SIZE: u64 = 1 << 20;

fn header() -> Header {
    Header {
        nvdimm_bytes: SIZE,
        base: "base.img".into(),
        base_hash: hash(&image()),
        seed: 7,
        rules: Rules::default(),
        command: vec!["qemu".into(), "-icount".into()],
    }
}

fn events() -> Vec<Event> {
    let context = Context { cr3: 0x1234_5000, privilege: 3 };
    let (vcpu, pc) = (Vcpu(1), Pc(0xffff_ffff_8100_0000));
    let bytes = StoreBytes::new(&[1, 2, 3]).unwrap();
    let offset = Offset(SIZE - 3);
    let ranges = vec![Range { offset: Offset(64), len: 8 }];
    let args = [u64::MAX, 0, 5];
    vec![
        Event::Store(Store { vcpu, pc, context, offset, bytes, nontemporal: true }),
        Event::Store(Store { vcpu, pc, context, offset: Offset(0), bytes, nontemporal: false }),
        Event::Flush(Flush {
            vcpu: Vcpu(0),
            pc: Pc(7),
            context: Context::default(),
            line: Line(SIZE / 64 - 1),
            kind: FlushKind::Clflush,
            live: [0xa5; 64],
        }),
        Event::Fence(Fence { vcpu, pc, context, kind: FenceKind::Wbinvd }),
        Event::Dma(Dma { offset: Offset(100), bytes: vec![9; 1500], begin: 3, end: 4 }),
        Event::Marker(Marker { vcpu, pc, op: Op::AssertPersisted, args, ranges }),
    ]
}

fn image() -> Vec<u8> {
    vec![0; 1 << 20]
}

fn many(times: usize) -> Vec<Event> {
    std::iter::repeat_with(events).take(times).flatten().collect()
}

fn written(events: &[Event]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    for event in events {
        writer.write(event).unwrap();
    }
    writer.finish().unwrap()
}

/// All events, and the error after them if there is one.
fn read(trace: &[u8]) -> (Vec<Event>, Option<Error>) {
    match super::read(trace) {
        Ok(Recorded { events, cut, .. }) => (events, cut),
        Err(error) => (Vec::new(), Some(error)),
    }
}

#[test]
fn a_trace_comes_back_as_it_was() {
    // More than a block.
    let events = many(300);
    let trace = written(&events);
    let reader = Reader::new(&trace[..]).unwrap();
    assert_eq!(*reader.header(), header());
    let (back, error) = read(&trace);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(back, events);
}

#[test]
fn a_store_in_a_loop_is_short() {
    let context = Context { cr3: 0x1234_5000, privilege: 3 };
    let bytes = StoreBytes::new(&[1; 8]).unwrap();
    let store = |n: u64| Store {
        vcpu: Vcpu(0),
        pc: Pc(0x40_1000),
        context,
        offset: Offset(n * 8),
        bytes,
        nontemporal: false,
    };
    let trace = written(&(0..1000).map(|n| Event::Store(store(n))).collect::<Vec<_>>());
    assert!(trace.len() < 1000 * 13, "{} bytes", trace.len());
}

#[test]
fn every_cut_is_named_and_what_is_whole_is_kept() {
    let events = many(150);
    let trace = written(&events);
    let near_the_ends = (0..400).chain(trace.len() - 60..trace.len());
    for len in near_the_ends.chain((400..trace.len()).step_by(7919)) {
        let (back, error) = read(&trace[..len]);
        let error = error.expect("a cut trace has an error");
        match error {
            Error::Foreign => assert!(len < MAGIC.len()),
            Error::Truncated { events } => assert_eq!(events, back.len() as u64),
            other => panic!("at {len}: {other}"),
        }
        assert_eq!(back, events[..back.len()]);
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let events = events();
    let trace = written(&events);
    for at in 0..trace.len() {
        let mut bad = trace.clone();
        bad[at] ^= 1 << (at % 8);
        let (_, error) = read(&bad);
        assert!(error.is_some(), "byte {at}");
    }
}

#[test]
fn foreign_files_and_other_versions_are_refused() {
    assert!(matches!(read(b"").1, Some(Error::Foreign)));
    assert!(matches!(read(b"\x7fELF and so on").1, Some(Error::Foreign)));
    let mut trace = written(&events());
    trace[8] = 2;
    assert!(matches!(read(&trace).1, Some(Error::Version { found: 2 })));
}

#[test]
fn another_image_is_refused() {
    let header = header();
    let image = image();
    assert!(header.fits(&image).is_ok());
    assert!(matches!(header.fits(&image[1..]), Err(Error::Size { trace: SIZE, .. })));
    let mut other = image;
    other[5] = 1;
    assert!(matches!(header.fits(&other), Err(Error::Base { .. })));
}

#[test]
fn nonsense_with_right_sums_is_refused() {
    let bodies: [&[u8]; 9] = [
        &[7],                // no such kind
        &[0],                // cut off
        &[0x60, 0, 0, 0],    // a store of nothing
        &[0x60, 0, 0, 65],   // too long
        &[0x60, 0, 1, 1, 9], // before the start
        &[0x61, 0, 2],       // a flush of half a line
        &[0x79, 0, 0],       // no such flush
        &[0x64, 0, 99],      // no such marker
        &[0x62],             // no address
    ];
    for body in bodies {
        let mut trace = Writer::new(Vec::new(), &header()).unwrap().finish().unwrap();
        trace.truncate(trace.len() - 20);
        trace.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
        trace.extend(body);
        trace.extend(sum(1, body).to_le_bytes());
        assert!(matches!(read(&trace).1, Some(Error::Damaged { block: 1, .. })), "{body:?}");
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut random = 1_u64;
    for round in 0..2000 {
        let mut body = Vec::new();
        for _ in 0..round % 60 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            body.push(random.to_be_bytes()[0]);
        }
        let mut last = codec::Last::default();
        let mut rest = codec::Rest(&body);
        while last.decode(&mut rest, SIZE).is_ok() {}
    }
}
