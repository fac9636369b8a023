//! Boot: a real guest from given files, by hand: `boot KERNEL INITRD ROOT|- DIR COMMAND...`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use vm::{BootFiles, Command, Spec};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kernel, initrd, root, dir, program, rest @ ..] = args.as_slice() else {
        return Err("usage: boot KERNEL INITRD ROOT|- DIR COMMAND...".into());
    };
    let boot = BootFiles {
        kernel: kernel.into(),
        initrd: initrd.into(),
        root: (root != "-").then(|| PathBuf::from(root)),
    };
    let start = Instant::now();
    let guest = Spec::from_files("hand", boot, Path::new(dir)).boot()?;
    let exit = guest.run(&Command::new(program).args(rest))?;
    print!("{}", exit.text());
    eprint!("{}", exit.error_text());
    let (wall, cpu) = (start.elapsed().as_secs_f64(), guest.cpu_seconds());
    eprintln!("{}; {wall:.2} s, {cpu:.2} CPU-s", exit.code);
    guest.shut_down()?;
    Ok(())
}
