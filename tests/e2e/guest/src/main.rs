//! Main: the guest half of the cases, one subcommand per case by the case's name.
//!
//! What a case's host half must know goes to standard output as JSON, one object a line. The
//! program ends when it has done its part or when its standard input ends.

#![forbid(unsafe_code)]

mod batching;
mod closed;
mod life;
mod netlink;
mod nic;
mod performance;
mod persistence;
mod power_loss;
mod remains;
mod rig;
mod send;
mod tell;
mod zero_copy;

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (case, rest) = args.split_first().context("name a case")?;
    let played = match (*case, rest) {
        ("rig::hangs", []) => rig::hangs(),
        ("rig::panics", []) => rig::panics(),
        ("rig::reboots", []) => rig::reboots(),
        ("marker::arm", []) => {
            paste_net::marker::arm();
            Ok(())
        }
        ("marker::disarm", []) => {
            paste_net::marker::disarm();
            Ok(())
        }
        ("nic::ordinary", [port]) => nic::echo(number(port)?),
        ("zero_copy::socket_control", [port, len]) => {
            zero_copy::hold_in_socket(number(port)?, number(len)?)
        }
        ("zero_copy::receive", [pool, port, connections, bytes]) => {
            zero_copy::hold_in_slots(pool, number(port)?, number(connections)?, number(bytes)?)
        }
        ("zero_copy::send", [pool, port, connections, len, times]) => {
            send::stored(pool, number(port)?, number(connections)?, number(len)?, number(times)?)
        }
        ("batching::slots", [pool, port, connections]) => {
            batching::slots(pool, number(port)?, number(connections)?)
        }
        ("batching::epoll", [port, connections]) => {
            batching::epoll(number(port)?, number(connections)?)
        }
        ("performance::slots", [pool, port, connections, len]) => {
            let load = performance::Load::new(number(connections)?, number(len)?);
            performance::slots(pool, number(port)?, load)
        }
        ("performance::epoll", [port, connections, len]) => {
            let load = performance::Load::new(number(connections)?, number(len)?);
            performance::epoll(number(port)?, load)
        }
        ("life::echo", [pool, port, connections]) => {
            life::echo(pool, number(port)?, number(connections)?)
        }
        ("life::outlive", [pool, pid]) => life::outlive(pool, number(pid)?),
        ("persistence::recover", [pool]) => persistence::recover(pool),
        ("persistence::log", [pool, port, fault]) => {
            persistence::serve(pool, number(port)?, fault.parse()?)
        }
        ("persistence::two_cpus", [pool, records]) => {
            persistence::append_by_two(pool, number(records)?)
        }
        ("power_loss::deterministic", [pool, module, records]) => {
            closed::play(pool, module, records)
        }
        ("power_loss::play", [pool, first]) => power_loss::play(pool, number(first)?, None),
        ("power_loss::play", [pool, first, port]) => {
            power_loss::play(pool, number(first)?, Some(number(port)?))
        }
        ("power_loss::remains", []) => remains::recover(),
        _ => bail!("no such case, or wrong arguments for it"),
    };
    played.with_context(|| format!("play {case}"))
}

fn number<N: std::str::FromStr>(text: &str) -> anyhow::Result<N> {
    text.parse().map_err(|_| anyhow::anyhow!("{text:?} is not a fitting number"))
}
