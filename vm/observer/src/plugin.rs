//! Plugin: what QEMU calls.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

use crash::{Op, marker};

use crate::count::{Out, Stats};
use crate::options::Options;
use crate::qemu_api::{self as qemu, Block, Field, PluginId, RegisterHandle, Translation};

/// The interface version that this library was written for; QEMU reads it before anything else.
#[unsafe(no_mangle)]
pub(crate) static qemu_plugin_version: c_int = 4;

/// What QEMU tells about itself.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Info {
    target: *const c_char,
    min_version: c_int,
    cur_version: c_int,
    is_system: bool,
    smp_vcpus: c_int,
    max_vcpus: c_int,
}

#[derive(Debug)]
struct Observer {
    out: Out,
    instructions: Field,
}

static OBSERVER: OnceLock<Observer> = OnceLock::new();
/// The register that holds a marker's first argument.
static ARGUMENT: OnceLock<RegisterHandle> = OnceLock::new();

/// Begins to observe; not 0 ends QEMU.
///
/// # Safety
/// Called by QEMU when it has loaded the library: `info` is valid, `words` has `count` C strings.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn qemu_plugin_install(
    id: PluginId,
    info: *const Info,
    count: c_int,
    words: *const *const c_char,
) -> c_int {
    // SAFETY: by this function's contract.
    let info = unsafe { &*info };
    let all = (0..usize::try_from(count).unwrap_or(0)).map(|n| {
        // SAFETY: by this function's contract `words` has more than `n` strings.
        let word = unsafe { words.add(n) };
        // SAFETY: as above.
        let word = unsafe { *word };
        // SAFETY: as above; the string lives longer than this call.
        unsafe { CStr::from_ptr(word) }
    });
    match install(id, info, all) {
        Ok(()) => 0,
        Err(why) => {
            eprintln!("observer: {why}");
            1
        }
    }
}

fn install<'a>(
    id: PluginId,
    info: &Info,
    words: impl Iterator<Item = &'a CStr>,
) -> Result<(), String> {
    // SAFETY: QEMU's strings are C strings.
    let target = unsafe { CStr::from_ptr(info.target) };
    if target != c"x86_64" || !info.is_system {
        return Err(format!("watches x86-64 machines, not {}", target.to_string_lossy()));
    }
    qemu::find().map_err(|name| {
        format!(
            "this QEMU (plugin interface {}) lacks {}",
            info.cur_version,
            name.to_string_lossy()
        )
    })?;
    let words: Option<Vec<_>> = words.map(|word| word.to_str().ok()).collect();
    let words = words.ok_or("an option is no UTF-8")?;
    let options = Options::parse(words).map_err(|wrong| wrong.to_string())?;
    let name = options.out.display();
    let out = Out::create(&options.out).map_err(|error| format!("create {name}: {error}"))?;
    let observer = Observer { out, instructions: qemu::field() };
    OBSERVER.set(observer).map_err(|_| "it is loaded twice")?;
    qemu::on_vcpu(id, vcpu_begins);
    qemu::on_block(id, block_is_translated);
    Ok(())
}

extern "C" fn vcpu_begins(_: PluginId, _: c_uint) {
    if ARGUMENT.get().is_none() {
        match qemu::register(c"rdi") {
            // Another CPU may have been faster; the handle is the same.
            Some(handle) => drop(ARGUMENT.set(handle)),
            None => eprintln!("observer: this QEMU shows no register rdi; markers are not seen"),
        }
    }
}

extern "C" fn block_is_translated(_: PluginId, block: *mut Block) {
    let Some(observer) = OBSERVER.get() else { return };
    // SAFETY: QEMU passed the block to this call.
    let block = unsafe { Translation::new(block) };
    let len = block.len();
    block.add(observer.instructions, len as u64);
    for n in 0..len {
        let mut bytes = [0; marker::LEN + 1];
        let len = block.bytes(n, &mut bytes).min(bytes.len());
        if Op::decode(&bytes[..len]) == Some(Op::Stats) {
            block.on_exec(n, stats, 0);
        }
    }
}

extern "C" fn stats(vcpu: c_uint, _: *mut c_void) {
    let Some(observer) = OBSERVER.get() else { return };
    let Some(number) = ARGUMENT.get().and_then(|register| qemu::read(*register)) else { return };
    let instructions = qemu::sum(observer.instructions);
    if let Err(error) = observer.out.tell(&Stats { number, vcpu, instructions }) {
        eprintln!("observer: write the counters: {error}");
    }
}
