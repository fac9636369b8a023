//! Plugin: what QEMU calls.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crash::{Op, Pc};

use crate::instruction::Does;
use crate::lines::Line;
use crate::observer::{Observer, Site, Stored};
use crate::options::Options;
use crate::qemu_api::{self as qemu, Access, Callbacks, PluginId, Translation};

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

static OBSERVER: OnceLock<Observer> = OnceLock::new();
/// Trace mode: whether ARM has come, from which on every store of the guest calls us.
static IS_TRACED: AtomicBool = AtomicBool::new(false);

/// The longest instruction in bytes.
const LONGEST: usize = 15;
/// Of an instruction's address, the bit that is borrowed to say that it stores past the caches:
/// in canonical addresses it is the same as the bit above it.
const PAST_CACHES: u64 = 1 << 62;

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
    let cpus = usize::try_from(info.max_vcpus).unwrap_or_default();
    let observer = Observer::begin(cpus, &options)?;
    OBSERVER.set(observer).map_err(|_| "it is loaded twice")?;
    qemu::begin(id, Callbacks { vcpu: vcpu_begins, block: block_is_translated })?;
    Ok(())
}

fn vcpu_begins() {
    if let Some(observer) = OBSERVER.get() {
        observer.find_registers();
    }
}

fn block_is_translated(block: &Translation) {
    let Some(observer) = OBSERVER.get() else { return };
    if observer.counts {
        block.add(observer.instructions, block.len() as u64);
    }
    let mut is_watched = match &observer.watch {
        Some(watch) => !watch.is_trace || IS_TRACED.load(Ordering::Relaxed),
        None => false,
    };
    for n in 0..block.len() {
        let mut bytes = [0; LONGEST];
        let len = block.bytes(n, &mut bytes).min(LONGEST);
        if let Some(op) = Op::decode(&bytes[..len]) {
            let site = observer.site(block.address(n), Does::Mark(op));
            block.on_exec(n, mark, address_of(site));
            // What follows in the block that arms runs before all is translated anew.
            is_watched |= op == Op::Arm && observer.watch.is_some();
        } else if is_watched {
            watch(observer, block, n, &bytes[..len]);
        }
    }
}

/// Has instruction `n` call us if it does something to the NVDIMM.
fn watch(observer: &Observer, block: &Translation, n: usize, bytes: &[u8]) {
    let is_trace = observer.watch.as_ref().is_some_and(|watch| watch.is_trace);
    let does = Does::decode(bytes, || block.address(n));
    if does == Does::Else && !is_trace {
        return;
    }
    let pc = block.address(n);
    let past_caches = does == Does::StorePastCaches;
    match does {
        Does::Wait(crash::FenceKind::Locked) if observer.is_single => {
            block.on_exec_if(n, observer.waits, order, address_of(observer.site(pc, does)));
        }
        Does::Flush(..) | Does::Wait(_) => {
            block.on_exec(n, order, address_of(observer.site(pc, does)));
        }
        Does::StorePastCaches | Does::Mark(_) | Does::Else => {}
    }
    if is_trace || past_caches {
        let data = if past_caches { pc ^ PAST_CACHES } else { pc };
        // Addresses are as long as a register.
        block.on_store(n, store, usize::try_from(data).unwrap_or_default());
    }
}

fn address_of(site: &'static Site) -> usize {
    std::ptr::from_ref(site).expose_provenance()
}

/// # Safety
/// `data` is from `address_of`.
unsafe fn site_at(data: *mut c_void) -> &'static Site {
    let site = std::ptr::with_exposed_provenance::<Site>(data.addr());
    // SAFETY: sites are never freed; by this function's contract it is one.
    unsafe { &*site }
}

extern "C" fn mark(vcpu: c_uint, data: *mut c_void) {
    let Some(observer) = OBSERVER.get() else { return };
    // SAFETY: registered with `address_of`.
    let site = unsafe { site_at(data) };
    let Does::Mark(op) = site.does else { return };
    if op == Op::Stats {
        let Some(stats) = observer.argument() else { return };
        let instructions = qemu::sum(observer.instructions);
        observer.tell(&Line::Stats { stats, vcpu, instructions });
    }
    for line in observer.mark(vcpu, site, op) {
        observer.tell(&line);
        if matches!(line, Line::Cut { .. }) {
            // SAFETY: takes no pointer; QEMU ends like a machine without power.
            unsafe { libc::raise(libc::SIGKILL) };
        }
    }
    begin_to_trace(observer, op);
}

/// From the first ARM on every store calls us: what was translated before is translated anew.
fn begin_to_trace(observer: &Observer, op: Op) {
    let is_trace = observer.watch.as_ref().is_some_and(|watch| watch.is_trace);
    if is_trace && op == Op::Arm && !IS_TRACED.swap(true, Ordering::Relaxed) {
        qemu::reset();
    }
}

extern "C" fn order(vcpu: c_uint, data: *mut c_void) {
    let Some(observer) = OBSERVER.get() else { return };
    if observer.watch.as_ref().is_some_and(|watch| !watch.is_on()) {
        return;
    }
    // SAFETY: registered with `address_of`.
    let site = unsafe { site_at(data) };
    if let Some(line) = observer.order(vcpu, site) {
        observer.tell(&line);
    }
}

extern "C" fn store(vcpu: c_uint, access: Access, address: u64, data: *mut c_void) {
    let Some(observer) = OBSERVER.get() else { return };
    if observer.watch.as_ref().is_some_and(|watch| !watch.is_on()) {
        return;
    }
    let data = data.addr() as u64;
    let nontemporal = data >> 62 == 1 || data >> 62 == 2;
    let pc = Pc(if nontemporal { data ^ PAST_CACHES } else { data });
    let at = Stored { pc, address, nontemporal };
    let physical = || qemu::physical(access, address);
    if let Some(line) = observer.store(vcpu, at, physical, || qemu::value(access)) {
        observer.tell(&line);
    }
}
