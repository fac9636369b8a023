/* SPDX-License-Identifier: BSD-2-Clause */
/* kring_tx.c -- the transmit direction of krings */
#include "kring.h"

int paste_kring_tx_init(struct paste_kring *kring, struct netmap_ring *ring,
			struct paste_pool *pool, uint32_t num_slots)
{
	int error = paste_kring_open(kring, ring, pool, num_slots);
	uint32_t i;

	if (error)
		return error;
	/* All slots but the last are the user's from the start. */
	kring->hwtail = num_slots - 1;
	ring->tail = kring->hwtail;
	for (i = 0; i < kring->hwtail; i++) {
		paste_pool_move(pool, kring->slot_buf[i], PASTE_SLOT, PASTE_APP);
		kring->slot_buf[i] = 0;
	}
	return 0;
}

/* What the user wrote into a slot, read once. */
struct tx_slot {
	uint32_t index;
	uint32_t offset;
	uint16_t length;
	bool sound;
};

static struct tx_slot read_tx_slot(const struct paste_kring *kring, uint32_t i)
{
	const struct netmap_slot *slot = &kring->ring->slot[i];
	uint16_t flags = PASTE_READ_ONCE(slot->flags);
	uint64_t offset = PASTE_READ_ONCE(slot->ptr) & kring->offset_mask;
	struct tx_slot read = {
		.index = PASTE_READ_ONCE(slot->buf_idx),
		.length = PASTE_READ_ONCE(slot->len),
	};

	/* A frame is one buffer: neither memory elsewhere nor the next slot belongs to it. */
	read.sound = read.length != 0 && read.length <= kring->pool->buf_size &&
		     offset <= kring->pool->buf_size - read.length &&
		     (flags & (NS_INDIRECT | NS_MOREFRAG)) == 0;
	read.offset = read.sound ? (uint32_t)offset : 0;
	return read;
}

/* EAGAIN: the slot waits; EINVAL: it was nonsense, and is done with. */
static int send_slot(struct paste_kring *kring, uint32_t i, paste_kring_send send,
		     void *context)
{
	struct tx_slot slot = read_tx_slot(kring, i);
	int error;

	kring->slot_buf[i] = 0;
	if (!paste_pool_move(kring->pool, slot.index, PASTE_APP,
			     slot.sound ? PASTE_DEVICE : PASTE_SLOT)) {
		kring->bad_slots++;
		return EINVAL;
	}
	kring->slot_buf[i] = slot.index;
	if (!slot.sound) {
		kring->bad_slots++;
		return EINVAL;
	}
	error = send(context, slot.index, slot.offset, slot.length);
	if (error == EAGAIN) {
		kring->slot_buf[i] = 0;
		paste_pool_move(kring->pool, slot.index, PASTE_DEVICE, PASTE_APP);
		return EAGAIN;
	}
	if (error) {
		paste_pool_move(kring->pool, slot.index, PASTE_DEVICE, PASTE_SLOT);
		kring->dropped++;
		return 0;
	}
	kring->slots++;
	return 0;
}

int paste_kring_tx_sync(struct paste_kring *kring, paste_kring_send send, void *context)
{
	uint32_t head;
	int error = paste_kring_read_head(kring, &head);
	int result = 0;

	if (error)
		return error;
	while (kring->hwcur != head) {
		error = send_slot(kring, kring->hwcur, send, context);
		if (error == EAGAIN)
			break;
		if (error)
			result = error;
		kring->hwcur = paste_kring_next(kring, kring->hwcur);
	}
	return result;
}

/* Nobody sends from this slot's buffer, if it has one. Under the pool's lock, like the next. */
static bool is_done(const struct paste_kring *kring, uint32_t i)
{
	uint32_t index = kring->slot_buf[i];

	return index == 0 || index == PASTE_SLOT_AS_IS || index == PASTE_SLOT_EMPTY ||
	       paste_pool_owns(kring->pool, index, PASTE_SLOT);
}

/* To the user: with the buffer that was in it, or another one if the user put none in. */
static void hand_over(struct paste_kring *kring, uint32_t i)
{
	struct netmap_slot *slot = &kring->ring->slot[i];
	uint32_t index = kring->slot_buf[i];

	if (index == 0 || index == PASTE_SLOT_EMPTY)
		index = paste_pool_take_locked(kring->pool, PASTE_APP);
	else if (index != PASTE_SLOT_AS_IS)
		paste_pool_move_locked(kring->pool, index, PASTE_SLOT, PASTE_APP);
	kring->slot_buf[i] = 0;
	if (index != PASTE_SLOT_AS_IS)
		PASTE_WRITE_ONCE(slot->buf_idx, index);
	PASTE_WRITE_ONCE(slot->flags, 0);
}

void paste_kring_tx_commit(struct paste_kring *kring)
{
	uint32_t next = paste_kring_next(kring, kring->hwtail);
	uint32_t steps = 0;

	/*
	 * The slot at tail stays the kernel's until the next one is sent too: then head == tail + 1
	 * says that everything is sent. A slot that is being sent holds the later ones back.
	 */
	paste_pool_lock(kring->pool);
	while (next != kring->hwcur && is_done(kring, next)) {
		hand_over(kring, kring->hwtail);
		PASTE_WRITE_ONCE(kring->hwtail, next);
		next = paste_kring_next(kring, next);
		paste_pool_step(kring->pool, &steps);
	}
	paste_pool_unlock(kring->pool);
	PASTE_STORE_RELEASE(&kring->ring->tail, kring->hwtail);
}
