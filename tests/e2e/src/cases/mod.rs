//! Cases: the suite in the order in which it runs.

mod abi;
mod at_marker;
mod batching;
mod buffers;
mod closed;
mod detour;
mod example;
mod inner;
mod kmod;
mod life;
mod litmus;
mod lossy;
mod mutants;
mod nic;
mod observed;
mod performance;
mod persistence;
mod power_loss;
mod restored;
mod rig_self;
mod send;
mod window;
mod zero_copy;

use std::time::Duration;

use crate::case::Case;

/// Every case that `test all` runs, in order.
pub const CASES: &[Case] = &[
    Case::new("rig::reports_failure", rig_self::reports_failure),
    Case::new("rig::reports_hang", rig_self::reports_hang),
    Case::new("rig::reports_panic", rig_self::reports_panic),
    Case::new("rig::reports_reboot", rig_self::reports_reboot),
    Case::new("rig::reports_lost_vm", rig_self::reports_lost_vm),
    Case::new("rig::reports_broken_promise", rig_self::reports_broken_promise).emulated(),
    Case::new("kmod::in_guest", kmod::in_guest).within(Duration::from_mins(12)),
    Case::new("nic::ordinary", nic::ordinary),
    Case::new("abi::rows", abi::rows),
    Case::new("hostile::smoke", abi::hostile),
    Case::new("zero_copy::socket_control", zero_copy::socket_control),
    Case::new("zero_copy::receive", zero_copy::receive),
    Case::new("zero_copy::receive_on_ext4", zero_copy::receive_on_ext4),
    Case::new("zero_copy::forced_copy", zero_copy::forced_copy),
    Case::new("zero_copy::send", send::send),
    Case::new("zero_copy::send_forced_copy", send::forced_copy),
    Case::new("batching::one_call", batching::one_call),
    Case::new("detour::sniffer", detour::sniffer),
    Case::new("detour::firewall", detour::firewall),
    Case::new("performance::echo", performance::echo).emulated().alone(),
    Case::new("life::kill_app", life::kill_app),
    Case::new("example::http", example::http).emulated(),
    Case::new("buffers::conserved", buffers::conserved),
    Case::new("buffers::lossy", lossy::lossy),
    Case::new("observer::traced", observed::traced).emulated(),
    Case::new("observer::asserted", observed::asserted).emulated(),
    Case::new("observer::cost", observed::cost).emulated().alone(),
    Case::new("observer::litmus", litmus::models).on_host(),
    Case::new("observer::two_cpus", litmus::two_cpus).emulated(),
    Case::new("restored::judges", restored::judges).emulated(),
    Case::new("persistence::log", persistence::log).emulated().within(Duration::from_mins(10)),
    Case::new("persistence::two_cpus", persistence::two_cpus).emulated(),
    Case::new("persistence::ack_early", persistence::ack_early).emulated(),
    Case::new("persistence::no_reserve", persistence::no_reserve).emulated(),
    Case::new("power_loss::torn_dma", power_loss::torn_dma).emulated(),
    Case::new("power_loss::torn_lines", power_loss::torn_lines).emulated(),
    Case::new("power_loss::at_marker", at_marker::at_marker).emulated(),
    Case::new("power_loss::ack_early", power_loss::ack_early).emulated(),
    Case::new("power_loss::deterministic", closed::deterministic).emulated(),
    Case::new("power_loss::nested", mutants::nested).emulated().within(Duration::from_mins(10)),
    Case::new("power_loss::mutants", mutants::mutants).emulated().within(Duration::from_mins(15)),
];

/// Cases that are chosen by their whole name only: most end badly on purpose, so that the tests of
/// the exit statuses can see how that is reported; two measure.
pub const HIDDEN: &[Case] = &[
    Case::new("inner::passes", inner::passes).on_host(),
    Case::new("inner::says_no", inner::says_no).on_host(),
    Case::new("inner::does_not_apply", inner::does_not_apply).on_host(),
    Case::new("inner::loses_its_guest", inner::loses_its_guest).on_host(),
    Case::new("inner::waits_in_vain", inner::waits_in_vain)
        .on_host()
        .within(Duration::from_millis(200)),
    Case::new("inner::waits_long", inner::waits_in_vain).on_host(),
    Case::new("inner::needs_a_guest", inner::needs_a_guest),
    Case::new("inner::idles", inner::idles).alone(),
    Case::new("inner::conserved_long", buffers::conserved_long),
];
