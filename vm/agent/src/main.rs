//! Agent: PID 1 of a guest and the hand of the host inside it.
//!
//! The kernel starts it from the initrd. It mounts, loads the modules of `/modules.list`, makes the
//! squashfs on `/dev/vda` with a tmpfs above it the root, then serves frames on the virtio-serial
//! port until the machine is switched off. A closed guest brings its program along instead, and
//! ends with it. The agent reaps every orphan. If it cannot go on it says why
//! on the console and ends; the kernel's panic about that tells the host.

#![deny(unsafe_code)]

mod closed;
mod files;
mod init;
mod outbox;
mod port;
mod power;
mod pty;
mod reaper;
mod run;
mod serve;
#[expect(unsafe_code, reason = "ioctl on a socket has no safe wrapper")]
mod sys;

use std::process::ExitCode;

/// What went wrong, in words that name the thing.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        let mut args = std::env::args_os().skip(1);
        if args.next().is_some_and(|word| word == "pty") {
            return pty::main(args);
        }
        eprintln!("paste-agent: runs as PID 1 of a guest only");
        return ExitCode::from(2);
    }
    // A thread that panics must end the machine, not leave a guest that never answers.
    std::panic::set_hook(Box::new(|panic| {
        fatal(&panic.to_string());
    }));
    match boot_and_serve() {
        Ok(()) => power::off(),
        Err(why) => fatal(&why),
    }
}

fn boot_and_serve() -> Result<()> {
    init::mount_kernel_file_systems()?;
    let mut events = port::Events::open()?;
    init::load_modules()?;
    let brought = closed::Brought::find()?;
    init::switch_root()?;
    init::mount_more();
    sys::loopback_up()?;
    let reaper = reaper::start()?;
    if let Some(brought) = brought {
        return brought.play(&reaper);
    }
    let port = events.find_port()?;
    serve::serve(&port, &reaper)
}

/// Ends PID 1; the kernel panics, and `panic=-1 -no-reboot` ends QEMU.
fn fatal(why: &str) -> ! {
    eprintln!("paste-agent: fatal: {why}");
    std::process::abort();
}
