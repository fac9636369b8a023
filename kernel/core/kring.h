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
 *
 *   TX:   hwtail       hwcur        head (u)
 *     ------|------------|---------------|-----------------------
 *     user's|  being sent, slot_buf[]    |  the user's, up to hwtail
 *           |            |  to be sent   |
 */
#ifndef PASTE_KRING_H
#define PASTE_KRING_H

#include "pool.h"
#include "paste_abi.h"

/* In slot_buf, TX of pst ports: a slot that is done with and goes back ... */
#define PASTE_SLOT_AS_IS 1u          /* with what is in it */
#define PASTE_SLOT_EMPTY 0xffffffffu /* with a buffer, of which it has none */

struct paste_kring {
	struct netmap_ring *ring; /* user-writable */
	struct paste_pool *pool;
	uint32_t *slot_buf; /* the buffer in each slot of the kernel; 0: none */
	uint32_t num_slots;
	uint32_t hwcur;
	uint32_t hwtail;
	uint64_t offset_mask; /* TX: bits of a slot's ptr that are an offset */
	uint64_t slots;     /* ever published, or sent */
	uint64_t bad_rings; /* syncs refused: head or cur out of bounds */
	uint64_t bad_slots; /* slots refused: a foreign buffer, or nonsense */
	uint64_t dropped;   /* TX: frames that could not be sent */
};

static inline uint32_t paste_kring_next(const struct paste_kring *kring, uint32_t slot)
{
	return slot + 1 == kring->num_slots ? 0 : slot + 1;
}

/*
 * The head that the user wrote, if it and cur lie in the user's window [hwcur, hwtail]. EINVAL:
 * they do not; the ring was set straight.
 */
int paste_kring_read_head(struct paste_kring *kring, uint32_t *head);

/*
 * Start a ring in zeroed shared memory; every slot gets a buffer. ENOMEM: too few buffers; call
 * paste_kring_exit() and release the pool's SLOT and APP. The caller sets the ring's buf_ofs,
 * ringid and offset_mask.
 */
int paste_kring_open(struct paste_kring *kring, struct netmap_ring *ring,
		     struct paste_pool *pool, uint32_t num_slots); /* of no direction yet */
int paste_kring_rx_init(struct paste_kring *kring, struct netmap_ring *ring,
			struct paste_pool *pool, uint32_t num_slots);
int paste_kring_tx_init(struct paste_kring *kring, struct netmap_ring *ring,
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
 * in it is released. The user sees it after commit. Under the pool's lock.
 */
void paste_kring_rx_publish(struct paste_kring *kring, uint32_t index, uint16_t len,
			    uint64_t ptr);
/* The same with the buffer that is in the slot anyway. False: it has none, the pool neither. */
bool paste_kring_rx_publish_own(struct paste_kring *kring, uint16_t len, uint16_t flags,
				uint64_t ptr);
void paste_kring_rx_commit(struct paste_kring *kring);
/*
 * Sends length bytes from offset in buffer index. The buffer is DEVICE until somebody moves it
 * to SLOT. EAGAIN: not now; the slot waits. Any other error: the frame is dropped.
 */
typedef int (*paste_kring_send)(void *context, uint32_t index, uint32_t offset,
				uint16_t length);
/*
 * Send what the user filled. EINVAL as for RX, or after the sync: some slots were nonsense, and
 * were not sent.
 */
int paste_kring_tx_sync(struct paste_kring *kring, paste_kring_send send, void *context);
/* Give slots back whose buffers are sent, and show the user. */
void paste_kring_tx_commit(struct paste_kring *kring);

/* cur != tail. Any context; a hint. */
bool paste_kring_readable(const struct paste_kring *kring);

#endif
