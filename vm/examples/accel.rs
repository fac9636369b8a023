//! Accel: asks whether KVM can be used, by hand: `accel KERNEL INITRD ROOT CACHE`.

use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kernel, initrd, root, cache] = args.as_slice() else {
        return Err("usage: accel KERNEL INITRD ROOT CACHE".into());
    };
    let root = Some(root.into());
    let boot = vm::BootFiles { kernel: kernel.into(), initrd: initrd.into(), root };
    let start = Instant::now();
    let verdict = vm::accel::probe(&boot, Path::new(vm::host::QEMU), Path::new(cache))?;
    println!("{verdict} ({:.1} s)", start.elapsed().as_secs_f64());
    Ok(())
}
