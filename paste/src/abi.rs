//! ABI: the Rust mirror of `kernel/include/paste_abi.h`.
//!
//! Data only: `#[repr(C)]` structures and integers, no logic, no Rust enum, no `bool`, no
//! reference. The header is the text to read; `tests/abi.rs` compiles it and compares every
//! size, offset and value with this file, and fails when the header names something more.
#![expect(missing_docs, reason = "paste_abi.h documents these names; this file repeats none of it")]

use std::mem::size_of;

pub const NETMAP_API: u16 = 14;
pub const NETMAP_MIN_API: u16 = 14;
pub const NETMAP_MAX_API: u16 = 15;

pub const NETMAP_REQ_IFNAMSIZ: usize = 64;
pub const NETMAP_REQ_MAXSIZE: usize = 4096;

pub const PASTE_DEVICE_PATH: &str = "/dev/paste";

pub const NIOCCTRL: u32 = 0xC058_6997;
pub const NIOCTXSYNC: u32 = 0x6994;
pub const NIOCRXSYNC: u32 = 0x6995;

pub const NETMAP_REQ_REGISTER: u16 = 1;
pub const NETMAP_REQ_PORT_INFO_GET: u16 = 2;
pub const NETMAP_REQ_VALE_ATTACH: u16 = 3;
pub const NETMAP_REQ_VALE_DETACH: u16 = 4;
pub const NETMAP_REQ_VALE_LIST: u16 = 5;
pub const NETMAP_REQ_PORT_HDR_SET: u16 = 6;
pub const NETMAP_REQ_PORT_HDR_GET: u16 = 7;
pub const NETMAP_REQ_VALE_NEWIF: u16 = 8;
pub const NETMAP_REQ_VALE_DELIF: u16 = 9;
pub const NETMAP_REQ_VALE_POLLING_ENABLE: u16 = 10;
pub const NETMAP_REQ_VALE_POLLING_DISABLE: u16 = 11;
pub const NETMAP_REQ_POOLS_INFO_GET: u16 = 12;
pub const NETMAP_REQ_SYNC_KLOOP_START: u16 = 13;
pub const NETMAP_REQ_SYNC_KLOOP_STOP: u16 = 14;
pub const NETMAP_REQ_CSB_ENABLE: u16 = 15;
pub const NETMAP_REQ_PST_ATTACH: u16 = 16;
pub const NETMAP_REQ_PST_DETACH: u16 = 17;
pub const NETMAP_REQ_PST_FD_REG: u16 = 18;
pub const PASTE_REQ_FD_UNREG: u16 = 64;

pub const NETMAP_REQ_OPT_EXTMEM: u32 = 1;
pub const NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS: u32 = 2;
pub const NETMAP_REQ_OPT_CSB: u32 = 3;
pub const NETMAP_REQ_OPT_SYNC_KLOOP_MODE: u32 = 4;
pub const NETMAP_REQ_OPT_OFFSETS: u32 = 5;
pub const PASTE_REQ_OPT_RESERVE: u32 = 64;
pub const PASTE_REQ_OPT_KERNEL_RINGS: u32 = 65;

pub const NR_REG_DEFAULT: u32 = 0;
pub const NR_REG_ALL_NIC: u32 = 1;
pub const NR_REG_SW: u32 = 2;
pub const NR_REG_NIC_SW: u32 = 3;
pub const NR_REG_ONE_NIC: u32 = 4;
pub const NR_REG_PIPE_MASTER: u32 = 5;
pub const NR_REG_PIPE_SLAVE: u32 = 6;
pub const NR_REG_NULL: u32 = 7;
pub const NR_REG_ONE_SW: u32 = 8;

pub const NR_MONITOR_TX: u64 = 0x100;
pub const NR_MONITOR_RX: u64 = 0x200;
pub const NR_ZCOPY_MON: u64 = 0x400;
pub const NR_EXCLUSIVE: u64 = 0x800;
pub const NR_RX_RINGS_ONLY: u64 = 0x2000;
pub const NR_TX_RINGS_ONLY: u64 = 0x4000;
pub const NR_ACCEPT_VNET_HDR: u64 = 0x8000;
pub const NR_DO_RX_POLL: u64 = 0x1_0000;
pub const NR_NO_TX_POLL: u64 = 0x2_0000;
pub const PASTE_NR_EVENTS: u64 = 0x1_0000_0000;

#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct NmreqHeader {
    pub nr_version: u16,
    pub nr_reqtype: u16,
    pub nr_reserved: u32,
    pub nr_name: [u8; NETMAP_REQ_IFNAMSIZ],
    pub nr_options: u64,
    pub nr_body: u64,
}
const _: () = assert!(size_of::<NmreqHeader>() == 88);

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct NmreqOption {
    pub nro_next: u64,
    pub nro_reqtype: u32,
    pub nro_status: u32,
    pub nro_size: u64,
}
const _: () = assert!(size_of::<NmreqOption>() == 24);

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct NmreqRegister {
    pub nr_offset: u64,
    pub nr_memsize: u64,
    pub nr_tx_slots: u32,
    pub nr_rx_slots: u32,
    pub nr_tx_rings: u16,
    pub nr_rx_rings: u16,
    pub nr_host_tx_rings: u16,
    pub nr_host_rx_rings: u16,
    pub nr_mem_id: u16,
    pub nr_ringid: u16,
    pub nr_mode: u32,
    pub nr_extra_bufs: u32,
    pub nr_flags: u64,
}
const _: () = assert!(size_of::<NmreqRegister>() == 56);

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct NmreqPortInfoGet {
    pub nr_memsize: u64,
    pub nr_tx_slots: u32,
    pub nr_rx_slots: u32,
    pub nr_tx_rings: u16,
    pub nr_rx_rings: u16,
    pub nr_host_tx_rings: u16,
    pub nr_host_rx_rings: u16,
    pub nr_mem_id: u16,
    pub pad: [u16; 3],
}
const _: () = assert!(size_of::<NmreqPortInfoGet>() == 32);

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct NmreqValeAttach {
    pub reg: NmreqRegister,
    pub port_index: u32,
    pub pad1: u32,
}
const _: () = assert!(size_of::<NmreqValeAttach>() == 64);

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct NmreqValeDetach {
    pub port_index: u32,
    pub pad1: u32,
}
const _: () = assert!(size_of::<NmreqValeDetach>() == 8);

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct NmreqPstFd {
    pub fd: u32,
    pub pad: u32,
}
const _: () = assert!(size_of::<NmreqPstFd>() == 8);

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct NmreqPoolsInfo {
    pub nr_memsize: u64,
    pub nr_mem_id: u16,
    pub pad1: [u16; 3],
    pub nr_if_pool_offset: u64,
    pub nr_if_pool_objtotal: u32,
    pub nr_if_pool_objsize: u32,
    pub nr_ring_pool_offset: u64,
    pub nr_ring_pool_objtotal: u32,
    pub nr_ring_pool_objsize: u32,
    pub nr_buf_pool_offset: u64,
    pub nr_buf_pool_objtotal: u32,
    pub nr_buf_pool_objsize: u32,
}
const _: () = assert!(size_of::<NmreqPoolsInfo>() == 64);

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct NmreqOptExtmem {
    pub nro_opt: NmreqOption,
    pub nro_usrptr: u64,
    pub nro_info: NmreqPoolsInfo,
}
const _: () = assert!(size_of::<NmreqOptExtmem>() == 96);

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct NmreqOptOffsets {
    pub nro_opt: NmreqOption,
    pub nro_max_offset: u64,
    pub nro_initial_offset: u64,
    pub nro_offset_bits: u32,
    pub nro_tx_align: u32,
    pub nro_min_gap: u64,
}
const _: () = assert!(size_of::<NmreqOptOffsets>() == 56);

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct PasteOptReserve {
    pub nro_opt: NmreqOption,
    pub bitmap: u64,
    pub bits: u64,
}
const _: () = assert!(size_of::<PasteOptReserve>() == 40);

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct PasteOptKernelRings {
    pub nro_opt: NmreqOption,
    pub rings_size: u64,
}
const _: () = assert!(size_of::<PasteOptKernelRings>() == 32);

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct NetmapSlot {
    pub buf_idx: u32,
    pub len: u16,
    pub flags: u16,
    pub ptr: u64,
}
const _: () = assert!(size_of::<NetmapSlot>() == 16);

pub const NS_BUF_CHANGED: u16 = 0x0001;
pub const NS_REPORT: u16 = 0x0002;
pub const NS_FORWARD: u16 = 0x0004;
pub const NS_NO_LEARN: u16 = 0x0008;
pub const NS_INDIRECT: u16 = 0x0010;
pub const NS_MOREFRAG: u16 = 0x0020;
pub const NS_PST_KEEP: u16 = 0x8000;

pub const PST_OFFSET_BITS: u32 = 8;
pub const PST_OFFSET_MASK: u64 = 0xff;
pub const PST_FD_SHIFT: u32 = 8;
pub const PST_FD_MASK: u64 = 0xffff_ffff;
pub const PST_DOFF_SHIFT: u32 = 40;
pub const PST_DOFF_MASK: u64 = 0x3ff;

pub const PST_EVENT_SHIFT: u32 = 8;
pub const PST_EVENT_MASK: u16 = 0x7f;
pub const PST_ERRNO_SHIFT: u32 = 50;
pub const PST_ERRNO_MASK: u64 = 0x3fff;

pub const PST_EVENT_END: u16 = 1;
pub const PST_EVENT_RESET: u16 = 2;
pub const PST_EVENT_SEND_FAILED: u16 = 3;

#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct NetmapRing {
    pub buf_ofs: i64,
    pub num_slots: u32,
    pub nr_buf_size: u32,
    pub ringid: u16,
    pub dir: u16,
    pub head: u32,
    pub cur: u32,
    pub tail: u32,
    pub flags: u32,
    pub ts_sec: i64,
    pub ts_usec: i64,
    pub offset_mask: u64,
    pub buf_align: u64,
    pub pad: [u8; 128 - 72],
    pub sem: [u8; 128],
    pub slot: [NetmapSlot; 0],
}
const _: () = assert!(size_of::<NetmapRing>() == 256);

pub const NR_TIMESTAMP: u32 = 0x0002;
pub const NR_FORWARD: u32 = 0x0004;

#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct NetmapIf {
    pub ni_name: [u8; 16],
    pub ni_version: u32,
    pub ni_flags: u32,
    pub ni_tx_rings: u32,
    pub ni_rx_rings: u32,
    pub ni_bufs_head: u32,
    pub ni_host_tx_rings: u32,
    pub ni_host_rx_rings: u32,
    pub ni_spare: [u32; 3],
    pub ring_ofs: [i64; 0],
}
const _: () = assert!(size_of::<NetmapIf>() == 56);

pub const NI_PRIV_MEM: u32 = 0x1;
