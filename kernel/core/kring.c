/* SPDX-License-Identifier: BSD-2-Clause */
/* kring.c -- the kernel's private twin of a ring; the receive direction */
#include "kring.h"

#define RING_DIR_RX  1

/* Steps forward from one slot to another. */
static uint32_t distance(const struct paste_kring *kring, uint32_t from, uint32_t to)
{
	return to >= from ? to - from : to + kring->num_slots - from;
}

static void clear_slot(struct netmap_slot *slot)
{
	PASTE_WRITE_ONCE(slot->buf_idx, 0);
	PASTE_WRITE_ONCE(slot->len, 0);
	PASTE_WRITE_ONCE(slot->flags, 0);
	PASTE_WRITE_ONCE(slot->ptr, 0);
}

int paste_kring_open(struct paste_kring *kring, struct netmap_ring *ring,
		     struct paste_pool *pool, uint32_t num_slots)
{
	uint32_t i, index;

	memset(kring, 0, sizeof(*kring));
	kring->slot_buf = paste_os_alloc(num_slots * sizeof(*kring->slot_buf));
	if (!kring->slot_buf)
		return ENOMEM;
	kring->ring = ring;
	kring->pool = pool;
	kring->num_slots = num_slots;
	for (i = 0; i < num_slots; i++) {
		index = paste_pool_take(pool, PASTE_SLOT);
		if (index == 0)
			return ENOMEM;
		kring->slot_buf[i] = index;
		ring->slot[i].buf_idx = index;
	}
	ring->num_slots = num_slots;
	ring->nr_buf_size = pool->buf_size;
	return 0;
}

int paste_kring_rx_init(struct paste_kring *kring, struct netmap_ring *ring,
			struct paste_pool *pool, uint32_t num_slots)
{
	ring->dir = RING_DIR_RX;
	return paste_kring_open(kring, ring, pool, num_slots);
}

void paste_kring_exit(struct paste_kring *kring)
{
	paste_os_free(kring->slot_buf);
	memset(kring, 0, sizeof(*kring));
}

/* What netmap_ring_reinit() does: nonsense in the user's slots is cleared, indices go back. */
static void set_straight(struct paste_kring *kring)
{
	struct netmap_ring *ring = kring->ring;
	uint32_t i, index;

	for (i = kring->hwcur; i != kring->hwtail; i = paste_kring_next(kring, i)) {
		index = PASTE_READ_ONCE(ring->slot[i].buf_idx);
		if (index < PASTE_FIRST_BUFFER || index >= kring->pool->total)
			clear_slot(&ring->slot[i]);
		else if (PASTE_READ_ONCE(ring->slot[i].len) > kring->pool->buf_size)
			PASTE_WRITE_ONCE(ring->slot[i].len, 0);
	}
	PASTE_WRITE_ONCE(ring->head, kring->hwcur);
	PASTE_WRITE_ONCE(ring->cur, kring->hwcur);
	PASTE_STORE_RELEASE(&ring->tail, kring->hwtail);
}

/*
 * The user gives a slot back; its buffer counts only if it is the application's to give. (While
 * the slot was the user's, slot_buf was 0.)
 */
static bool collect(struct paste_kring *kring, uint32_t i)
{
	struct netmap_slot *slot = &kring->ring->slot[i];
	uint32_t index = PASTE_READ_ONCE(slot->buf_idx);

	if (paste_pool_move_locked(kring->pool, index, PASTE_APP, PASTE_SLOT)) {
		kring->slot_buf[i] = index;
		return true;
	}
	kring->bad_slots++;
	clear_slot(slot);
	return false;
}

int paste_kring_read_head(struct paste_kring *kring, uint32_t *result)
{
	uint32_t head = PASTE_LOAD_ACQUIRE(&kring->ring->head);
	uint32_t cur = PASTE_READ_ONCE(kring->ring->cur);
	uint32_t held = distance(kring, kring->hwcur, kring->hwtail);

	if (head >= kring->num_slots || cur >= kring->num_slots ||
	    distance(kring, kring->hwcur, cur) > held ||
	    distance(kring, kring->hwcur, cur) < distance(kring, kring->hwcur, head)) {
		kring->bad_rings++;
		set_straight(kring);
		return EINVAL;
	}
	*result = head;
	return 0;
}

int paste_kring_rx_begin(struct paste_kring *kring, uint32_t *rejected)
{
	uint32_t head, i, steps = 0;
	int error = paste_kring_read_head(kring, &head);

	*rejected = 0;
	if (error)
		return error;
	paste_pool_lock(kring->pool);
	for (i = kring->hwcur; i != head; i = paste_kring_next(kring, i)) {
		if (!collect(kring, i))
			++*rejected;
		paste_pool_step(kring->pool, &steps);
	}
	paste_pool_unlock(kring->pool);
	kring->hwcur = head;
	return 0;
}

uint32_t paste_kring_rx_space(const struct paste_kring *kring)
{
	/* One slot stays the kernel's: a full ring would look like an empty one. */
	return kring->num_slots - 1 - distance(kring, kring->hwcur, kring->hwtail);
}

static void write_slot(struct paste_kring *kring, uint32_t index, uint16_t len, uint16_t flags,
		       uint64_t ptr)
{
	struct netmap_slot *slot = &kring->ring->slot[kring->hwtail];

	PASTE_WRITE_ONCE(slot->buf_idx, index);
	PASTE_WRITE_ONCE(slot->len, len);
	PASTE_WRITE_ONCE(slot->flags, flags);
	PASTE_WRITE_ONCE(slot->ptr, ptr);
	kring->slot_buf[kring->hwtail] = 0;
	kring->slots++;
	PASTE_WRITE_ONCE(kring->hwtail, paste_kring_next(kring, kring->hwtail));
}

void paste_kring_rx_publish(struct paste_kring *kring, uint32_t index, uint16_t len,
			    uint64_t ptr)
{
	if (paste_pool_swap_locked(kring->pool, kring->slot_buf[kring->hwtail], index))
		write_slot(kring, index, len, 0, ptr);
}

bool paste_kring_rx_publish_own(struct paste_kring *kring, uint16_t len, uint16_t flags,
				uint64_t ptr)
{
	uint32_t index = kring->slot_buf[kring->hwtail];

	if (index != 0)
		paste_pool_move_locked(kring->pool, index, PASTE_SLOT, PASTE_APP);
	else
		index = paste_pool_take_locked(kring->pool, PASTE_APP);
	if (index == 0)
		return false;
	write_slot(kring, index, len, flags, ptr);
	return true;
}

void paste_kring_rx_commit(struct paste_kring *kring)
{
	PASTE_STORE_RELEASE(&kring->ring->tail, kring->hwtail);
}

bool paste_kring_readable(const struct paste_kring *kring)
{
	return PASTE_READ_ONCE(kring->ring->cur) != PASTE_READ_ONCE(kring->hwtail);
}
