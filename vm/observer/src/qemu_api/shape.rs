//! Shape: what differs between the two versions of QEMU's plugin interface that the observer
//! knows; nothing outside this file knows which it is.
//!
//! Version 4 (QEMU 9.1) calls back with the plugin's number; version 7 (QEMU 11) with the data that
//! came with the registration. QEMU reads the version when it has loaded the library, and refuses
//! one that it does not serve, so it is chosen before: by a function that came with the newer ones.

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use super::{Array, Block, PluginId, Translation, symbol};

/// The interface version that this library asks for; QEMU reads it before anything else.
#[unsafe(no_mangle)]
pub(crate) static qemu_plugin_version: AtomicI32 = AtomicI32::new(OLD);

const OLD: c_int = 4;
const NEW: c_int = 7;
/// QEMU has it only where it serves the newer version.
const NEWER: &CStr = c"qemu_plugin_set_pc";

/// Runs when the library is loaded, before QEMU looks at it.
#[used]
#[unsafe(link_section = ".init_array")]
static CHOOSE: extern "C" fn() = choose;

extern "C" fn choose() {
    if symbol(NEWER).is_some() {
        qemu_plugin_version.store(NEW, Ordering::Relaxed);
    }
}

/// What QEMU's callbacks lead to.
#[derive(Debug)]
pub(crate) struct Callbacks {
    /// A virtual CPU begins; on its thread.
    pub(crate) vcpu: fn(),
    /// A block is translated.
    pub(crate) block: fn(&Translation),
}

functions! {
    Old;
    on_vcpu: c"qemu_plugin_register_vcpu_init_cb"
        unsafe extern "C" fn(PluginId, extern "C" fn(PluginId, c_uint));
    on_block: c"qemu_plugin_register_vcpu_tb_trans_cb"
        unsafe extern "C" fn(PluginId, extern "C" fn(PluginId, *mut Block));
    reset: c"qemu_plugin_reset" unsafe extern "C" fn(PluginId, extern "C" fn(PluginId));
    read_register: c"qemu_plugin_read_register"
        unsafe extern "C" fn(*mut c_void, *mut Array<u8>) -> c_int;
}

/// Passed by us to be passed back.
type Data = *mut c_void;

functions! {
    New;
    on_vcpu: c"qemu_plugin_register_vcpu_init_cb"
        unsafe extern "C" fn(PluginId, extern "C" fn(c_uint, Data), Data);
    on_block: c"qemu_plugin_register_vcpu_tb_trans_cb"
        unsafe extern "C" fn(PluginId, extern "C" fn(*mut Block, Data), Data);
    reset: c"qemu_plugin_reset" unsafe extern "C" fn(PluginId, extern "C" fn(Data), Data);
    read_register: c"qemu_plugin_read_register"
        unsafe extern "C" fn(*mut c_void, *mut Array<u8>) -> bool;
}

#[derive(Debug)]
pub(super) enum Shape {
    Old(Old),
    New(New),
}

/// This plugin's number and where its callbacks lead.
static PLUGIN: OnceLock<(PluginId, Callbacks)> = OnceLock::new();

impl Shape {
    /// The functions of the version that QEMU was told; the name of one that it lacks.
    pub(super) fn find() -> Result<Self, &'static CStr> {
        if qemu_plugin_version.load(Ordering::Relaxed) == NEW {
            New::find().map(Self::New)
        } else {
            Old::find().map(Self::Old)
        }
    }

    /// Has QEMU call back; not twice.
    pub(super) fn begin(&self, id: PluginId, callbacks: Callbacks) -> Result<(), &'static str> {
        PLUGIN.set((id, callbacks)).map_err(|_| "it is loaded twice")?;
        self.register();
        Ok(())
    }

    fn register(&self) {
        let Some((id, _)) = PLUGIN.get() else { return };
        // The plugin's number is from QEMU; the callbacks live as long as the library, which is
        // never unloaded.
        match self {
            Self::Old(old) => {
                // SAFETY: as said.
                unsafe { (old.on_vcpu)(*id, old_vcpu) };
                // SAFETY: as said.
                unsafe { (old.on_block)(*id, old_block) };
            }
            Self::New(new) => {
                // SAFETY: as said; the data is not looked at.
                unsafe { (new.on_vcpu)(*id, new_vcpu, null_mut()) };
                // SAFETY: as above.
                unsafe { (new.on_block)(*id, new_block, null_mut()) };
            }
        }
    }

    pub(super) fn reset(&self) {
        let Some((id, _)) = PLUGIN.get() else { return };
        match self {
            // SAFETY: as in `register`.
            Self::Old(old) => unsafe { (old.reset)(*id, old_reset) },
            // SAFETY: as in `register`.
            Self::New(new) => unsafe { (new.reset)(*id, new_reset, null_mut()) },
        }
    }

    /// Appends a register's value; whether it could be read.
    ///
    /// # Safety
    /// In a callback that may read registers; `register` is a handle and `bytes` an array.
    pub(super) unsafe fn read(&self, register: *mut c_void, bytes: *mut Array<u8>) -> bool {
        match self {
            // SAFETY: by this function's contract.
            Self::Old(old) => unsafe { (old.read_register)(register, bytes) > 0 },
            // SAFETY: by this function's contract.
            Self::New(new) => unsafe { (new.read_register)(register, bytes) },
        }
    }
}

extern "C" fn old_vcpu(_: PluginId, _: c_uint) {
    vcpu();
}

extern "C" fn new_vcpu(_: c_uint, _: Data) {
    vcpu();
}

fn vcpu() {
    if let Some((_, callbacks)) = PLUGIN.get() {
        (callbacks.vcpu)();
    }
}

extern "C" fn old_block(_: PluginId, block: *mut Block) {
    translate(block);
}

extern "C" fn new_block(block: *mut Block, _: Data) {
    translate(block);
}

fn translate(block: *mut Block) {
    if let Some((_, callbacks)) = PLUGIN.get() {
        // SAFETY: QEMU passed the block to the callback that this is a part of.
        (callbacks.block)(&unsafe { Translation::new(block) });
    }
}

extern "C" fn old_reset(_: PluginId) {
    super::functions().shape.register();
}

extern "C" fn new_reset(_: Data) {
    super::functions().shape.register();
}
