/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kring.h -- the kernel's private twin of a ring.
 *
 * The shared ring is the user's to scribble on. What the kernel believes stands here: hwcur,
 * hwtail and the buffer in each slot that it owns. Shared fields are read once per sync and
 * checked against these. Calls on one kring are serialised by the caller.
 *
 *   RX:   hwcur        head (u)        hwtail
 *     ------|------------|---------------|-----------------------
 *     kernel|  given back|   the user's  |  kernel's, slot_buf[] valid
 */
#ifndef PASTE_KRING_H
#define PASTE_KRING_H

#include "pool.h"
#include "paste_abi.h"

struct paste_kring {
	struct netmap_ring *ring; /* user-writable */
	struct paste_pool *pool;
	uint32_t *slot_buf; /* the buffer in each slot of the kernel; 0: none */
	uint32_t num_slots;
	uint32_t hwcur;
	uint32_t hwtail;
	uint64_t slots;     /* ever published */
	uint64_t bad_rings; /* syncs refused: head or cur out of bounds */
	uint64_t bad_slots; /* slots whose buffer the application did not own */
};

/*
 * Start an RX ring in zeroed shared memory; every slot gets a buffer. ENOMEM: too few buffers
 * (nothing is kept then). The caller sets ring->buf_ofs, ringid and offset_mask.
 */
int paste_kring_rx_init(struct paste_kring *kring, struct netmap_ring *ring,
			struct paste_pool *pool, uint32_t num_slots);
/* The kernel's part ends. Buffers stay with their owners, see paste_pool_release_all(). */
void paste_kring_exit(struct paste_kring *kring);

/*
 * Take back the slots that the user released. EINVAL: head or cur are out of bounds; the ring
 * is set straight then and nothing was taken. *rejected: slots whose buffer was not the
 * application's; they hold none now.
 */
int paste_kring_rx_begin(struct paste_kring *kring, uint32_t *rejected);
/* Slots that can be published. */
uint32_t paste_kring_rx_space(const struct paste_kring *kring);
/*
 * The next slot (there must be space) gets buffer index, QUEUED until now; the buffer that was
 * in it is released. The user sees it after commit.
 */
void paste_kring_rx_publish(struct paste_kring *kring, uint32_t index, uint16_t len,
			    uint64_t ptr);
/* The same with the buffer that is in the slot anyway. False: it has none, the pool neither. */
bool paste_kring_rx_publish_own(struct paste_kring *kring, uint16_t len, uint64_t ptr);
void paste_kring_rx_commit(struct paste_kring *kring);
/* cur != tail. Any context; a hint. */
bool paste_kring_readable(const struct paste_kring *kring);

#endif
