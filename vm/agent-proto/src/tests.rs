//! Frames, tested: what goes in comes out, and hostile bytes come to nothing.

use super::*;

fn samples() -> Vec<Frame> {
    let run = Run {
        argv: vec![b"/bin/sh".to_vec(), b"".to_vec(), vec![0xff, b'\n', b' ']],
        env: vec![(b"A".to_vec(), b"b=c".to_vec())],
        cwd: b"/tmp".to_vec(),
        timeout_ms: 1500,
        stdin: true,
    };
    vec![
        Frame::Hello { proto: VERSION, kernel: b"6.1.0".to_vec(), boot_id: b"x".to_vec() },
        Frame::Ping(u64::MAX),
        Frame::Pong(0),
        Frame::Run { id: 7, run },
        Frame::Stdin(7, vec![]),
        Frame::Out(7, vec![0; CHUNK]),
        Frame::Err(7, b"e".to_vec()),
        Frame::Exit(7, End::Code(-1)),
        Frame::Exit(7, End::Signal(9)),
        Frame::Exit(7, End::Timeout),
        Frame::Kill(7, 15),
        Frame::Put { id: 8, path: b"/x".to_vec(), mode: 0o755, len: 1 << 40, sum: 3 },
        Frame::Get(9, b"/y".to_vec()),
        Frame::Data(9, b"data".to_vec()),
        Frame::Done { id: 9, len: 4, sum: Checksum::of(b"data") },
        Frame::Refused(9, b"no such file".to_vec()),
        Frame::PowerOff,
        Frame::Taken(7, 1 << 40),
    ]
}

fn raw(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 1).unwrap();
    [&len.to_le_bytes()[..], &[kind], body].concat()
}

fn decode(bytes: &[u8]) -> Result<Option<Frame>, ProtoError> {
    let mut decoder = Decoder::new();
    decoder.push(bytes);
    decoder.next_frame()
}

#[test]
fn every_frame_survives_the_wire_byte_by_byte() {
    let mut decoder = Decoder::new();
    for frame in samples() {
        let bytes = frame.encode().unwrap();
        let (last, first) = bytes.split_last().unwrap();
        for byte in first {
            decoder.push(&[*byte]);
            assert_eq!(decoder.next_frame(), Ok(None));
        }
        decoder.push(&[*last]);
        assert_eq!(decoder.next_frame(), Ok(Some(frame)));
    }
}

#[test]
fn frames_that_arrive_together_are_cut_apart() {
    let mut decoder = Decoder::new();
    decoder.push(&samples().iter().flat_map(|f| f.encode().unwrap()).collect::<Vec<_>>());
    for frame in samples() {
        assert_eq!(decoder.next_frame(), Ok(Some(frame)));
    }
    assert_eq!(decoder.next_frame(), Ok(None));
}

#[test]
fn every_truncation_inside_a_frame_is_an_error() {
    for frame in samples() {
        let bytes = frame.encode().unwrap();
        let (kind, body) = (bytes[4], &bytes[5..]);
        for len in 0..body.len() {
            let error = decode(&raw(kind, &body[..len])).unwrap_err();
            assert_eq!(error, ProtoError::Truncated(kind), "{frame:?} cut to {len}");
        }
        assert_eq!(decode(&raw(kind, &[body, b"+"].concat())), Err(ProtoError::Trailing(kind, 1)));
    }
}

#[test]
fn nonsense_is_refused() {
    assert_eq!(decode(&raw(0, &[])), Err(ProtoError::UnknownKind(0)));
    assert_eq!(decode(&raw(255, &[])), Err(ProtoError::UnknownKind(255)));
    assert_eq!(decode(&[0; 4]), Err(ProtoError::Truncated(0)));
    assert_eq!(decode(&[0xff; 4]), Err(ProtoError::TooLong(0xffff_ffff)));
    let end = [7, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(decode(&raw(8, &end)), Err(ProtoError::BadField(8)));
}

#[test]
fn lying_counts_allocate_nothing() {
    // id, then an argument count of 4 billion.
    let body = [1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(decode(&raw(4, &body)), Err(ProtoError::Truncated(4)));
}

#[test]
fn runs_that_no_kernel_could_start_are_refused() {
    let fine = Run { argv: vec![b"a".to_vec()], ..Run::default() };
    let with = |change: fn(&mut Run)| {
        let mut run = fine.clone();
        change(&mut run);
        decode(&Frame::Run { id: 1, run }.encode().unwrap())
    };
    assert!(with(|_| ()).is_ok());
    assert_eq!(with(|run| run.argv.clear()), Err(ProtoError::BadField(4)));
    assert_eq!(with(|run| run.argv[0].push(0)), Err(ProtoError::BadField(4)));
    assert_eq!(with(|run| run.cwd.push(0)), Err(ProtoError::BadField(4)));
    assert_eq!(with(|r| r.env.push((b"a=".to_vec(), vec![]))), Err(ProtoError::BadField(4)));
}

#[test]
fn too_long_frames_are_not_sent() {
    let fits = Frame::Data(1, vec![0; MAX_FRAME - 9]);
    assert!(decode(&fits.encode().unwrap()).unwrap().is_some());
    let long = Frame::Data(1, vec![0; MAX_FRAME - 8]);
    assert_eq!(long.encode(), Err(ProtoError::TooLong(MAX_FRAME + 1)));
}

#[test]
fn random_bytes_never_panic() {
    // xorshift: the same bytes in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20_000 {
        let mut bytes = Vec::new();
        for _ in 0..6 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend(state.to_le_bytes());
        }
        let kind = bytes[0] % 17;
        let _ = decode(&raw(kind, &bytes[1..]));
        let _ = decode(&bytes);
    }
}

#[test]
fn checksums_do_not_depend_on_pieces() {
    let mut sum = Checksum::default();
    sum.update(b"ab");
    sum.update(b"c");
    assert_eq!(sum.value(), Checksum::of(b"abc"));
}
