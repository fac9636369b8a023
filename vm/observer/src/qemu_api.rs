//! QEMU's plugin interface: the few functions of it that the observer uses, found by name.
//!
//! Shapes from the interface's documentation (docs/devel/tcg-plugins); what differs between its
//! versions is in `shape`. Every function may be called from any of QEMU's threads unless its
//! comment says otherwise.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

use shape::Shape;

pub(crate) use shape::Callbacks;

/// The plugin's number; every registration takes it.
pub(crate) type PluginId = u64;

/// A translated block, a row of instructions; valid during the callback that brings it.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Block {
    _opaque: [u8; 0],
}

/// An instruction of a block; valid as long as the block.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Instruction {
    _opaque: [u8; 0],
}

/// A field of a scoreboard, which has one row per virtual CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    score: *mut c_void,
    offset: usize,
}

/// A description of a register: its handle, its name, its group. Newer QEMUs say more behind.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Register {
    handle: *mut c_void,
    name: *const c_char,
    feature: *const c_char,
}

/// glib's arrays begin with their data and its length.
#[repr(C)]
#[derive(Debug)]
struct Array<T> {
    data: *mut T,
    len: c_uint,
}

/// A handle of a register, good on every virtual CPU of this QEMU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegisterHandle(*mut c_void);

// SAFETY: QEMU makes handles once and never frees them; they are numbers in disguise.
unsafe impl Send for RegisterHandle {}
// SAFETY: as above.
unsafe impl Sync for RegisterHandle {}
// SAFETY: a scoreboard belongs to no thread; QEMU locks it where it grows.
unsafe impl Send for Field {}
// SAFETY: as above.
unsafe impl Sync for Field {}

/// What a memory access was; good during the callback that brings it.
pub(crate) type Access = u32;

/// What an access loaded or stored.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Value {
    /// The power of two of its bytes.
    kind: c_int,
    /// The bytes, lowest first.
    bytes: [u64; 2],
}

pub(crate) type OnExec = extern "C" fn(c_uint, *mut c_void);
pub(crate) type OnAccess = extern "C" fn(c_uint, Access, u64, *mut c_void);

/// The callback may read registers.
const READS_REGISTERS: c_int = 1;
/// Add a number to a field of a scoreboard.
const ADD_U64: c_int = 0;
/// Stores only.
const WRITES: c_int = 2;
/// Call if the field is not equal to the number.
const NOT_EQUAL: c_int = 3;

macro_rules! functions {
    ($set:ident; $($field:ident: $name:literal $shape:ty;)*) => {
        /// Functions of QEMU.
        #[derive(Debug)]
        pub(super) struct $set { $($field: $shape,)* }

        impl $set {
            fn find() -> Result<Self, &'static CStr> {
                Ok(Self { $($field: {
                    let at = symbol($name).ok_or($name)?;
                    // SAFETY: QEMU's function of this name has this shape (see the file's head).
                    unsafe { std::mem::transmute::<*mut c_void, $shape>(at) }
                },)* })
            }
        }
    };
}

mod shape;

functions! {
    Common;
    block_len: c"qemu_plugin_tb_n_insns" unsafe extern "C" fn(*const Block) -> usize;
    block_get: c"qemu_plugin_tb_get_insn"
        unsafe extern "C" fn(*const Block, usize) -> *mut Instruction;
    data: c"qemu_plugin_insn_data"
        unsafe extern "C" fn(*const Instruction, *mut c_void, usize) -> usize;
    on_exec: c"qemu_plugin_register_vcpu_insn_exec_cb"
        unsafe extern "C" fn(*mut Instruction, OnExec, c_int, *mut c_void);
    on_exec_if: c"qemu_plugin_register_vcpu_insn_exec_cond_cb"
        unsafe extern "C" fn(*mut Instruction, OnExec, c_int, c_int, Field, u64, *mut c_void);
    on_access: c"qemu_plugin_register_vcpu_mem_cb"
        unsafe extern "C" fn(*mut Instruction, OnAccess, c_int, c_int, *mut c_void);
    address: c"qemu_plugin_insn_vaddr" unsafe extern "C" fn(*const Instruction) -> u64;
    hardware: c"qemu_plugin_get_hwaddr" unsafe extern "C" fn(Access, u64) -> *const c_void;
    physical: c"qemu_plugin_hwaddr_phys_addr" unsafe extern "C" fn(*const c_void) -> u64;
    value: c"qemu_plugin_mem_get_value" unsafe extern "C" fn(Access) -> Value;
    set: c"qemu_plugin_u64_set" unsafe extern "C" fn(Field, c_uint, u64);
    add_per_vcpu: c"qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu"
        unsafe extern "C" fn(*mut Block, c_int, Field, u64);
    scoreboard: c"qemu_plugin_scoreboard_new" unsafe extern "C" fn(usize) -> *mut c_void;
    sum: c"qemu_plugin_u64_sum" unsafe extern "C" fn(Field) -> u64;
    registers: c"qemu_plugin_get_registers" unsafe extern "C" fn() -> *mut Array<Register>;
    bytes_new: c"g_byte_array_new" unsafe extern "C" fn() -> *mut Array<u8>;
    bytes_resize: c"g_byte_array_set_size"
        unsafe extern "C" fn(*mut Array<u8>, c_uint) -> *mut Array<u8>;
    element_size: c"g_array_get_element_size"
        unsafe extern "C" fn(*mut Array<Register>) -> c_uint;
    array_free: c"g_array_unref" unsafe extern "C" fn(*mut Array<Register>);
}

#[derive(Debug)]
struct Functions {
    common: Common,
    shape: Shape,
}

static FUNCTIONS: OnceLock<Functions> = OnceLock::new();

fn symbol(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name ends with a NUL; a look at the process's symbols changes nothing.
    let at = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!at.is_null()).then_some(at)
}

/// Finds all functions; the name of one that this QEMU lacks.
pub(crate) fn find() -> Result<(), &'static CStr> {
    let found = Functions { common: Common::find()?, shape: Shape::find()? };
    // A second load of the plugin finds the same.
    FUNCTIONS.get_or_init(|| found);
    Ok(())
}

fn functions() -> &'static Functions {
    FUNCTIONS.get().expect("find() comes before everything that QEMU calls")
}

/// Has QEMU call back when a virtual CPU begins and when a block is translated; not twice.
pub(crate) fn begin(id: PluginId, callbacks: Callbacks) -> Result<(), &'static str> {
    functions().shape.begin(id, callbacks)
}

/// Forgets all that was translated, so that it is translated anew, before the CPU goes on.
pub(crate) fn reset() {
    functions().shape.reset();
}

/// A new field of 8 bytes per virtual CPU.
pub(crate) fn field() -> Field {
    // SAFETY: QEMU allocates; the scoreboard is never freed.
    let score = unsafe { (functions().common.scoreboard)(size_of::<u64>()) };
    Field { score, offset: 0 }
}

/// Sum of a field over all virtual CPUs.
pub(crate) fn sum(field: Field) -> u64 {
    // SAFETY: `field` is from `field()`.
    unsafe { (functions().common.sum)(field) }
}

/// Sets a field of one CPU. Only on this CPU's thread.
pub(crate) fn set(field: Field, vcpu: c_uint, value: u64) {
    // SAFETY: `field` is from `field()`; QEMU gave out the CPU's number.
    unsafe { (functions().common.set)(field, vcpu, value) }
}

/// Guest-physical address of an access, if it went to memory that this CPU has translated. Only in
/// the callback that brought it.
pub(crate) fn physical(access: Access, address: u64) -> Option<u64> {
    // SAFETY: by this function's contract.
    let place = unsafe { (functions().common.hardware)(access, address) };
    // SAFETY: QEMU's answer is good until the next access of this thread.
    (!place.is_null()).then(|| unsafe { (functions().common.physical)(place) })
}

/// The bytes of an access, lowest first, and how many they are. Only in the callback that brought
/// it.
pub(crate) fn value(access: Access) -> ([u8; 16], usize) {
    // SAFETY: by this function's contract.
    let Value { kind, bytes } = unsafe { (functions().common.value)(access) };
    let [low, high] = bytes.map(u64::to_le_bytes);
    let mut all = [0; 16];
    all[..8].copy_from_slice(&low);
    all[8..].copy_from_slice(&high);
    (all, 1 << kind.clamp(0, 4))
}

/// A block during its translation: the callback that brought it has not returned yet.
#[derive(Debug)]
pub(crate) struct Translation {
    block: *mut Block,
    len: usize,
}

impl Translation {
    /// # Safety
    /// QEMU passed the block to a callback that does not return before this is dropped.
    unsafe fn new(block: *mut Block) -> Self {
        // SAFETY: by this function's contract the block lives.
        let len = unsafe { (functions().common.block_len)(block) };
        Self { block, len }
    }

    /// Number of its instructions.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds `n` to the field of the executing CPU each time the block runs.
    pub(crate) fn add(&self, field: Field, n: u64) {
        // SAFETY: the block lives during the callback; `field` is from `field()`.
        unsafe { (functions().common.add_per_vcpu)(self.block, ADD_U64, field, n) }
    }

    /// Copies the bytes of instruction `n` into `bytes`; its whole length.
    pub(crate) fn bytes(&self, n: usize, bytes: &mut [u8]) -> usize {
        let instruction = self.instruction(n);
        // SAFETY: the instruction lives as long as the block; QEMU writes at most `len` bytes.
        unsafe { (functions().common.data)(instruction, bytes.as_mut_ptr().cast(), bytes.len()) }
    }

    /// Has `each` called with `data` before instruction `n` runs; it may read registers.
    pub(crate) fn on_exec(&self, n: usize, each: OnExec, data: usize) {
        let data = std::ptr::without_provenance_mut(data);
        let instruction = self.instruction(n);
        // SAFETY: the instruction lives as long as the block; `data` is a number, no address.
        unsafe { (functions().common.on_exec)(instruction, each, READS_REGISTERS, data) }
    }

    /// As `on_exec`, if the field of the executing CPU is not 0.
    pub(crate) fn on_exec_if(&self, n: usize, field: Field, each: OnExec, data: usize) {
        let data = std::ptr::without_provenance_mut(data);
        let (instruction, if_not) = (self.instruction(n), 0);
        let call = functions().common.on_exec_if;
        // SAFETY: as in `on_exec`; `field` is from `field()`.
        unsafe { call(instruction, each, READS_REGISTERS, NOT_EQUAL, field, if_not, data) }
    }

    /// Has `each` called with `data` after each store of instruction `n`; it may read registers.
    pub(crate) fn on_store(&self, n: usize, each: OnAccess, data: usize) {
        let data = std::ptr::without_provenance_mut(data);
        let instruction = self.instruction(n);
        // SAFETY: as in `on_exec`.
        unsafe { (functions().common.on_access)(instruction, each, READS_REGISTERS, WRITES, data) }
    }

    /// The virtual address of instruction `n`.
    pub(crate) fn address(&self, n: usize) -> u64 {
        let instruction = self.instruction(n);
        // SAFETY: the instruction lives as long as the block.
        unsafe { (functions().common.address)(instruction) }
    }

    fn instruction(&self, n: usize) -> *mut Instruction {
        assert!(n < self.len, "instruction {n} of a block of {}", self.len);
        // SAFETY: the block lives during the callback, and it has this instruction.
        unsafe { (functions().common.block_get)(self.block, n) }
    }
}

/// The handle of a register by its name. Only in a callback on a virtual CPU's thread.
pub(crate) fn register(name: &CStr) -> Option<RegisterHandle> {
    // SAFETY: the caller is on a virtual CPU's thread; QEMU hands over a new array.
    let array = unsafe { (functions().common.registers)() };
    if array.is_null() {
        return None;
    }
    // SAFETY: QEMU made the array.
    let size = unsafe { (functions().common.element_size)(array) } as usize;
    // SAFETY: as above; glib keeps `data` and `len` true.
    let Array { data, len } = unsafe { &*array };
    let mut all = (0..*len as usize).map(|n| {
        // SAFETY: `data` has `len` elements of `size` bytes.
        let element = unsafe { data.byte_add(n * size) };
        // SAFETY: each begins as a `Register` does.
        unsafe { *element }
    });
    let found = all.find(|register| {
        // SAFETY: names are C strings that live as long as QEMU.
        !register.name.is_null() && unsafe { CStr::from_ptr(register.name) } == name
    });
    let handle = found.map(|register| RegisterHandle(register.handle));
    // SAFETY: the array is ours; `handle` is a copy.
    unsafe { (functions().common.array_free)(array) };
    handle
}

thread_local! {
    /// What registers are read into: one array for each CPU. While something waits every lock of
    /// the guest reads some, and a new array for each costs more than all else.
    // SAFETY: glib allocates or aborts.
    static BYTES: *mut Array<u8> = unsafe { (functions().common.bytes_new)() };
}

/// The value of a register of at most 8 bytes. Only in a callback that may read registers.
pub(crate) fn read(register: RegisterHandle) -> Option<u64> {
    let bytes = BYTES.with(|bytes| *bytes);
    // SAFETY: the array is this thread's; nobody refers to what it holds.
    unsafe { (functions().common.bytes_resize)(bytes, 0) };
    // SAFETY: the caller is in a callback that may read registers; the array is this thread's.
    let is_read = unsafe { functions().shape.read(register.0, bytes) };
    // SAFETY: glib made the array and keeps `data` and `len` true.
    let array = unsafe { &*bytes };
    let mut value = [0; 8];
    let is_read = is_read && (1..=8).contains(&array.len);
    if is_read {
        // SAFETY: the array holds so many bytes.
        let held = unsafe { std::slice::from_raw_parts(array.data, array.len as usize) };
        value[..held.len()].copy_from_slice(held);
    }
    is_read.then(|| u64::from_le_bytes(value))
}
