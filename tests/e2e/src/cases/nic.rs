//! NIC cases: with the module loaded and nobody registered, the NIC is an ordinary one.

use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::Value;
use vm::vnet::hash;

use crate::bench::{Bench, PATIENCE, PORT, in_time};
use crate::needs::Needs;
use crate::part::number;
use crate::rig::Rig;

/// How much is sent each way.
const BYTES: usize = 10_000_000;

/// Addresses and routes stay the same through load and unload; ping and TCP work meanwhile.
pub(super) fn ordinary(rig: &mut Rig) -> anyhow::Result<()> {
    let module = rig.module(&[])?;
    let bench = rig.boot(Needs::default())?;
    bench.address()?;
    let before = network(&bench)?;
    rig.step("load the module");
    bench.load(&module)?;
    same(&before, &network(&bench)?).context("after load")?;
    bench.ping().context("after load")?;
    exchange(rig, &bench)?;
    rig.step("unload the module");
    bench.unload()?;
    same(&before, &network(&bench)?).context("after unload")?;
    bench.ping().context("after unload")
}

/// Sends a stream to the guest and the same one back; both ends compare hashes.
fn exchange(rig: &Rig, bench: &Bench) -> anyhow::Result<()> {
    let bytes = rig.seed().bytes(BYTES);
    let mut part = bench.part("nic::ordinary", &[&PORT.to_string()])?;
    part.hear_of("ready")?;
    let tcp = bench.connect()?;
    rig.step("send 10 MB");
    tcp.send_all(&bytes, PATIENCE).context("send")?;
    tcp.shut_write();
    let heard = part.hear_of("hash")?;
    ensure!(number(&heard, "len")? == BYTES as u64, "the guest received {heard}");
    ensure!(number(&heard, "hash")? == hash(&bytes), "the guest received other bytes");
    rig.step("receive 10 MB");
    let mut back = vec![0; BYTES];
    tcp.recv_exact(&mut back, PATIENCE).context("receive")?;
    ensure!(back == bytes, "the host received other bytes");
    part.end()
}

/// Whether two views of the network are equal; both in the error if not.
fn same(before: &Value, after: &Value) -> anyhow::Result<()> {
    ensure!(before == after, "addresses or routes changed:\nbefore {before}\nafter  {after}");
    Ok(())
}

/// What the guest says about its addresses and routes once they have settled: a device that has
/// just come up waits for its carrier, and for objections to its link-local address.
fn network(bench: &Bench) -> anyhow::Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look_at_network(bench)?;
        let text = seen.to_string();
        if text.contains("\"fe80::")
            && !["tentative", "NO-CARRIER"].iter().any(|w| text.contains(w))
        {
            return Ok(seen);
        }
        in_time(deadline, &format!("a settled network: {text}"))?;
    }
}

fn look_at_network(bench: &Bench) -> anyhow::Result<Value> {
    let ask = |what| -> anyhow::Result<Value> {
        let text = bench.shell(&format!("ip -j {what}"))?;
        serde_json::from_str(&text).with_context(|| format!("read ip -j {what}"))
    };
    Ok(serde_json::json!([ask("addr")?, ask("route")?]))
}
