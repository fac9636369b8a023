//! Tour: everything a guest can do and suffer, on real boots: `tour KERNEL INITRD ROOT DIR`.

#![expect(clippy::unwrap_used, reason = "a tour that goes wrong shall stop there")]

mod network;

use std::error::Error;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use vm::nvdimm::Mode;
use vm::{BootFiles, Command, Event, ExitCode, Failure, Guest, Mib, Nvdimm, Spec};

type Outcome = Result<(), Box<dyn Error>>;

type Stop = fn(&Tour) -> Outcome;

/// Maps `/dev/dax0.0` and exchanges its first bytes: prints the old ones, stores the new ones.
const MAPPER: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
int main(int argc, char **argv)
{
    int fd = open("/dev/dax0.0", O_RDWR);
    char *p = mmap(0, 2 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd < 0 || p == MAP_FAILED)
        return perror("dax0.0"), 1;
    printf("%.16s\n", p);
    strcpy(p, argv[1]);
    return 0;
}
"#;

struct Tour {
    boot: BootFiles,
    dir: PathBuf,
}

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kernel, initrd, root, dir] = args.as_slice() else {
        return Err("usage: tour KERNEL INITRD ROOT DIR".into());
    };
    let root = Some(root.into());
    let boot = BootFiles { kernel: kernel.into(), initrd: initrd.into(), root };
    let tour = Tour { boot, dir: dir.into() };
    std::fs::create_dir_all(&tour.dir)?;
    let stops: [(&str, Stop); 11] = [
        ("programs", programs),
        ("files", files),
        ("devdax", devdax),
        ("fsdax", fsdax),
        ("panic", panic),
        ("reboot", reboot),
        ("lost", lost),
        ("pause", pause),
        ("idle", idle),
        ("together", together),
        ("network", network::tour),
    ];
    for (name, stop) in stops {
        let start = Instant::now();
        stop(&tour).map_err(|error| format!("{name}: {error}"))?;
        println!("{name}: ok, {:.1} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

impl Tour {
    fn spec(&self, name: &str) -> Spec {
        Spec::from_files(name, self.boot.clone(), &self.dir.join(name))
    }

    fn nvdimm(&self, name: &str, mode: Mode) -> vm::Result<Nvdimm> {
        Nvdimm::create(self.dir.join(name), Mib(64), mode)
    }
}

fn sh(guest: &Guest, script: &str) -> vm::Result<String> {
    Ok(guest.run_ok(&Command::shell(script))?.text().trim().to_owned())
}

fn programs(tour: &Tour) -> Outcome {
    let guest = tour.spec("programs").boot()?;
    assert_eq!(guest.run(&Command::new("false"))?.code, ExitCode::Code(1));
    assert_eq!(guest.run(&Command::shell("kill -9 $$"))?.code, ExitCode::Signal(9));
    let slow = Command::shell("sleep 1000 & wait").timeout(Duration::from_millis(300));
    assert_eq!(guest.run(&slow)?.code, ExitCode::Timeout);
    let odd = ["", "a b", "\u{fc}\n", "'\"$x", "*"];
    let exit = guest.run(&Command::new("printf").arg("%s\\0").args(odd))?;
    assert_eq!(exit.stdout, (odd.join("\0") + "\0").as_bytes());
    let exit =
        guest.run(&Command::shell("cat; echo $A >&2; pwd").env("A", "b").cwd("/tmp").stdin("x"))?;
    assert_eq!((exit.text(), exit.error_text()), ("x/tmp\n".into(), "b\n".into()));
    let error = guest.run(&Command::new("/no/such")).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Agent(_))), "{error}");
    let big = guest.run(&Command::shell("head -c 20000000 /dev/zero"))?;
    assert_eq!(big.stdout.len(), 20_000_000);
    let daemon = guest.run(&Command::shell("setsid sleep 1000 & echo started"))?;
    assert_eq!(daemon.text(), "started\n");

    let echo = guest.spawn(&Command::new("cat"))?;
    let deadline = || Instant::now() + Duration::from_secs(20);
    for word in ["one", "two"] {
        echo.write(word.as_bytes())?;
        assert_eq!(echo.recv(deadline())?, Event::Stdout(word.into()));
        assert_eq!(sh(&guest, "echo meanwhile")?, "meanwhile");
    }
    echo.kill(15)?;
    assert_eq!(echo.recv(deadline())?, Event::Exit(ExitCode::Signal(15)));
    // Not one zombie: the agent reaps orphans, too.
    assert_eq!(sh(&guest, "grep -l '^State:.Z' /proc/[0-9]*/status || true")?, "");
    let start = Instant::now();
    for _ in 0..20 {
        guest.run(&Command::new("true"))?;
    }
    println!("  true takes {} ms", start.elapsed().as_millis() / 20);
    println!("  boot and this took {:.2} CPU-s", guest.shut_down()?.cpu_seconds());
    Ok(())
}

fn files(tour: &Tour) -> Outcome {
    let guest = tour.spec("files").boot()?;
    let content: Vec<u8> =
        (0..30_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let start = Instant::now();
    guest.put(&content, "/var/x/y", 0o751)?;
    let put = start.elapsed();
    assert_eq!(sh(&guest, "stat -c '%a %s' /var/x/y")?, "751 30000000");
    let start = Instant::now();
    assert!(guest.get("/var/x/y")? == content);
    println!("  30 MB: put {put:?}, get {:?}", start.elapsed());
    assert!(guest.get("/no").unwrap_err().to_string().contains("No such file"));
    guest.put(b"", "/empty", 0o644)?;
    assert_eq!(guest.get("/empty")?, b"");
    Ok(())
}

/// The guest has a compiler, but no C library to link with.
fn mapper(tour: &Tour) -> Result<Vec<u8>, Box<dyn Error>> {
    let (source, binary) = (tour.dir.join("m.c"), tour.dir.join("m"));
    std::fs::write(&source, MAPPER)?;
    let cc = vm::process::Program::new("cc").arg("-static").arg("-o");
    cc.arg(&binary).arg(&source).run_ok()?;
    Ok(std::fs::read(&binary)?)
}

fn devdax(tour: &Tour) -> Outcome {
    let nvdimm = tour.nvdimm("devdax.nv", Mode::Devdax)?;
    let at = nvdimm.data_offset();
    nvdimm.file().write_all_at(b"from the host", at)?;
    let guest = tour.spec("devdax").ram(Mib(768)).nvdimm(nvdimm).boot()?;
    println!(
        "  {}",
        sh(&guest, "cd /sys/bus/dax/devices/dax0.0; cat size align resource | xargs")?
    );
    let binary = mapper(tour)?;
    guest.put(&binary, "/root/m", 0o755)?;
    assert_eq!(sh(&guest, "/root/m first")?, "from the host");
    let off = guest.power_fail();
    let mut bytes = [0; 5];
    off.nvdimms()[0].file().read_exact_at(&mut bytes, at)?;
    assert_eq!(&bytes, b"first");
    let guest = off.boot()?;
    guest.put(&binary, "/root/m", 0o755)?;
    assert_eq!(sh(&guest, "/root/m second")?, "first");
    let guest = guest.reboot()?;
    guest.put(&binary, "/root/m", 0o755)?;
    assert_eq!(sh(&guest, "/root/m third")?, "second");
    Ok(())
}

fn fsdax(tour: &Tour) -> Outcome {
    let nvdimm = tour.nvdimm("fsdax.nv", Mode::Fsdax)?;
    let guest = tour.spec("fsdax").nvdimm(nvdimm).boot()?;
    assert_eq!(sh(&guest, "cat /sys/block/pmem0/queue/dax")?, "1");
    sh(
        &guest,
        "mkfs.ext4 -q -b 4096 /dev/pmem0 && mkdir /mnt/p && mount -o dax=always /dev/pmem0 /mnt/p",
    )?;
    println!("  {}", sh(&guest, "grep pmem /proc/mounts")?);
    sh(&guest, "echo kept > /mnt/p/f")?;
    let guest = guest.reboot()?;
    sh(&guest, "mkdir /mnt/p && mount -o dax=always /dev/pmem0 /mnt/p")?;
    assert_eq!(sh(&guest, "cat /mnt/p/f")?, "kept");
    // An orderly end leaves no journal to replay.
    assert_eq!(sh(&guest, "dmesg | grep -c 'recovery complete' || true")?, "0");
    Ok(())
}

fn panic(tour: &Tour) -> Outcome {
    let guest = tour.spec("panic").boot()?;
    let error = guest.run(&Command::shell("echo c > /proc/sysrq-trigger")).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Panicked(_))), "{error}");
    println!("  {}", error.to_string().lines().next().unwrap_or_default());
    Ok(())
}

fn reboot(tour: &Tour) -> Outcome {
    let guest = tour.spec("reboot").boot()?;
    let error = guest.run(&Command::shell("echo b > /proc/sysrq-trigger")).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Rebooted(_))), "{error}");
    println!("  {}", error.to_string().lines().next().unwrap_or_default());
    Ok(())
}

fn lost(tour: &Tour) -> Outcome {
    let guest = tour.spec("lost").boot()?;
    let waiting = guest.spawn(&Command::new("sleep").arg("1000"))?;
    let pid = nix::unistd::Pid::from_raw(guest.qemu_pid().try_into()?);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
    let error = waiting.recv(Instant::now() + Duration::from_mins(1)).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Lost(_))), "{error}");
    println!("  {}", error.to_string().lines().next().unwrap_or_default());
    Ok(())
}

fn pause(tour: &Tour) -> Outcome {
    let guest = tour.spec("pause").boot()?;
    let ticker = "while :; do echo x; usleep 1000 2>/dev/null || sleep 0.001; done";
    let ticking = guest.spawn(&Command::shell(ticker))?;
    let long = || Instant::now() + Duration::from_secs(20);
    ticking.recv(long())?;
    guest.pause()?;
    // What was on its way may still arrive; then there is silence.
    let silent = |error: &vm::Error| matches!(error.failure(), Some(Failure::Timeout(_)));
    let error = loop {
        match ticking.recv(Instant::now() + Duration::from_millis(300)) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(silent(&error), "{error}");
    let ram = guest.ram_path().expect("this guest was not restored");
    assert!(ram.metadata()?.len() == Mib(512).bytes());
    guest.resume()?;
    ticking.recv(long())?;
    Ok(())
}

fn idle(tour: &Tour) -> Outcome {
    let guest = tour.spec("idle").boot()?;
    // The agent says nothing meanwhile; only the kernel's own timers run.
    let sleeper = guest.spawn(&Command::new("sleep").arg("1000"))?;
    let _ = sleeper.recv(Instant::now() + Duration::from_secs(5));
    let before = guest.cpu_seconds();
    let _ = sleeper.recv(Instant::now() + Duration::from_secs(20));
    let percent = (guest.cpu_seconds() - before) / 20.0 * 100.0;
    println!("  an idle guest takes {percent:.1} % of a core");
    Ok(())
}

fn together(tour: &Tour) -> Outcome {
    let names = ["one", "two"];
    let boot = |name| move || Ok::<_, vm::Error>(tour.spec(name).boot()?.boot_id().to_owned());
    let ids = std::thread::scope(|scope| {
        let threads = names.map(|name| scope.spawn(boot(name)));
        threads.map(|thread| thread.join().expect("no boot panics"))
    });
    let [one, two] = ids;
    assert_ne!(one?, two?);
    Ok(())
}
