/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * paste_abi.h -- everything that user space and the kernel extension share.
 *
 * The layouts and numbers are those of the netmap API, version 14 (netmap(4)), and of the
 * published PASTE extension (requests 16 to 18). What is ours alone is numbered from 64 and
 * marked "PASTE option". docs/abi.md says for every request what works and which errno the
 * rest gets; paste/src/abi.rs mirrors this file and a test compares the two.
 *
 *     mmap or user memory                     one descriptor of /dev/paste
 *   +--------------------+
 *   | netmap_if          |--ring_ofs[i]--+    head, cur   written by user (u)
 *   +--------------------+               |    tail        written by kernel (k)
 *   | netmap_ring        |<--------------+    slots [head, tail)   owned by user
 *   |   slot[0..n)       |--buf_idx--+        slots [tail, head)   owned by the kernel
 *   +--------------------+           |
 *   | buffer 0, 1, 2 ... |<----------+        buffers 0 and 1 are never lent
 *   +--------------------+
 *
 * A slot always has a buffer, and a buffer is in exactly one place. The kernel touches rings
 * only inside a system call on their descriptor. No kernel pointer is ever stored here.
 */
#ifndef PASTE_ABI_H
#define PASTE_ABI_H

#ifdef __KERNEL__
#include "paste_os_types.h"
#else
#include <stdint.h>
#endif

#define NETMAP_API     14
#define NETMAP_MIN_API 14
#define NETMAP_MAX_API 15

#define NETMAP_REQ_IFNAMSIZ 64
#define NETMAP_REQ_MAXSIZE  4096 /* body and options of one request, bytes */

#define PASTE_DEVICE_PATH "/dev/paste"

/* ------------------------------------------------------------------ requests */

/* ioctl(fd, NIOCCTRL, &header): _IOWR('i', 151, 88 bytes). The syncs take no argument. */
#define NIOCCTRL   0xC0586997u
#define NIOCTXSYNC 0x6994u /* _IO('i', 148) */
#define NIOCRXSYNC 0x6995u /* _IO('i', 149) */

enum {
	NETMAP_REQ_REGISTER = 1,
	NETMAP_REQ_PORT_INFO_GET = 2,
	NETMAP_REQ_VALE_ATTACH = 3,
	NETMAP_REQ_VALE_DETACH = 4,
	NETMAP_REQ_VALE_LIST = 5,
	NETMAP_REQ_PORT_HDR_SET = 6,
	NETMAP_REQ_PORT_HDR_GET = 7,
	NETMAP_REQ_VALE_NEWIF = 8,
	NETMAP_REQ_VALE_DELIF = 9,
	NETMAP_REQ_VALE_POLLING_ENABLE = 10,
	NETMAP_REQ_VALE_POLLING_DISABLE = 11,
	NETMAP_REQ_POOLS_INFO_GET = 12,
	NETMAP_REQ_SYNC_KLOOP_START = 13,
	NETMAP_REQ_SYNC_KLOOP_STOP = 14,
	NETMAP_REQ_CSB_ENABLE = 15,
	NETMAP_REQ_PST_ATTACH = 16, /* tie a NIC to a pst port: body nmreq_vale_attach */
	NETMAP_REQ_PST_DETACH = 17, /* untie it: body nmreq_vale_detach */
	NETMAP_REQ_PST_FD_REG = 18, /* register a connected TCP socket: body nmreq_pst_fd */
	PASTE_REQ_FD_UNREG = 64, /* it is an ordinary socket again: body nmreq_pst_fd */
};

enum {
	NETMAP_REQ_OPT_EXTMEM = 1,
	NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS = 2,
	NETMAP_REQ_OPT_CSB = 3,
	NETMAP_REQ_OPT_SYNC_KLOOP_MODE = 4,
	NETMAP_REQ_OPT_OFFSETS = 5,
	PASTE_REQ_OPT_RESERVE = 64,      /* PASTE option: buffers owned by persistent structures */
	PASTE_REQ_OPT_KERNEL_RINGS = 65, /* PASTE option: rings in kernel memory, mapped here */
};

enum {
	NR_REG_DEFAULT = 0,
	NR_REG_ALL_NIC = 1,
	NR_REG_SW = 2,
	NR_REG_NIC_SW = 3,
	NR_REG_ONE_NIC = 4,
	NR_REG_PIPE_MASTER = 5,
	NR_REG_PIPE_SLAVE = 6,
	NR_REG_NULL = 7,
	NR_REG_ONE_SW = 8,
};

#define NR_MONITOR_TX      0x100
#define NR_MONITOR_RX      0x200
#define NR_ZCOPY_MON       0x400
#define NR_EXCLUSIVE       0x800
#define NR_RX_RINGS_ONLY   0x2000
#define NR_TX_RINGS_ONLY   0x4000
#define NR_ACCEPT_VNET_HDR 0x8000
#define NR_DO_RX_POLL      0x10000
#define NR_NO_TX_POLL      0x20000
/* pst ports: events have codes, see PST_EVENT_*. Only REGISTER knows this bit. */
#define PASTE_NR_EVENTS    0x100000000ull

struct nmreq_header {
	uint16_t nr_version;
	uint16_t nr_reqtype;
	uint32_t nr_reserved; /* must be 0 */
	char nr_name[NETMAP_REQ_IFNAMSIZ];
	uint64_t nr_options; /* user address of the first option, 0: none */
	uint64_t nr_body;    /* user address of the body, 0: none */
};

struct nmreq_option {
	uint64_t nro_next; /* user address of the next option, 0: last */
	uint32_t nro_reqtype;
	uint32_t nro_status; /* out: 0 or an errno */
	uint64_t nro_size;   /* bytes behind this header, for options of variable size */
};

struct nmreq_register {
	uint64_t nr_offset;  /* out: netmap_if from the start of the region */
	uint64_t nr_memsize; /* out: bytes of the region */
	uint32_t nr_tx_slots;
	uint32_t nr_rx_slots;
	uint16_t nr_tx_rings;
	uint16_t nr_rx_rings;
	uint16_t nr_host_tx_rings;
	uint16_t nr_host_rx_rings;
	uint16_t nr_mem_id;
	uint16_t nr_ringid;
	uint32_t nr_mode;
	uint32_t nr_extra_bufs; /* in: wanted, out: granted */
	uint64_t nr_flags;
};

struct nmreq_port_info_get {
	uint64_t nr_memsize;
	uint32_t nr_tx_slots;
	uint32_t nr_rx_slots;
	uint16_t nr_tx_rings;
	uint16_t nr_rx_rings;
	uint16_t nr_host_tx_rings;
	uint16_t nr_host_rx_rings;
	uint16_t nr_mem_id;
	uint16_t pad[3];
};

struct nmreq_vale_attach {
	struct nmreq_register reg;
	uint32_t port_index;
	uint32_t pad1;
};

struct nmreq_vale_detach {
	uint32_t port_index;
	uint32_t pad1;
};

struct nmreq_pst_fd {
	uint32_t fd;
	uint32_t pad;
};

struct nmreq_pools_info {
	uint64_t nr_memsize;
	uint16_t nr_mem_id;
	uint16_t pad1[3];
	uint64_t nr_if_pool_offset;
	uint32_t nr_if_pool_objtotal;
	uint32_t nr_if_pool_objsize;
	uint64_t nr_ring_pool_offset;
	uint32_t nr_ring_pool_objtotal;
	uint32_t nr_ring_pool_objsize;
	uint64_t nr_buf_pool_offset;
	uint32_t nr_buf_pool_objtotal;
	uint32_t nr_buf_pool_objsize;
};

struct nmreq_opt_extmem {
	struct nmreq_option nro_opt;
	uint64_t nro_usrptr;           /* page-aligned user address of the region */
	struct nmreq_pools_info nro_info; /* in: wanted (0: default), out: what was laid out */
};

struct nmreq_opt_offsets {
	struct nmreq_option nro_opt;
	uint64_t nro_max_offset;
	uint64_t nro_initial_offset;
	uint32_t nro_offset_bits;
	uint32_t nro_tx_align;
	uint64_t nro_min_gap;
};

/*
 * PASTE option RESERVE: bit i of the bitmap says that a persistent structure owns buffer i.
 * Applied before any ring or extra buffer is allocated; the buffers then belong to the
 * application as if they had been extra buffers. Needs EXTMEM. Bits of the buffers 0 and 1
 * must be clear (EINVAL).
 */
struct paste_opt_reserve {
	struct nmreq_option nro_opt;
	uint64_t bitmap; /* user address of little-endian 64-bit words */
	uint64_t bits;   /* valid bits; at most the pool's buffers, missing ones count as 0 */
};

/*
 * PASTE option KERNEL_RINGS: netmap_if and rings live in kernel memory, mapped with
 * mmap(/dev/paste, length = rings_size, offset 0); the user's memory holds buffers only.
 * netmap_ring.buf_ofs is then 0 and means nothing: buffer i is at
 * usrptr + nr_buf_pool_offset + i * nr_buf_pool_objsize of the user's own mapping.
 * Needs EXTMEM; nr_if_pool_* and nr_ring_pool_* then describe the kernel's part.
 */
struct paste_opt_kernel_rings {
	struct nmreq_option nro_opt;
	uint64_t rings_size; /* out: bytes to map */
};

/* ------------------------------------------------------------------ shared memory */

struct netmap_slot {
	uint32_t buf_idx;
	uint16_t len;
	uint16_t flags;
	uint64_t ptr; /* offset bits of the ring's offset_mask; pst ports: see PST_* */
};

#define NS_BUF_CHANGED 0x0001
#define NS_REPORT      0x0002
#define NS_FORWARD     0x0004
#define NS_NO_LEARN    0x0008
#define NS_INDIRECT    0x0010
#define NS_MOREFRAG    0x0020

/*
 * A slot of a pst port: ptr bits 0-7 netmap offset, 8-39 the socket's descriptor number,
 * 40-49 where the payload starts, counted from that offset; len counts from the offset too.
 * RX: len == payload start is an event: by itself it says that the peer ended its stream.
 * TX: the payload is sent from where it lies. The slot comes back with another buffer, unless
 * NS_PST_KEEP is set: then with the same one, still the application's. It must not be written
 * while the network stack may send it again; it may be given back at any time.
 */
#define PST_OFFSET_BITS 8
#define PST_OFFSET_MASK 0xffull
#define PST_FD_SHIFT    8
#define PST_FD_MASK     0xffffffffull
#define PST_DOFF_SHIFT  40
#define PST_DOFF_MASK   0x3ffull

#define NS_PST_KEEP 0x8000 /* (u) TX slot: the buffer stays the application's */

/*
 * With PASTE_NR_EVENTS an RX slot with len == payload start says in flags bits 8-14 what
 * happened, and in ptr bits 50-63 the errno. Without, only the end of a stream is told
 * (a reset is one, too), once per connection, and flags and these bits are 0.
 */
#define PST_EVENT_SHIFT 8
#define PST_EVENT_MASK  0x7f
#define PST_ERRNO_SHIFT 50
#define PST_ERRNO_MASK  0x3fffull

enum {
	PST_EVENT_END = 1,         /* the peer ended its stream; one may still send */
	PST_EVENT_RESET = 2,       /* the connection is dead: ECONNRESET, ETIMEDOUT ... */
	PST_EVENT_SEND_FAILED = 3, /* what was in TX slots and not yet sent never will be */
};

struct netmap_ring {
	int64_t buf_ofs; /* (k) buffer 0 from this ring, bytes */
	uint32_t num_slots;
	uint32_t nr_buf_size;
	uint16_t ringid;
	uint16_t dir; /* 0: tx, 1: rx */
	uint32_t head; /* (u) first slot owned by the user */
	uint32_t cur;  /* (u) wake-up point */
	uint32_t tail; /* (k) first slot owned by the kernel */
	uint32_t flags;
	int64_t ts_sec;
	int64_t ts_usec;
	uint64_t offset_mask;
	uint64_t buf_align;
	uint8_t pad[128 - 72];
	uint8_t sem[128];
	struct netmap_slot slot[];
};

#define NR_TIMESTAMP 0x0002
#define NR_FORWARD   0x0004

struct netmap_if {
	char ni_name[16];
	uint32_t ni_version;
	uint32_t ni_flags;
	uint32_t ni_tx_rings;
	uint32_t ni_rx_rings;
	uint32_t ni_bufs_head; /* first extra buffer; the first 4 bytes of each name the next */
	uint32_t ni_host_tx_rings;
	uint32_t ni_host_rx_rings;
	uint32_t ni_spare[3];
	int64_t ring_ofs[]; /* NIC tx, host tx, NIC rx, host rx; bytes from this struct */
};

#define NI_PRIV_MEM 0x1

#endif
