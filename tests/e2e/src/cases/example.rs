//! Example cases: the library's whole program, used as a stranger would use it.

use std::net::SocketAddrV4;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use vm::vnet::Tcp;
use vm::{Command, Event, Mib, Running};

use crate::address;
use crate::bench::{Bench, PATIENCE};
use crate::needs::Needs;
use crate::rig::Rig;

/// How often the power is cut.
const CUTS: u64 = 3;

/// Lengths of the bodies in bytes; some take many packets.
const LENGTHS: [usize; 6] = [1, 64, 1024, 1448, 5000, 50_000];

/// Where the program lies in the guest, and the port that it listens on.
const PROGRAM: &str = "/run/http";
const PORT: u16 = 8080;

/// Every body that the server acknowledged is served from its buffers after a power cut.
pub(super) fn http(rig: &mut Rig) -> anyhow::Result<()> {
    let module = rig.module(&[])?;
    let program = rig.world().base()?.programs.http.clone();
    let mut bench = rig.boot(Needs::devdax(Mib(64)))?;
    let mut acked: Vec<(String, Vec<u8>)> = Vec::new();
    for cut in 0..=CUTS {
        bench.address()?;
        bench.load(&module)?;
        bench.put(&program, PROGRAM)?;
        let (server, told) = serve(&bench)?;
        // What was on its way at the cut may be there, too.
        let recovered = recovered(&told)?;
        ensure!(recovered >= acked.len(), "{recovered} of {} records are there", acked.len());
        let client = Client::connect(&bench)?;
        for (number, body) in &acked {
            let (status, body_again) = client.ask(&get(number), b"")?;
            ensure!(
                status == 200 && body_again == *body,
                "record {number} after cut {cut}: {status}"
            );
        }
        let seed = rig.seed().part(cut);
        for (number, len) in LENGTHS.into_iter().enumerate() {
            let body = seed.part(number as u64).bytes(len);
            let (status, stored) = client.ask(&head(len), &body)?;
            ensure!(status == 200, "a body of {len} bytes is answered with {status}");
            acked.push((String::from_utf8(stored)?.trim_end().to_owned(), body));
        }
        if cut < CUTS {
            rig.step(format!("cut the power, {} of {CUTS}", cut + 1));
            client.send(&head(5000), &seed.bytes(5000))?;
            let dark = bench.power_fail();
            drop((server, client));
            bench = dark.boot()?;
        } else {
            rig.step("let the server close");
            let (number, body) = acked.last().context("a stored body")?;
            let (status, body_again) = client.ask(&last(number), b"")?;
            ensure!(status == 200 && body_again == *body, "the last answer: {status}");
            client.end()?;
            rig.step("let curl and wrk use it");
            strangers(&bench)?;
        }
    }
    rig.count("records_acked", acked.len() as u64)?;
    rig.count("records_lost", 0)
}

/// What people use: curl stores and fetches a body, wrk fetches one as fast as it can.
fn strangers(bench: &Bench) -> anyhow::Result<()> {
    let at = format!("http://{}:{PORT}", address::GUEST);
    bench.shell(&format!(
        "head -c 300000 /dev/urandom >/tmp/body
         number=$(curl -sSf --data-binary @/tmp/body {at}/)
         curl -sSf {at}/$number | cmp - /tmp/body
         curl -sSf -H 'Connection: close' {at}/$number | cmp - /tmp/body"
    ))?;
    let told = bench.shell(&format!("wrk -t 1 -c 16 -d 2s {at}/0"))?;
    let requests = told.lines().find_map(|line| line.trim().split_once(" requests in"));
    let requests: u32 = requests.with_context(|| told.clone())?.0.parse().context("count")?;
    let wrong = ["Socket errors", "Non-2xx"].iter().any(|word| told.contains(word));
    ensure!(requests > 16 && !wrong, "wrk says: {told}");
    Ok(())
}

fn get(number: &str) -> String {
    format!("GET /{number} HTTP/1.1\r\nHost: guest\r\n\r\n")
}

/// Asks the server to close behind its answer.
fn last(number: &str) -> String {
    format!("GET /{number} HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n")
}

fn head(len: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: guest\r\nContent-Length: {len}\r\n\r\n")
}

/// Starts the server; what it said before it listened.
fn serve(bench: &Bench) -> anyhow::Result<(Running, String)> {
    let command = Command::new(PROGRAM).args(["--device", "kernel", "/dev/dax0.0"]);
    let server = bench.guest().spawn(&command.timeout(10 * PATIENCE)).context("start it")?;
    let (deadline, mut told) = (Instant::now() + PATIENCE, String::new());
    while !told.contains("listening on") {
        match server.recv(deadline).context("wait for the server")? {
            Event::Stdout(bytes) | Event::Stderr(bytes) => {
                told.push_str(&String::from_utf8_lossy(&bytes));
            }
            Event::Exit(code) => bail!("the server ended: {code}: {told}"),
        }
    }
    ensure!(told.contains("kernel extension"), "it runs over something else: {told}");
    Ok((server, told))
}

fn recovered(told: &str) -> anyhow::Result<usize> {
    let count = told.lines().find_map(|line| line.strip_prefix("recovered ")?.split(' ').next());
    count.context("a number of records")?.parse().context("read the number of records")
}

/// An HTTP client on the host's end of the network.
struct Client {
    tcp: Tcp,
}

impl Client {
    fn connect(bench: &Bench) -> anyhow::Result<Self> {
        let to = SocketAddrV4::new(address::GUEST, PORT);
        Ok(Self { tcp: bench.host().connect(to, PATIENCE).context("connect")? })
    }

    fn send(&self, head: &str, body: &[u8]) -> anyhow::Result<()> {
        self.tcp.send_all(head.as_bytes(), PATIENCE).context("send a head")?;
        self.tcp.send_all(body, PATIENCE).context("send a body")
    }

    /// Status and body of the answer.
    fn ask(&self, head: &str, body: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
        self.send(head, body)?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.tcp.recv_exact(&mut byte, PATIENCE).context("receive a head")?;
            answer.push(byte[0]);
        }
        let answer = String::from_utf8(answer)?;
        let status = answer.split(' ').nth(1).context("a status")?.parse()?;
        let length = answer.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.context("a length")?.parse()?];
        self.tcp.recv_exact(&mut body, PATIENCE).context("receive a body")?;
        Ok((status, body))
    }

    /// The server closes, having said nothing more.
    fn end(self) -> anyhow::Result<()> {
        let more = self.tcp.recv(&mut [0], PATIENCE).context("wait for the server to close")?;
        ensure!(more == 0, "the server goes on after the last answer");
        Ok(())
    }
}
