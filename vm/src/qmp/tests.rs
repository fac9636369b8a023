//! QMP, tested against a thread that plays QEMU.

use super::*;

const GREETING: &str = r#"{"QMP": {"version": {}, "capabilities": []}}"#;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

struct Peer {
    lines: std::io::Lines<BufReader<UnixStream>>,
    stream: UnixStream,
}

impl Peer {
    fn say(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    }

    fn hear(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }
}

fn connect(play: impl FnOnce(Peer) + Send + 'static) -> (Qmp, Receiver<Event>) {
    let (ours, stream) = UnixStream::pair().unwrap();
    thread::spawn(move || {
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        play(Peer { lines, stream });
    });
    let dir = tempfile::tempdir().unwrap();
    let (sender, events) = channel();
    let on_event = Box::new(move |event: &Event| drop(sender.send(event.clone())));
    let (qmp, _) = Qmp::start(ours, &dir.path().join("qmp.log"), on_event).unwrap();
    (qmp, events)
}

#[test]
fn replies_are_matched_by_id_with_events_between() {
    let (qmp, events) = connect(|mut peer| {
        peer.say(GREETING);
        let hello = peer.hear();
        assert_eq!(hello["execute"], "qmp_capabilities");
        peer.say(&json!({"return": {}, "id": hello["id"]}).to_string());
        let stop = peer.hear();
        peer.say(r#"{"event": "STOP"}"#);
        peer.say(r#"{"return": {"wrong": 1}, "id": 999}"#);
        peer.say(r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}"#);
        peer.say(&json!({"return": {"right": stop["arguments"]}, "id": stop["id"]}).to_string());
        peer.hear();
    });
    qmp.negotiate(soon()).unwrap();
    let reply = qmp.execute("stop", &json!({"x": 1}), soon()).unwrap();
    assert_eq!(reply, json!({"right": {"x": 1}}));
    assert_eq!(events.recv().unwrap().name, "STOP");
    assert_eq!(events.recv().unwrap().text("reason"), "guest-reset");
}

#[test]
fn refusals_carry_the_description() {
    let (qmp, _events) = connect(|mut peer| {
        peer.say(GREETING);
        let hello = peer.hear();
        let error = json!({"class": "GenericError", "desc": "no such thing"});
        peer.say(&json!({"error": error, "id": hello["id"]}).to_string());
    });
    assert_eq!(qmp.negotiate(soon()), Err(NoReply::Refused("no such thing".into())));
}

#[test]
fn a_silent_peer_is_a_timeout() {
    // It listens until we go: one that went first would be told as closed.
    let (qmp, _events) = connect(|peer| peer.lines.for_each(drop));
    let deadline = Instant::now() + Duration::from_millis(20);
    assert_eq!(qmp.negotiate(deadline), Err(NoReply::Timeout));
    assert_eq!(qmp.execute("stop", &Value::Null, deadline), Err(NoReply::Timeout));
}

#[test]
fn a_vanished_peer_is_told_at_once() {
    let (qmp, _events) = connect(|mut peer| {
        peer.say(GREETING);
        peer.hear();
    });
    assert_eq!(qmp.negotiate(soon()), Err(NoReply::Closed));
    assert_eq!(qmp.execute("stop", &Value::Null, soon()), Err(NoReply::Closed));
}

#[test]
fn garbage_closes_the_connection() {
    let (qmp, _events) = connect(|mut peer| {
        peer.say("this is not JSON");
        peer.hear();
    });
    assert_eq!(qmp.negotiate(soon()), Err(NoReply::Closed));
}
