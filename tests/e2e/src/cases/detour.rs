//! Detour cases: whoever wants to see or stop the frames of registered connections can.
//!
//! An application echoes through slots all the time. Frames take a short way past the layers where
//! sniffers and rules sit, unless one is there. What a sniffer saw is judged by its own file, what
//! rules counted by their own counters beside what the frame log has, and a rule that drops
//! by what does not come back.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use vm::vnet::{Direction, Error, Filter, Tcp};
use vm::{Command, Event, Mib, Running};

use super::window;
use crate::address;
use crate::bench::{Bench, PATIENCE, PORT, in_time};
use crate::needs::Needs;
use crate::part::Part;
use crate::rig::Rig;
use crate::seed::Seed;

/// Messages that are exchanged while somebody looks.
const MESSAGES: u64 = 50;

/// Length of a message in bytes.
const MESSAGE: usize = 64;

/// The sniffer's file in the guest.
const DUMP: &str = "/run/dump.pcap";

/// tcpdump finds every message, on its way in and on its way out. Before, with nobody there, a
/// client that does not read: what took the short way is not forgotten.
pub(super) fn sniffer(rig: &mut Rig) -> anyhow::Result<()> {
    let Scene { bench, tcps, .. } = &Scene::set(rig)?;
    let seed = rig.seed();
    takes_the_short_way(bench, &tcps[0], seed.part(0))?;
    rig.step("close a window");
    window::closed(bench, &tcps[1], seed.part(3))?;
    rig.step("listen with tcpdump");
    let port = PORT.to_string();
    // Short snapshots: as many more fit into its buffer.
    let command = Command::new("tcpdump").args(["-i", "eth0", "-w", DUMP, "-Z", "root"]);
    let command = command.args(["--immediate-mode", "-U", "-s", "256", "tcp", "port", &port]);
    let tcpdump = bench.guest().spawn(&command.timeout(PATIENCE)).context("start tcpdump")?;
    says(&tcpdump, "listening on")?;
    let sent = exchange(&tcps[0], seed.part(1))?;
    sees_all(bench, &sent)?;
    tcpdump.kill(Signal::SIGINT as i32).context("end tcpdump")?;
    says(&tcpdump, "packets captured")?;
    rig.step("listen no more");
    takes_the_short_way(bench, &tcps[0], seed.part(2))
}

/// Waits until tcpdump has written each message twice: in and out.
fn sees_all(bench: &Bench, messages: &[Vec<u8>]) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let dump = bench.guest().get(DUMP).context("fetch what tcpdump wrote")?;
        let times = |message| dump.windows(MESSAGE).filter(|bytes| bytes == message).count();
        let Some(missing) = messages.iter().position(|message| times(message) < 2) else {
            let more = messages.iter().filter(|message| times(message) > 2).count();
            ensure!(more == 0, "tcpdump saw {more} messages more than in and out");
            return Ok(());
        };
        in_time(deadline, &format!("tcpdump to see message {missing} in and out"))?;
    }
}

/// Rules of netfilter and of tc count every frame of both directions; one that drops stops them,
/// and one that reroutes is obeyed.
pub(super) fn firewall(rig: &mut Rig) -> anyhow::Result<()> {
    let Scene { bench, tcps, .. } = &Scene::set(rig)?;
    let seed = rig.seed();
    takes_the_short_way(bench, &tcps[0], seed.part(0))?;
    rig.step("count with netfilter");
    bench.shell(&format!(
        "nft 'table ip t {{ \
         chain i {{ type filter hook input priority 0; tcp dport {PORT} counter; }}; \
         chain o {{ type filter hook output priority 0; tcp sport {PORT} counter; }}; }}'"
    ))?;
    counts_all(bench, &tcps[0], seed.part(1), netfilter).context("netfilter")?;
    rig.step("drop with netfilter");
    drops(bench, tcps, seed.part(2))?;
    bench.shell("nft flush ruleset")?;
    takes_the_short_way(bench, &tcps[0], seed.part(3))?;
    rig.step("reroute with netfilter");
    reroutes(bench, tcps, seed.part(6))?;
    rig.step("count with tc");
    bench.shell(&format!(
        "tc qdisc add dev eth0 clsact; \
         tc filter add dev eth0 ingress protocol ip u32 match ip dport {PORT} 0xffff action pass; \
         tc filter add dev eth0 egress protocol ip u32 match ip sport {PORT} 0xffff action pass"
    ))?;
    counts_all(bench, &tcps[0], seed.part(4), traffic_control).context("tc")?;
    bench.shell("tc qdisc del dev eth0 clsact")?;
    takes_the_short_way(bench, &tcps[0], seed.part(5))
}

/// A guest whose application echoes on two connections.
struct Scene {
    // First, as it ends with the bench.
    _echo: Part,
    tcps: [Tcp; 2],
    bench: Bench,
}

impl Scene {
    fn set(rig: &Rig) -> anyhow::Result<Self> {
        let bench = rig.boot_with_module(Needs::devdax(Mib(64)), &[])?;
        let mut echo = bench.part("life::echo", &["/dev/dax0.0", &PORT.to_string(), "2"])?;
        echo.hear_of("listening")?;
        let tcps = [bench.connect()?, bench.connect()?];
        echo.hear_of("pid")?;
        Ok(Self { _echo: echo, tcps, bench })
    }
}

/// Sends messages one after the other and hears them back; what they were.
fn exchange(tcp: &Tcp, seed: Seed) -> anyhow::Result<Vec<Vec<u8>>> {
    let messages: Vec<_> = (0..MESSAGES).map(|number| seed.part(number).bytes(MESSAGE)).collect();
    for (number, message) in messages.iter().enumerate() {
        tcp.send_all(message, PATIENCE).with_context(|| format!("send message {number}"))?;
        hear(tcp, message).with_context(|| format!("message {number}"))?;
    }
    Ok(messages)
}

fn hear(tcp: &Tcp, message: &[u8]) -> anyhow::Result<()> {
    let mut echoed = [0; MESSAGE];
    tcp.recv_exact(&mut echoed, PATIENCE).context("hear a message back")?;
    ensure!(echoed == message, "another message came back");
    Ok(())
}

/// How often an exchange may meet a segment that has to find its route anew: the kernel forgets
/// routes when a link comes up, which it may notice a little late.
const ROUTES: u64 = 3;

/// With nobody there, the module itself says that the messages took no detour, either way.
fn takes_the_short_way(bench: &Bench, tcp: &Tcp, seed: Seed) -> anyhow::Result<()> {
    let mut taken = [0; 2];
    for attempt in 0..=ROUTES {
        let before = short_ways(bench)?;
        exchange(tcp, seed.part(attempt))?;
        let after = short_ways(bench)?;
        taken = [after[0] - before[0], after[1] - before[1]];
        if taken.iter().all(|taken| *taken >= MESSAGES) {
            return Ok(());
        }
    }
    bail!("{taken:?} of {MESSAGES} messages took the short way (in, out)")
}

/// Frames that have taken the short way: in, out.
fn short_ways(bench: &Bench) -> anyhow::Result<[u64; 2]> {
    let out = bench.module_counter("out_short_way_segments")?;
    Ok([bench.module_counter("short_way_frames")?, out])
}

/// While messages are exchanged, `look` counts as many frames as the frame log: to the guest, from
/// the guest.
fn counts_all(
    bench: &Bench,
    tcp: &Tcp,
    seed: Seed,
    look: fn(&Bench) -> anyhow::Result<[u64; 2]>,
) -> anyhow::Result<()> {
    // What was sent before has been seen when a ping comes back: frames stay in order.
    bench.ping()?;
    let (before, start) = (look(bench)?, bench.frame_log().last_seq());
    exchange(tcp, seed)?;
    bench.ping()?;
    let after = look(bench)?;
    let counted = [after[0] - before[0], after[1] - before[1]];
    let frames = |filter: Filter| bench.frame_log().frames(&filter.after(start)).len() as u64;
    let to = Filter::new().direction(Direction::ToGuest).dst_port(PORT);
    let from = Filter::new().direction(Direction::FromGuest).src_port(PORT);
    let passed = [frames(to), frames(from)];
    ensure!(passed[0] >= MESSAGES && passed[1] >= MESSAGES, "{passed:?} frames passed");
    ensure!(counted == passed, "{counted:?} frames were counted, {passed:?} passed (in, out)");
    Ok(())
}

/// Packets that the two rules of `firewall` have counted: in, out.
fn netfilter(bench: &Bench) -> anyhow::Result<[u64; 2]> {
    let told: Value = serde_json::from_str(&bench.shell("nft -j list ruleset")?)?;
    let all = told["nftables"].as_array().context("a ruleset")?;
    let of = |chain: &str| {
        let rule = all.iter().find(|item| item["rule"]["chain"] == chain);
        let rule = rule.with_context(|| format!("find the rule of chain {chain}"))?;
        let parts = rule["rule"]["expr"].as_array().context("a rule has parts")?;
        let counter = parts.iter().find_map(|part| part["counter"]["packets"].as_u64());
        counter.with_context(|| format!("read the counter of chain {chain}"))
    };
    Ok([of("i")?, of("o")?])
}

/// Packets that the two filters of `firewall` have counted: in, out.
fn traffic_control(bench: &Bench) -> anyhow::Result<[u64; 2]> {
    let told = bench.shell("tc -s filter show dev eth0 ingress")?;
    let told = told + &bench.shell("tc -s filter show dev eth0 egress")?;
    let of = |ports: String| {
        let (_, rest) = told.split_once(&format!("match {ports} at 20"))?;
        rest.split_once("Sent ")?.1.split(' ').nth(2)?.parse().ok()
    };
    let both = of(format!("{PORT:08x}/0000ffff")).zip(of(format!("{PORT:04x}0000/ffff0000")));
    let (to, from) = both.with_context(|| format!("find the packets of both filters: {told}"))?;
    Ok([to, from])
}

/// A rule against the second connection stops it, and only it, until the rule goes.
fn drops(bench: &Bench, tcps: &[Tcp; 2], seed: Seed) -> anyhow::Result<()> {
    let stopped = tcps[1].local().port();
    bench.shell(&format!("nft add rule ip t i tcp sport {stopped} drop"))?;
    stops(tcps, seed, || bench.shell("nft flush chain ip t i").map(drop))
}

/// Replies to the second connection that a rule sends to another router do not come here: nobody
/// has the router's address. The host's own routes still hold, so only the rule knows.
fn reroutes(bench: &Bench, tcps: &[Tcp; 2], seed: Seed) -> anyhow::Result<()> {
    let router = address::NOBODY;
    bench.shell(&format!(
        "ip neigh add {router} lladdr 02:00:00:00:00:99 nud permanent dev eth0; \
         ip route add default via {router} dev eth0 table 100; ip rule add fwmark 1 lookup 100"
    ))?;
    takes_the_short_way(bench, &tcps[1], seed.part(MESSAGES + 1))?;
    let stopped = tcps[1].local().port();
    bench.shell(&format!(
        "nft 'table ip t {{ chain r {{ type route hook output priority mangle; \
         tcp dport {stopped} meta mark set 1; }}; }}'"
    ))?;
    stops(tcps, seed, || bench.shell("nft flush ruleset").map(drop))?;
    bench.shell("ip rule del fwmark 1; ip route flush table 100").map(drop)
}

/// A message on the second connection does not come back, others do; after `free` it does.
fn stops(
    tcps: &[Tcp; 2],
    seed: Seed,
    free: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let message = seed.part(MESSAGES).bytes(MESSAGE);
    tcps[1].send_all(&message, PATIENCE).context("send into the void")?;
    exchange(&tcps[0], seed)?;
    // The stopped message was before all of these.
    match tcps[1].recv(&mut [0; MESSAGE], Duration::ZERO) {
        Err(Error::Timeout(_)) => {}
        other => bail!("a message that was stopped came back: {other:?}"),
    }
    free()?;
    hear(&tcps[1], &message).context("once the rule is gone")
}

/// Waits until the program says something that contains `word`, on either output.
fn says(program: &Running, word: &str) -> anyhow::Result<()> {
    let (deadline, mut said) = (Instant::now() + PATIENCE, Vec::new());
    while !String::from_utf8_lossy(&said).contains(word) {
        match program.recv(deadline).with_context(|| format!("wait for {word:?}"))? {
            Event::Stdout(bytes) | Event::Stderr(bytes) => said.extend(bytes),
            Event::Exit(code) => {
                bail!("it ended ({code}): {}", String::from_utf8_lossy(&said))
            }
        }
    }
    Ok(())
}
