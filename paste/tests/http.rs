//! HTTP test: the example server over ordinary sockets, as a process that is killed.
#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap as tests do")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// The example as a process; killed when dropped, as by a power loss.
struct Server {
    child: Child,
    address: SocketAddr,
    recovered: usize,
}

impl Server {
    fn start(folder: &TempDir) -> Self {
        let mut command = Command::new(program());
        command.args(["--device", "sockets", "--listen", "127.0.0.1:0"]);
        command.arg(folder.path().join("pool")).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = |prefix: &str| {
            let line = lines.next().unwrap().unwrap();
            line.strip_prefix(prefix).unwrap_or_else(|| panic!("{line}")).to_owned()
        };
        let recovered = told("recovered ").split(' ').next().unwrap().parse().unwrap();
        assert!(told("device: ").contains("every byte is copied"));
        let address = told("listening on ").parse().unwrap();
        Self { child, address, recovered }
    }

    fn connect(&self) -> Client {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Client { reader: BufReader::new(socket) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Cargo builds examples together with integration tests, beside them.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(Path::parent).unwrap().join("examples/http");
    assert!(program.exists(), "`cargo test` without --test builds it");
    program
}

struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap();
    }

    fn post(&mut self, body: &[u8]) {
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        self.send(head.as_bytes());
        self.send(body);
    }

    fn get(&mut self, number: &str) {
        self.send(format!("GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    }

    /// Status and body of the next answer.
    fn answer(&mut self) -> (u16, Vec<u8>) {
        let (mut status, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            assert_ne!(self.reader.read_line(&mut line).unwrap(), 0, "the server closed");
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if status.is_none() {
                status = Some(line.split(' ').nth(1).unwrap().parse().unwrap());
            } else if let Some(("Content-Length", value)) = line.split_once(": ") {
                length = value.parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).unwrap();
        (status.unwrap(), body)
    }

    /// What comes before the server closes, which it must do.
    fn rest(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// The number under which a posted body is stored.
    fn stored(&mut self) -> String {
        let (status, text) = self.answer();
        assert_eq!(status, 200);
        String::from_utf8(text).unwrap().trim_end().to_owned()
    }
}

fn body(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u64).wrapping_mul(0x9e37_79b9).to_le_bytes()[2] ^ seed).collect()
}

#[test]
fn what_was_posted_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut stored = Vec::new();
    for round in 0..3u8 {
        let server = Server::start(&folder);
        assert_eq!(server.recovered, stored.len());
        let mut client = server.connect();
        for (number, len) in [1, 64, 1448, 5000, 100_000].into_iter().enumerate() {
            let body = body(round * 16 + u8::try_from(number).unwrap(), len);
            client.post(&body);
            stored.push((client.stored(), body));
        }
        for (number, body) in &stored {
            client.get(number);
            assert_eq!(client.answer(), (200, body.clone()), "record {number}");
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder);
    let mut client = server.connect();
    let mut requests = Vec::new();
    for number in 0..40u8 {
        requests.extend(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n");
        requests.extend(body(number, 100));
        requests.extend(b"GET /0 HTTP/1.1\r\n\r\n");
    }
    client.send(&requests);
    let mut stored = Vec::new();
    for _ in 0..40u8 {
        stored.push(client.stored());
        assert_eq!(client.answer(), (200, body(0, 100)));
    }
    for (number, stored) in (0..).zip(&stored) {
        client.get(stored);
        assert_eq!(client.answer(), (200, body(number, 100)), "{stored}");
    }
    // The same byte by byte, in as many packets as there are bytes.
    client.reader.get_ref().set_nodelay(true).unwrap();
    for byte in b"POST / HTTP/1.1\r\ncontent-length:  3 \r\n\r\nabcGET /0 HTTP/1.1\r\n\r\n" {
        client.send(&[*byte]);
    }
    let stored = client.stored();
    assert_eq!(client.answer(), (200, body(0, 100)));
    client.get(&stored);
    assert_eq!(client.answer(), (200, b"abc".to_vec()));
}

#[test]
fn many_clients_get_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder);
    thread::scope(|scope| {
        for number in 0..32u8 {
            let mut client = server.connect();
            scope.spawn(move || {
                for round in 0..20 {
                    let body = body(number, 10 + 300 * round);
                    client.post(&body);
                    let stored = client.stored();
                    client.get(&stored);
                    assert_eq!(client.answer(), (200, body));
                }
            });
        }
    });
}

#[test]
fn wrong_requests_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder);
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(9000));
    for (request, status) in [
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/2\r\n\r\n", 400),
        ("GET 0 HTTP/1.1\r\n\r\n", 400),
        ("GET /0 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 400),
        ("GET /0 HTTP/1.1\r\nName : value\r\n\r\n", 400),
        ("GET /\u{e9}\r\n\r\n", 400),
        ("PUT / HTTP/1.1\r\n\r\n", 405),
        ("POST / HTTP/1.1\r\n\r\n", 411),
        ("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello", 400),
        ("POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n", 413),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        (&long, 431),
    ] {
        let mut client = server.connect();
        client.send(request.as_bytes());
        assert_eq!(client.answer().0, status, "{request:?}");
    }
    let mut client = server.connect();
    for missing in ["0", "7", "18446744073709551615", "x", "-1", ""] {
        client.get(missing);
        assert_eq!(client.answer().0, 404, "{missing}");
    }
    client.post(b"still here");
    assert_eq!(client.stored(), "0");
}

#[test]
fn a_client_that_has_said_all_hears_all() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder);
    let mut client = server.connect();
    let body = body(7, 700_000);
    client.post(&body);
    client.get("0");
    client.reader.get_ref().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.stored(), "0");
    assert_eq!(client.answer(), (200, body.clone()));
    assert_eq!(client.rest(), b"");
    // And one that asks the server to close.
    let mut client = server.connect();
    client.send(b"GET /0 HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert_eq!(client.answer(), (200, body));
    assert_eq!(client.rest(), b"");
}
