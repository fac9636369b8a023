/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pool.h -- buffers of one region, and who owns each.
 *
 * A buffer is in exactly one place: it has one owner. Apart from that the network stack may
 * hold references to its bytes (stack_refs). It returns to the free list when it has neither.
 * User space names buffers by index; an index is accepted only if the application owns it, so
 * a forged, duplicate or stale one is found out here and nowhere else.
 *
 *   FREE -take-> DEVICE -lend-> NONE(stack_refs 1) -capture-> QUEUED -publish-> APP
 *    ^             |               |                                             |
 *    +---release---+----put--------+------------------- SLOT <----claim---------+
 *                                  ^                                            |
 *                                  +-------------------send---------------------+
 */
#ifndef PASTE_POOL_H
#define PASTE_POOL_H

#include "paste_os.h"

#define PASTE_FIRST_BUFFER 2u /* 0 and 1 are never lent */

enum paste_owner {
	PASTE_FREE,   /* on the free list */
	PASTE_NONE,   /* only the network stack refers to it */
	PASTE_DEVICE, /* posted to a NIC */
	PASTE_QUEUED, /* captured payload, waits for a slot */
	PASTE_SLOT,   /* in a slot that the kernel owns */
	PASTE_APP,    /* the application's: in its slots, an extra buffer, or reserved */
	PASTE_OWNERS,
};

struct paste_buffer {
	uint32_t next;       /* free list, or the queue of its flow */
	uint16_t offset;     /* QUEUED: where the payload starts, bytes */
	uint16_t length;     /* QUEUED: payload bytes */
	uint32_t stack_refs; /* references of the network stack, received and sent data */
	uint8_t owner;
};

struct paste_pool {
	struct paste_os_lock lock; /* every field below it */
	uint32_t refs;             /* ports, NICs, and one while stack_refs of any buffer */
	uint32_t free_head;
	uint32_t count[PASTE_OWNERS];
	uint32_t lent;             /* buffers with stack_refs */
	struct paste_buffer *buffers;

	/* constant after init */
	struct paste_os_region *region;
	uint64_t buf_offset; /* buffer 0 in the region, bytes, page-aligned */
	uint32_t buf_size;   /* 2048 or 4096: no buffer crosses a page */
	uint32_t total;      /* indices are [2, total); 0 and 1 are never lent */
	uint32_t frame_offset; /* a NIC writes frames from here in a buffer, bytes */
	void *os;            /* what the glue keeps per buffer */
};

/* Takes region over (also on error: it frees it then). One reference is the caller's. */
int paste_pool_create(struct paste_os_region *region, uint64_t buf_offset, uint32_t buf_size,
		      uint32_t total, struct paste_pool **pool);
void paste_pool_get(struct paste_pool *pool);
void paste_pool_put(struct paste_pool *pool); /* any context */
void paste_pool_destroy(struct paste_pool *pool); /* only from paste_os_pool_defer_destroy */

/*
 * Bit i: the application owns buffer i. EINVAL: bits of 0, 1 or beyond; EBUSY: one is not free.
 * Takes no lock: only while the pool is new.
 */
int paste_pool_reserve(struct paste_pool *pool, const uint64_t *bitmap, uint64_t bits);

/* A free buffer for owner; 0 when there is none. */
uint32_t paste_pool_take(struct paste_pool *pool, enum paste_owner owner);
/* Up to count of them; returns how many there were. */
uint32_t paste_pool_take_many(struct paste_pool *pool, enum paste_owner owner, uint32_t *indices,
			      uint32_t count);
/* from -> to. False, and nothing happens, unless index is valid and from owns it. */
bool paste_pool_move(struct paste_pool *pool, uint32_t index, enum paste_owner from,
		     enum paste_owner to);
/* from gives it up: free, or NONE until the stack's last reference goes. False as above. */
bool paste_pool_release(struct paste_pool *pool, uint32_t index, enum paste_owner from);

/*
 * To be sent: the application's buffer gets one more stack reference. Unless the application
 * keeps it, APP -> NONE, and *fresh is a free buffer that is SLOT now. EINVAL: it is not the
 * application's; EAGAIN: no buffer is free.
 */
int paste_pool_send(struct paste_pool *pool, uint32_t index, bool keep, uint32_t *fresh);
/* One more reference of a buffer that has one. Any context. */
void paste_pool_stack_get(struct paste_pool *pool, uint32_t index);
/* DEVICE -> NONE with one stack reference. False as above, or while the stack refers to it. */
bool paste_pool_lend(struct paste_pool *pool, uint32_t index);
/* A stack reference went (any context). */
void paste_pool_stack_put(struct paste_pool *pool, uint32_t index);
/* NONE -> QUEUED. False when payload of this buffer was captured already: copy it then. */
bool paste_pool_capture(struct paste_pool *pool, uint32_t index);

/* The same, and the stack's only reference goes. False: there are others, too. */
bool paste_pool_steal(struct paste_pool *pool, uint32_t index);

/*
 * For many buffers at once: lock, and the same as above for each. Short: the stack waits.
 */
static inline void paste_pool_lock(struct paste_pool *pool)
{
	paste_os_lock(&pool->lock);
}

static inline void paste_pool_unlock(struct paste_pool *pool)
{
	paste_os_unlock(&pool->lock);
}

static inline bool paste_pool_owns(const struct paste_pool *pool, uint32_t index,
				   enum paste_owner owner)
{
	return index >= PASTE_FIRST_BUFFER && index < pool->total &&
	       pool->buffers[index].owner == (uint8_t)owner;
}

/* For the pool itself. */
static inline void paste_pool_set_owner(struct paste_pool *pool, struct paste_buffer *buffer,
					enum paste_owner to)
{
	pool->count[buffer->owner]--;
	pool->count[to]++;
	buffer->owner = (uint8_t)to;
}

static inline bool paste_pool_move_locked(struct paste_pool *pool, uint32_t index,
					  enum paste_owner from, enum paste_owner to)
{
	if (!paste_pool_owns(pool, index, from))
		return false;
	paste_pool_set_owner(pool, &pool->buffers[index], to);
	return true;
}

/* Publish: index QUEUED -> APP; former, unless 0, is released by SLOT. False as above. */
bool paste_pool_swap_locked(struct paste_pool *pool, uint32_t former, uint32_t index);
uint32_t paste_pool_take_locked(struct paste_pool *pool, enum paste_owner owner);

/* Once per step of a long loop under the lock. */
static inline void paste_pool_step(struct paste_pool *pool, uint32_t *steps)
{
	if (!paste_os_turn_ends(steps))
		return;
	paste_pool_unlock(pool);
	paste_pool_lock(pool);
}

/* Everything that owner holds becomes free (an application ended). */
void paste_pool_release_all(struct paste_pool *pool, enum paste_owner owner);

uint32_t paste_pool_count(struct paste_pool *pool, enum paste_owner owner);
/* The same without the lock: what was true a moment ago. */
static inline uint32_t paste_pool_guess(const struct paste_pool *pool, enum paste_owner owner)
{
	return PASTE_READ_ONCE(pool->count[owner]);
}

/* The buffer's bytes in the kernel's mapping. index must be valid. */
void *paste_pool_address(const struct paste_pool *pool, uint32_t index);

#endif
