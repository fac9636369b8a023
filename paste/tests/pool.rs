//! Pool test: files that are pools, that are none, and that are broken.
#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap as tests do")]

use std::{fs, path::PathBuf};

use paste_net::{
    Batch, BufSize, Error, Granularity, Log, Loopback, Pool, PoolId, PoolSpec, Port, PortSpec,
};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pool");
    (folder, path)
}

fn spec(path: &PathBuf) -> PoolSpec {
    PoolSpec::new(path).size(MIB).log_entries(256)
}

#[test]
fn a_pool_in_a_file_is_there_again() {
    let (_folder, path) = place();
    let pool = Pool::create(&spec(&path).id(PoolId(9)).buf_size(BufSize::B4096)).unwrap();
    let geometry = pool.geometry();
    assert_eq!((geometry.size, geometry.id), (MIB, PoolId(9)));
    assert!(pool.granularity() >= Granularity::CacheLine);
    drop(pool);
    assert_eq!(Pool::open(&path).unwrap().geometry(), geometry);
    assert_eq!(fs::metadata(&path).unwrap().len(), MIB);
}

#[test]
fn a_log_in_a_file_outlives_its_program() {
    let (_folder, path) = place();
    drop(Pool::create(&spec(&path)).unwrap());
    for round in 0..3u8 {
        let pool = Pool::open(&path).unwrap();
        let mut log = Log::open(&pool).unwrap();
        let texts: Vec<_> = log.records().map(|record| record.to_vec()).collect();
        assert_eq!(texts, (0..round).map(|round| vec![round; 9]).collect::<Vec<_>>());
        let device = Loopback::new();
        let spec = PortSpec::new("pst:0", log.buffers()).extra(4).slots(16);
        let mut port = Port::open(device.clone(), &spec).unwrap();
        port.attach("eth0").unwrap();
        let socket = tempfile::tempfile().unwrap();
        let fd = port.register(std::os::fd::AsFd::as_fd(&socket)).unwrap();
        device.inject(fd.raw(), &[round; 9], 66);
        port.rxsync().unwrap();
        let mut rx = port.rx().unwrap();
        let slot = rx.next().unwrap().unwrap();
        let mut batch = Batch::new();
        batch.record([slot.keep(log.buffers().spare().unwrap())]);
        log.append(batch).unwrap();
    }
}

#[test]
fn only_one_opener_at_a_time() {
    let (_folder, path) = place();
    let pool = Pool::create(&spec(&path)).unwrap();
    let error = Pool::open(&path).unwrap_err();
    assert!(matches!(&error, Error::Busy { .. }), "{error}");
    assert!(error.to_string().ends_with("pool is in use"));
    assert!(matches!(Pool::create(&spec(&path)), Err(Error::Busy { .. })));
    let clone = pool.clone();
    drop(pool);
    assert!(Pool::open(&path).is_err(), "the clone is the same pool");
    drop(clone);
    assert!(Pool::open(&path).is_ok());
}

#[test]
fn nothing_is_no_pool() {
    let (_folder, path) = place();
    assert!(matches!(Pool::open(&path), Err(Error::NoPool { .. })), "absent");
    fs::write(&path, "").unwrap();
    assert!(matches!(Pool::open(&path), Err(Error::NoPool { .. })), "empty");
    fs::write(&path, vec![0; 8192]).unwrap();
    assert!(matches!(Pool::open(&path), Err(Error::NoPool { .. })), "zeros");
    assert!(Pool::create(&spec(&path)).is_ok(), "a zeroed file may become one");
}

#[test]
fn other_data_are_not_overwritten_unless_told() {
    let (_folder, path) = place();
    for content in [&b"x"[..], &[7; 5000], &[b'y'; 4096]] {
        fs::write(&path, content).unwrap();
        assert!(matches!(Pool::open(&path), Err(Error::Foreign { .. })));
        let error = Pool::create(&spec(&path)).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), content, "not even its length");
    }
    assert!(Pool::create(&spec(&path).overwrite(true)).is_ok());
    let error = Pool::create(&spec(&path)).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    assert!(Pool::open(&path).is_ok());
}

#[test]
fn broken_pools_are_named_and_left_alone() {
    let (_folder, path) = place();
    drop(Pool::create(&spec(&path)).unwrap());
    let good = fs::read(&path).unwrap();

    let mut newer = good.clone();
    newer[8] = 99;
    fs::write(&path, &newer).unwrap();
    let error = Pool::open(&path).unwrap_err().to_string();
    assert!(error.ends_with("pool format 99, this library knows 1"), "{error}");

    let mut torn = good.clone();
    torn[40] ^= 1;
    fs::write(&path, &torn).unwrap();
    assert!(matches!(Pool::open(&path), Err(Error::Corrupt { .. })));
    assert!(matches!(Pool::create(&spec(&path)), Err(Error::Exists { .. })));
    assert_eq!(fs::read(&path).unwrap(), torn);

    fs::write(&path, &good[..good.len() / 2]).unwrap();
    assert!(matches!(Pool::open(&path), Err(Error::Corrupt { .. })), "cut off");
}

#[test]
fn a_pool_without_room_is_refused_before_anything_changes() {
    let (_folder, path) = place();
    let error = Pool::create(&PoolSpec::new(&path).size(MIB)).unwrap_err();
    assert!(matches!(error, Error::Geometry { .. }), "65536 entries need 2 MiB: {error}");
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
}

#[test]
fn random_bytes_are_never_taken_for_a_pool() {
    let mut state = 7u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    let pool = Pool::volatile(&PoolSpec::new("memory").size(MIB).log_entries(256)).unwrap();
    let good = pool.image();
    for round in 0..300 {
        let mut image = good[..(round + 1) * 100].to_vec();
        for _ in 0..=round {
            let at = usize::from(random()) % 128.min(image.len());
            image[at] = random();
        }
        assert!(Pool::open_image(&image).is_err());
    }
    assert!(Pool::open_image(&[]).is_err());
    assert!(Pool::open_image(&good).is_ok());
}
