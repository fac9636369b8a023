//! Argv: a spec as QEMU's command line; a pure function.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crash::Rules;

use crate::accel::Accel;
use crate::spec::{Nic, Spec};
use crate::watch::{Mode, Watch};

/// Memory slots of a guest, each good for one NVDIMM.
pub(crate) const SLOTS: usize = 4;

/// What the command line needs besides the spec: things that exist only at start.
#[derive(Debug)]
pub(crate) struct Wiring {
    /// The file that is the guest's memory.
    pub(crate) ram: PathBuf,
    /// Whether that memory and the devices' state come from a template.
    pub(crate) restored: bool,
    /// Our connected sockets, inherited by QEMU: serial port, monitor, agent.
    pub(crate) console: RawFd,
    pub(crate) qmp: RawFd,
    pub(crate) agent: RawFd,
}

/// QEMU's arguments, without its name.
pub(crate) fn argv(spec: &Spec, wiring: &Wiring) -> Vec<OsString> {
    let mut args = Args::default();
    machine(&mut args, spec, &wiring.ram, wiring.restored);
    kernel(&mut args, spec);
    channels(&mut args, wiring);
    plugged_in(&mut args, spec, &wiring.ram);
    args.0
}

/// QEMU's arguments for a closed guest with this file as its memory: nothing comes in, and a
/// console goes out.
pub(crate) fn closed(spec: &Spec, seed: u64, ram: &Path) -> Vec<OsString> {
    let mut args = Args::default();
    machine(&mut args, spec, ram, false);
    kernel(&mut args, spec);
    // An instruction takes 16 ns; a guest that waits for its clock does not: that jumps ahead.
    args.flags(&["-icount", "shift=4,sleep=off"]);
    args.flags(&["-rtc", "base=2025-01-01T00:00:00,clock=vm"]);
    args.pair("-seed", [seed.to_string().into()]);
    // A file takes each byte at once; the other end of a socket may be late.
    args.flags(&["-chardev", "file,id=console,path=/dev/stdout"]);
    args.flags(&["-serial", "chardev:console", "-monitor", "none"]);
    plugged_in(&mut args, spec, ram);
    args.0
}

fn plugged_in(args: &mut Args, spec: &Spec, ram: &Path) {
    for (n, nvdimm) in spec.nvdimms.iter().enumerate() {
        let size = nvdimm.size().0;
        // share=on always: without it QEMU and a vhost-user backend see different pages.
        args.pair(
            "-object",
            [
                format!("memory-backend-file,id=nv{n},share=on,size={size}M,mem-path=").into(),
                escaped(nvdimm.path()),
            ],
        );
        // No label area: the info block inside says what the namespace is.
        args.pair("-device", [format!("nvdimm,id=nvdimm{n},memdev=nv{n}").into()]);
    }
    for (n, nic) in spec.nics.iter().enumerate() {
        network(args, n, nic);
    }
    if let Some(watch) = &spec.watch {
        observer(args, spec, ram, watch);
    }
}

fn observer(args: &mut Args, spec: &Spec, ram: &Path, watch: &Watch) {
    let mut words = vec!["file=".into(), escaped(&watch.library)];
    let mut option = |name: &str, path: &Path| {
        words.extend([format!(",{name}=").into(), escaped(path)]);
    };
    option("out", &watch.out());
    match &watch.mode {
        Mode::Count => {}
        Mode::Diff => {
            option("durable", &watch.durable());
            option("cuts", &watch.cuts());
        }
        Mode::Trace { journal } => {
            option("traces", &watch.traces());
            if let Some(journal) = journal {
                option("journal", journal);
            }
        }
    }
    let first = spec.nvdimms.iter().zip(spec.nvdimm_windows()).next();
    if let Some((nvdimm, window)) = first.filter(|_| watch.needs_nvdimm()) {
        option("nvdimm", nvdimm.path());
        option("ram", ram);
        words.push(format!(",base={:#x}", window.base.0).into());
        let Rules { domain, fences, dma } = watch.rules;
        words.extend([
            format!(",domain={}", domain.name()).into(),
            format!(",fences={}", fences.name()).into(),
            format!(",dma={}", dma.name()).into(),
        ]);
    }
    words.extend(spec.closed.map(|seed| format!(",seed={seed}").into()));
    args.0.push("-plugin".into());
    args.0.push(words.into_iter().collect());
}

fn machine(args: &mut Args, spec: &Spec, ram_file: &Path, restored: bool) {
    // Nothing that the user's configuration or QEMU's taste adds.
    args.flags(&["-nodefaults", "-no-user-config", "-display", "none"]);
    // A reset ends QEMU (event guest-reset), so a reboot never goes unnoticed.
    args.flags(&["-no-reboot"]);
    // The platform flushes to the memory controller (ADR), so Linux must flush caches itself, as
    // on most real machines; unless who watches assumes caches that survive (M13).
    let rules = spec.watch.as_ref().map(|watch| watch.rules).unwrap_or_default();
    let domain = rules.domain.qemu_persistence();
    args.pair(
        "-machine",
        [format!(
            // hpet=off: Linux starts it and forgets it; QEMU would wake up 250 times a second.
            "q35,hpet=off,nvdimm=on,nvdimm-persistence={domain},memory-backend=ram"
        )
        .into()],
    );
    let (accel, cpu) = match spec.accel {
        // Whoever counts instructions has one thread for all CPUs.
        Accel::Tcg if spec.closed.is_some() => ("tcg,thread=single", "max"),
        // A thread for each CPU, so that they really run at the same time.
        Accel::Tcg => ("tcg,thread=multi", "max"),
        Accel::Kvm => ("kvm", "host"),
    };
    args.flags(&["-accel", accel]);
    let flags = spec.cpu_flags.iter().map(String::as_str);
    args.flags(&["-cpu", &std::iter::once(cpu).chain(flags).collect::<Vec<_>>().join(",")]);
    args.pair("-smp", [spec.cpus.to_string().into()]);
    let ram = spec.ram.0;
    // NVDIMMs need slots and address space above the memory.
    args.pair("-m", [format!("size={ram}M,slots={SLOTS},maxmem={}M", ram + (8 << 10)).into()]);
    // A template's memory stays as it is: QEMU copies each page that the guest writes.
    let sharing = if restored { "share=off,readonly=on,rom=off" } else { "share=on" };
    args.pair(
        "-object",
        [
            format!("memory-backend-file,id=ram,{sharing},size={ram}M,mem-path=").into(),
            escaped(ram_file),
        ],
    );
    if restored {
        args.flags(&["-incoming", "defer"]);
    }
    if spec.closed.is_none() {
        args.flags(&["-device", "virtio-rng-pci"]);
    }
    if spec.pvpanic {
        args.flags(&["-device", "pvpanic-pci"]);
    }
}

fn kernel(args: &mut Args, spec: &Spec) {
    args.pair("-kernel", [spec.boot.kernel.clone().into()]);
    args.pair("-initrd", [spec.boot.initrd.clone().into()]);
    let own = spec.kernel_args.iter().map(String::as_str);
    let later = spec.nvdimm_later.then_some("agent.later=nfit");
    let words: Vec<&str> = KERNEL_ARGS.into_iter().chain(own).chain(later).collect();
    args.pair("-append", [words.join(" ").into()]);
    if let Some(root) = &spec.boot.root {
        args.pair(
            "-drive",
            [
                // Many guests share the image; nobody writes to it.
                "if=none,id=root,format=raw,readonly=on,file.locking=off,file=".into(),
                escaped(root),
            ],
        );
        args.flags(&["-device", "virtio-blk-pci,drive=root"]);
    }
}

/// The kernel's command line.
const KERNEL_ARGS: [&str; 10] = [
    "console=ttyS0",
    // Warnings and worse on the console; the rest costs time on an emulated serial port.
    "quiet",
    "loglevel=5",
    // Die at once and visibly: an oops panics, a panic resets, a reset ends QEMU.
    "panic=-1",
    "oops=panic",
    // Self-tests of algorithms that nobody here uses: 0.2 s.
    "cryptomgr.notests",
    "random.trust_cpu=on",
    "tsc=reliable",
    // Under TCG the timer check may see no tick on a loaded host and panics ("MP-BIOS bug").
    "no_timer_check",
    "mitigations=off",
];

fn channels(args: &mut Args, wiring: &Wiring) {
    let Wiring { console, qmp, agent, .. } = wiring;
    args.pair("-chardev", [format!("socket,id=console,fd={console}").into()]);
    args.flags(&["-serial", "chardev:console"]);
    args.pair("-chardev", [format!("socket,id=qmp,fd={qmp}").into()]);
    args.flags(&["-mon", "chardev=qmp,mode=control"]);
    args.pair("-chardev", [format!("socket,id=agent,fd={agent}").into()]);
    args.flags(&["-device", "virtio-serial-pci,id=serial"]);
    let name = agent_proto::PORT;
    args.pair("-device", [format!("virtserialport,bus=serial.0,chardev=agent,name={name}").into()]);
}

fn network(args: &mut Args, n: usize, nic: &Nic) {
    let mac = match nic {
        Nic::VhostUser { socket, mac } => {
            args.pair("-chardev", [format!("socket,id=nic{n},path=").into(), escaped(socket)]);
            args.pair("-netdev", [format!("vhost-user,id=net{n},chardev=nic{n}").into()]);
            mac
        }
        Nic::User { mac } => {
            args.pair("-netdev", [format!("user,id=net{n}").into()]);
            mac
        }
        Nic::VhostKernel { tap, mac } => {
            let tap = escaped(Path::new(tap));
            let start = format!("tap,id=net{n},vhost=on,script=no,downscript=no,ifname=").into();
            args.pair("-netdev", [start, tap]);
            mac
        }
        Nic::Hub { mac } => {
            args.pair("-netdev", [format!("hubport,id=net{n},hubid=0").into()]);
            mac
        }
    };
    // QEMU allows a long transmit queue only where vhost-user serves it.
    let transmit = match nic {
        Nic::VhostUser { .. } => ",tx_queue_size=1024",
        // Sent by the guest's own clock and not by another thread, which the host schedules.
        Nic::Hub { .. } => ",ioeventfd=off,tx=timer",
        _ => "",
    };
    args.pair(
        "-device",
        [format!(
            // No boot ROM: the firmware would spend seconds on it.
            "virtio-net-pci,netdev=net{n},mac={mac},romfile=,rx_queue_size=1024{transmit}"
        )
        .into()],
    );
}

/// A path inside an option: QEMU reads a doubled comma as a comma.
fn escaped(path: &Path) -> OsString {
    let bytes = path.as_os_str().as_bytes();
    let doubled = bytes.iter().flat_map(|b| std::iter::repeat_n(*b, 1 + usize::from(*b == b',')));
    OsString::from_vec(doubled.collect())
}

#[derive(Default)]
struct Args(Vec<OsString>);

impl Args {
    fn flags(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    fn pair<const N: usize>(&mut self, flag: &str, value: [OsString; N]) {
        self.0.push(flag.into());
        self.0.push(value.into_iter().collect());
    }
}

#[cfg(test)]
mod tests;
