//! Tests of the cache: entries are whole or absent.

use std::sync::mpsc;
use std::time::Duration;

use super::*;

fn fill(dir: &Path, text: &str) -> Content {
    fs::create_dir(dir.join("tree")).unwrap();
    fs::write(dir.join("tree/one"), "1").unwrap();
    fs::write(dir.join("small"), text).unwrap();
    fs::write(dir.join("big"), vec![7; 100_000]).unwrap();
    Content { files: vec!["small".into(), "big".into()], tree: Some("tree"), note: "6.1".into() }
}

fn publish(cache: &Cache, text: &str) -> Entry {
    let writer = cache.lock(&mut |_| {}).unwrap();
    writer.publish("things", "k", |dir| Ok(fill(dir, text))).unwrap()
}

fn damage(cache: &Cache) -> String {
    match cache.find("things", "k") {
        Found::Damaged(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_entry_is_found_again_with_its_note() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    assert!(matches!(cache.find("things", "k"), Found::Absent));
    publish(&cache, "a");
    let Found::Whole(entry) = cache.find("things", "k") else { panic!("not found") };
    assert_eq!(entry.note(), "6.1");
    entry.verify().unwrap();
    publish(&cache, "b");
    assert_eq!(fs::read(entry.path("small")).unwrap(), b"b", "a new one replaces it");
    assert_eq!(fs::read_dir(dir.path().join("things")).unwrap().count(), 1, "nothing is left");
}

#[test]
fn a_maker_that_fails_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let writer = cache.lock(&mut |_| {}).unwrap();
    let failed = writer.publish("things", "k", |dir| {
        fs::write(dir.join("half"), "x").unwrap();
        Err(Error::invalid("test", "fails"))
    });
    assert!(failed.is_err());
    assert_eq!(fs::read_dir(dir.path().join("things")).unwrap().count(), 0);
}

#[test]
fn what_a_killed_build_left_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    fs::create_dir_all(dir.path().join("things/.new-dead/x")).unwrap();
    publish(&cache, "a");
    assert!(!dir.path().join("things/.new-dead").exists());
}

#[test]
fn what_nobody_used_for_long_goes_when_something_new_comes() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let old = publish(&cache, "a");
    let stamp = File::options().append(true).open(old.path("record.json")).unwrap();
    stamp.set_modified(SystemTime::now() - 2 * KEEP).unwrap();
    assert!(matches!(cache.find("things", "k"), Found::Whole(_)), "which counts as use");
    let writer = cache.lock(&mut |_| {}).unwrap();
    let other = |key| writer.publish("things", key, |dir| Ok(fill(dir, "b"))).unwrap();
    other("k2");
    assert!(old.dir.exists());
    stamp.set_modified(SystemTime::now() - 2 * KEEP).unwrap();
    other("k3");
    assert!(!old.dir.exists());
}

#[test]
fn damage_is_seen_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let entry = publish(&cache, "a");
    fs::write(entry.path("small"), "b").unwrap();
    assert!(damage(&cache).contains("small has other content"));
    let entry = publish(&cache, "a");
    fs::write(entry.path("big"), vec![8; 100_000]).unwrap();
    assert!(damage(&cache).contains("big has other content"), "its time gives it away");
    let entry = publish(&cache, "a");
    fs::write(entry.path("big"), "cut").unwrap();
    assert!(damage(&cache).contains("has 3 bytes instead of 100000"));
    let entry = publish(&cache, "a");
    fs::write(entry.path("tree/two"), "2").unwrap();
    assert!(matches!(cache.find("things", "k"), Found::Whole(_)), "too much to look at each time");
    assert!(entry.verify().unwrap_err().to_string().contains("tree has changed"));
    fs::write(entry.path("record.json"), "{").unwrap();
    assert!(damage(&cache).contains("record.json"));
}

#[test]
fn a_file_that_was_only_copied_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let entry = publish(&cache, "a");
    fs::write(entry.path("big"), vec![7; 100_000]).unwrap();
    assert!(matches!(cache.find("things", "k"), Found::Whole(_)));
}

#[test]
fn a_second_writer_waits_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let first = cache.lock(&mut |_| panic!("nobody else is there")).unwrap();
    let (said, hears) = mpsc::channel();
    let other = cache.clone();
    let second = std::thread::spawn(move || {
        other.lock(&mut |line| said.send(line.to_owned()).unwrap()).map(drop).unwrap();
    });
    let line = hears.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(line.contains("another build"), "{line}");
    assert!(!second.is_finished());
    drop(first);
    second.join().unwrap();
}
