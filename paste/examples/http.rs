//! HTTP: a web server whose request bodies stay where the NIC put them.
//!
//! `POST /` appends the body to the packet log and answers with its number when it is durable;
//! `GET /<number>` sends the stored buffers as they lie. Heads are copied, bodies are not, unless
//! several share a packet: a buffer is in one record. A restart or power loss loses nothing.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io::Write,
    net::{TcpListener, TcpStream},
    ops::Range,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use paste_net::{
    Batch, ConnFd, Error, Event, KernelDevice, Log, MOST_IN_BATCH, Packet, Pool, PoolSpec, Port,
    PortSpec, Record, Sequence, Slot, SocketDevice,
};

const USAGE: &str = "\
usage: http [--device auto|kernel|sockets] [--listen ADDRESS:PORT] [--nic NAME] POOL

POST / stores the body, GET /<number> returns it.
POOL is a devdax device, or a file (new: 64 MiB). Its buffers are the records; without DAX they are
written back by msync. Without the kernel extension ordinary sockets copy every byte.

  http --listen 0.0.0.0:8080 /dev/dax0.0
  curl --data-binary @photo.jpg http://HOST:8080/     # prints the number
  curl http://HOST:8080/0
";

const POOL_SIZE: u64 = 64 << 20;
const MOST_BODY: usize = 1 << 20;
const MOST_HEAD: usize = 8192;
const MOST_CONNECTIONS: usize = 4096;
/// A connection that sends nothing for so long is closed.
const IDLE: Duration = Duration::from_mins(1);
/// How long a peer may go on after it was refused, or hold up all others.
const LINGER: Duration = Duration::from_secs(5);
/// How often to look whether a connection is over, beside whenever something happens.
const TICK: Duration = Duration::from_secs(1);

/// Device, address, NIC and pool; `None`: the usage was asked for.
fn options() -> Result<Option<[String; 4]>> {
    let mut options = ["auto", "0.0.0.0:8080", "eth0", ""].map(str::to_owned);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "-h" | "--help" => return Ok(None),
            "--device" => options[0] = value()?,
            "--listen" => options[1] = value()?,
            "--nic" => options[2] = value()?,
            _ if arg.starts_with('-') || !options[3].is_empty() => bail!("{arg}?\n\n{USAGE}"),
            _ => options[3] = arg,
        }
    }
    anyhow::ensure!(!options[3].is_empty(), "name a pool\n\n{USAGE}");
    Ok(Some(options))
}

/// The answer to a request.
enum Answer {
    /// The batch holds the body, so many entries after its first.
    Stored(u64),
    Record(u64),
    Status(&'static str),
}

/// What a piece of a stream holds: bytes of a body, its end, or a request without one.
enum Found {
    Body(Range<usize>),
    Post,
    Other(Answer),
}

/// Bytes of the head; bytes that the body lacks, and whether no more follows; none; none is heard.
enum State {
    Head(Vec<u8>),
    Body(usize, bool),
    Over,
    Refused,
}

impl State {
    fn feed(&mut self, bytes: &[u8]) -> Vec<Found> {
        let (mut found, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            match self {
                Self::Over | Self::Refused => break,
                Self::Body(left, close) => {
                    let end = bytes.len().min(at + *left);
                    found.push(Found::Body(at..end));
                    *left -= end - at;
                    at = end;
                    if *left == 0 {
                        found.push(Found::Post);
                        *self = if *close { Self::Over } else { Self::Head(Vec::new()) };
                    }
                }
                Self::Head(head) => {
                    let end = bytes[at..].iter().position(|byte| {
                        head.push(*byte);
                        head.ends_with(b"\r\n\r\n") || head.len() > MOST_HEAD
                    });
                    at = end.map_or(bytes.len(), |end| at + end + 1);
                    let parsed = match end {
                        None => break,
                        Some(_) if head.len() > MOST_HEAD => Err("431 Headers Too Large"),
                        Some(_) => parse(head),
                    };
                    let (other, state) =
                        parsed.unwrap_or_else(|bad| (Some(Answer::Status(bad)), Self::Refused));
                    found.extend(other.map(Found::Other));
                    *self = state;
                }
            }
        }
        found
    }
}

/// The whole head of a request: its answer unless a body follows, and the state after it.
fn parse(head: &[u8]) -> Result<(Option<Answer>, State), &'static str> {
    let bad = "400 Bad Request";
    let mut lines = std::str::from_utf8(head).map_err(|_| bad)?.split_terminator("\r\n");
    let mut words = lines.next().ok_or(bad)?.split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let version = version.filter(|version| version.starts_with("HTTP/1.")).ok_or(bad)?;
    let (mut length, mut close) = (None::<usize>, version == "HTTP/1.0");
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(bad)?;
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            // Two lengths, or a sign, would let two readers see two requests.
            ("content-length", value) => {
                let digits = length.is_none() && value.bytes().all(|byte| byte.is_ascii_digit());
                length = Some(value.parse().ok().filter(|_| digits).ok_or(bad)?);
            }
            ("transfer-encoding", _) => return Err("501 Not Implemented"),
            ("connection", value) => close |= value.eq_ignore_ascii_case("close"),
            _ if name.is_empty() || name.contains([' ', '\t']) => return Err(bad),
            _ => {}
        }
    }
    let target = target.and_then(|target| target.strip_prefix('/')).ok_or(bad)?;
    let answer = match (method, length) {
        (Some("POST"), None) => return Err("411 Length Required"),
        (Some("POST"), Some(0)) | (Some("GET"), Some(1..)) => return Err(bad),
        (Some("POST"), Some(MOST_BODY..)) => return Err("413 Content Too Large"),
        (Some("POST"), Some(length)) => return Ok((None, State::Body(length, close))),
        (Some("GET"), _) => target.parse().map_or(Answer::Status("404 Not Found"), Answer::Record),
        _ => return Err("405 Method Not Allowed"),
    };
    Ok((Some(answer), if close { State::Over } else { State::Head(Vec::new()) }))
}

/// What waits for a free TX slot: text, or a part of a record.
enum Out {
    Text(Vec<u8>),
    Part(Sequence, usize),
}

struct Conn {
    socket: TcpStream,
    state: State,
    parts: Vec<Packet>,
    outbox: VecDeque<Out>,
    deadline: Instant,
}

/// What one look at the ring gave; answers in the order of their requests.
#[derive(Default)]
struct Round {
    batch: Batch,
    answers: Vec<(ConnFd, Answer)>,
    gone: HashSet<ConnFd>,
}

impl Conn {
    fn hear(&mut self, slot: Slot<'_>, log: &Log, round: &mut Round) {
        let conn = slot.fd();
        match slot.event() {
            Some(Event::End) => self.state = State::Over,
            Some(_) => drop(round.gone.insert(conn)),
            None => {
                if self.take(slot, log, round).is_none() {
                    self.state = State::Refused;
                    self.parts.clear();
                    round.answers.push((conn, Answer::Status("503 Service Unavailable")));
                }
                let refused = matches!(self.state, State::Refused);
                self.deadline = Instant::now() + if refused { LINGER } else { IDLE };
            }
        }
    }

    /// `None`: there is no spare buffer.
    fn take(&mut self, slot: Slot<'_>, log: &Log, round: &mut Round) -> Option<()> {
        let conn = slot.fd();
        let found = self.state.feed(slot.payload());
        let mut ranges = found.iter().filter_map(|found| match found {
            Found::Body(range) => Some(range.clone()),
            _ => None,
        });
        // The first keeps the buffer, the others are copied before it goes.
        let first = ranges.next();
        let copies = ranges.map(|range| slot.copy(range)).collect::<Option<Vec<_>>>()?;
        let kept = match first {
            Some(range) => slot.keep(log.buffers().spare()?).part(range).ok(),
            None => None,
        };
        let mut parts = kept.into_iter().chain(copies);
        for found in found {
            match found {
                Found::Body(_) => self.parts.extend(parts.next()),
                Found::Post => round.answers.push((conn, self.store(log, &mut round.batch))),
                Found::Other(answer) => round.answers.push((conn, answer)),
            }
        }
        Some(())
    }

    fn store(&mut self, log: &Log, batch: &mut Batch) -> Answer {
        let (before, parts) = (batch.entries(), std::mem::take(&mut self.parts));
        if before + parts.len() > log.free_entries().min(MOST_IN_BATCH) {
            return Answer::Status("507 Insufficient Storage");
        }
        batch.record(parts);
        Answer::Stored(before as u64)
    }

    /// Queues an answer: a text, and a record behind it.
    fn say(&mut self, status: &str, text: &str, record: Option<Record<'_>>) {
        let length = text.len() + record.map_or(0, |record| record.len());
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{text}");
        self.outbox.push_back(Out::Text(head.into_bytes()));
        if let Some(record) = record {
            let parts = 0..record.stored().count();
            self.outbox.extend(parts.map(|part| Out::Part(record.sequence(), part)));
        }
    }
}

struct Server {
    log: Log,
    port: Port,
    listener: TcpListener,
    conns: HashMap<ConnFd, Conn>,
    stalled: Option<Instant>,
}

impl Server {
    fn start([device, listen, nic, pool]: &[String; 4]) -> Result<Self> {
        let pool = match Pool::open(pool) {
            Err(Error::NoPool { .. }) => Pool::create(&PoolSpec::new(pool).size(POOL_SIZE)),
            pool => pool,
        };
        let log = Log::open(&pool.context("open the pool")?).context("recover the log")?;
        println!("recovered {} records", log.len());
        // A quarter for the NIC and rings, the rest to keep packets with.
        let spares = log.buffers().count() / 4 * 3;
        let spec = PortSpec::new("pst:0", log.buffers()).extra(spares).events();
        let port = match (device.as_str(), KernelDevice::open()) {
            ("auto" | "kernel", Ok(device)) => Port::open(device, &spec),
            ("kernel", Err(error)) => Err(error),
            _ => Port::open(SocketDevice::new()?, &spec),
        };
        let mut port = port.context("open the port")?;
        port.attach(nic).with_context(|| format!("attach {nic}"))?;
        println!("device: {}", port.describe());
        let listener = TcpListener::bind(listen).context("listen")?;
        listener.set_nonblocking(true).context("set up the listener")?;
        println!("listening on {}", listener.local_addr().context("name the listener")?);
        Ok(Self { log, port, listener, conns: HashMap::new(), stalled: None })
    }

    fn serve(&mut self) -> Result<()> {
        loop {
            let busy = self.conns.values().any(|conn| !conn.outbox.is_empty());
            let tick = (!self.conns.is_empty()).then_some(TICK);
            let poll = if busy { Port::poll_both } else { Port::poll };
            if poll(&mut self.port, &[self.listener.as_fd()], tick).context("wait")?.other(0) {
                self.accept();
            }
            let round = self.listen()?;
            self.answer(round)?;
            self.send()?;
            self.port.txsync().context("send")?;
            self.sweep();
        }
    }

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            let room = self.conns.len() < MOST_CONNECTIONS;
            // A connection that died meanwhile cannot be registered.
            if let Some(Ok(fd)) = room.then(|| self.port.register(socket.as_fd())) {
                let (state, deadline) = (State::Head(Vec::new()), Instant::now() + IDLE);
                let (parts, outbox) = (Vec::new(), VecDeque::new());
                self.conns.insert(fd, Conn { socket, state, parts, outbox, deadline });
            }
        }
    }

    fn listen(&mut self) -> Result<Round> {
        let mut round = Round::default();
        let mut rx = self.port.rx().context("look at the ring")?;
        while let Some(slot) = rx.next().context("look at a slot")? {
            if let Some(conn) = self.conns.get_mut(&slot.fd()) {
                conn.hear(slot, &self.log, &mut round);
            }
        }
        Ok(round)
    }

    /// Makes the batch durable, then writes the answers, in order.
    fn answer(&mut self, round: Round) -> Result<()> {
        let first = self.log.next_sequence();
        if !round.batch.is_empty() {
            self.log.append(round.batch).context("append")?;
        }
        self.close(round.gone);
        for (fd, answer) in round.answers {
            let Some(conn) = self.conns.get_mut(&fd) else { continue };
            match answer {
                Answer::Stored(at) => conn.say("200 OK", &format!("{}\n", first.0 + at), None),
                Answer::Status(status) => conn.say(status, "", None),
                Answer::Record(number) => match self.log.record(Sequence(number)) {
                    Some(record) => conn.say("200 OK", "", Some(record)),
                    None => conn.say("404 Not Found", "", None),
                },
            }
        }
        Ok(())
    }

    /// Fills TX slots as long as there are any.
    fn send(&mut self) -> Result<()> {
        let mut tx = self.port.tx().context("look at the ring")?;
        for (fd, conn) in &mut self.conns {
            while let Some(out) = conn.outbox.front() {
                let sent = match out {
                    Out::Part(number, part) => {
                        let record = self.log.record(*number).context("find a record")?;
                        let part = record.stored().nth(*part).context("find a part")?;
                        tx.send_stored(*fd, part)
                    }
                    Out::Text(text) => {
                        let Some(mut blank) = self.log.buffers().blank() else { return Ok(()) };
                        blank.write_all(text).context("write a head")?;
                        tx.send(*fd, blank.packet()).map_err(Error::from)
                    }
                };
                match sent {
                    Ok(()) => drop(conn.outbox.pop_front()),
                    Err(Error::TxFull | Error::NoSpare) => return Ok(()),
                    Err(error) => return Err(error).context("fill a slot"),
                }
            }
        }
        Ok(())
    }

    /// Closes what is done or has been silent for too long, and whoever holds up all others.
    fn sweep(&mut self) {
        let (now, Ok(tx)) = (Instant::now(), self.port.tx()) else { return };
        let stuck = if tx.room() == 0 { tx.oldest() } else { None };
        self.stalled = stuck.map(|_| self.stalled.unwrap_or(now));
        let stuck = stuck.filter(|_| self.stalled.is_some_and(|since| since + LINGER < now));
        // What was taken from slots is sent without us.
        let said = |fd, conn: &Conn| conn.outbox.is_empty() && tx.unsent(fd) == 0;
        let ended = self.conns.iter().filter(|(fd, conn)| {
            conn.deadline < now || matches!(conn.state, State::Over) && said(**fd, conn)
        });
        let ended: Vec<_> = ended.map(|(fd, _)| *fd).chain(stuck).collect();
        drop(tx);
        self.close(ended);
    }

    fn close(&mut self, fds: impl IntoIterator<Item = ConnFd>) {
        for fd in fds {
            // A dead connection is not registered any more.
            let _ = self.conns.remove(&fd).map(|conn| self.port.close(conn.socket));
        }
    }
}

fn main() -> Result<()> {
    match options()? {
        None => print!("{USAGE}"),
        Some(options) => Server::start(&options)?.serve()?,
    }
    Ok(())
}
