/* SPDX-License-Identifier: BSD-2-Clause */
/* transmit_slot.c -- TX slots of a pst port become entries of flows */
#include "kring.h"
#include "transmit_slot.h"

/* What became of a slot. */
enum fate {
	WAITS,  /* nothing was done */
	TAKEN,  /* it comes back */
	FOREIGN /* its buffer is not the application's: it comes back with another one */
};

/* What the user wrote into a slot, read once. */
struct slot_copy {
	uint32_t index, fd;
	uint16_t start, length; /* of the payload in the buffer, bytes */
	bool keep, sound;
};

static struct slot_copy copy_slot(const struct paste_kring *kring, uint32_t i)
{
	const struct netmap_slot *slot = &kring->ring->slot[i];
	uint64_t ptr = PASTE_READ_ONCE(slot->ptr);
	uint32_t flags = PASTE_READ_ONCE(slot->flags);
	uint32_t len = PASTE_READ_ONCE(slot->len);
	uint32_t offset = (uint32_t)(ptr & PST_OFFSET_MASK);
	uint32_t doff = (uint32_t)(ptr >> PST_DOFF_SHIFT & PST_DOFF_MASK);
	struct slot_copy copy = {
		.index = PASTE_READ_ONCE(slot->buf_idx),
		.fd = (uint32_t)(ptr >> PST_FD_SHIFT & PST_FD_MASK),
		.start = (uint16_t)(offset + doff),
		.keep = (flags & NS_PST_KEEP) != 0,
	};

	copy.sound = len > doff && offset + len <= kring->pool->buf_size &&
		     (flags & (NS_INDIRECT | NS_MOREFRAG)) == 0;
	copy.length = copy.sound ? (uint16_t)(len - doff) : 0;
	return copy;
}

/* The slot names no flow: it comes back as it is, and an event says so. */
static enum fate refuse(struct paste_transmit *transmit, const struct slot_copy *slot)
{
	if (!paste_flow_lost(transmit->flows, slot->fd, ENOTCONN))
		return WAITS;
	transmit->lost++;
	return TAKEN;
}

/* A slot whose buffer was forged is found out even if it would not be sent anyway. */
static bool is_genuine(struct paste_transmit *transmit, const struct slot_copy *slot)
{
	return paste_pool_move(transmit->pool, slot->index, PASTE_APP, PASTE_APP);
}

/* Under the lock. *fresh: what the slot gets; 0: nothing. */
static enum fate enqueue_slot(struct paste_transmit *transmit, struct paste_flow *flow,
			      const struct slot_copy *slot, uint32_t *fresh)
{
	struct paste_send send = { .index = slot->index, .offset = slot->start,
				   .length = slot->length };
	int error;

	/* One slot that waits holds back the flow's later ones: its bytes have an order. */
	if (flow->held_round == transmit->round || paste_transmit_full(transmit, flow))
		error = is_genuine(transmit, slot) ? EAGAIN : EINVAL;
	else
		error = paste_pool_send(transmit->pool, slot->index, slot->keep, fresh);
	if (error == EAGAIN) {
		flow->held_round = transmit->round;
		return WAITS;
	}
	if (error)
		return FOREIGN;
	paste_transmit_push(transmit, flow, &send);
	return TAKEN;
}

static enum fate accept(struct paste_transmit *transmit, const struct slot_copy *slot,
			uint32_t *fresh)
{
	struct paste_flow *flow;

	*fresh = 0;
	if (!slot->sound)
		return is_genuine(transmit, slot) ? TAKEN : FOREIGN;
	flow = paste_transmit_find(transmit, slot->fd);
	if (flow)
		return enqueue_slot(transmit, flow, slot, fresh);
	return is_genuine(transmit, slot) ? refuse(transmit, slot) : FOREIGN;
}

/* Under the lock. Returns whether the slot is done with; *bad: it was nonsense. */
static bool accept_slot(struct paste_transmit *transmit, struct paste_kring *kring, uint32_t i,
			bool *bad)
{
	struct slot_copy slot = copy_slot(kring, i);
	uint32_t fresh;
	enum fate fate = accept(transmit, &slot, &fresh);

	if (fate == WAITS)
		return false;
	if (fate == FOREIGN)
		kring->slot_buf[i] = PASTE_SLOT_EMPTY;
	else
		kring->slot_buf[i] = fresh != 0 ? fresh : PASTE_SLOT_AS_IS;
	*bad = fate == FOREIGN || !slot.sound;
	if (*bad)
		kring->bad_slots++;
	else
		kring->slots++;
	return true;
}

int paste_transmit_accept(struct paste_transmit *transmit, struct paste_kring *kring,
			  uint32_t *accepted)
{
	uint32_t head, i, steps = 0;
	int error = paste_kring_read_head(kring, &head);
	bool bad;

	*accepted = 0;
	if (error)
		return error;
	transmit->round++;
	paste_os_lock(&transmit->lock);
	for (i = kring->hwcur; i != head; i = paste_kring_next(kring, i)) {
		if (paste_os_turn_ends(&steps)) {
			paste_os_unlock(&transmit->lock);
			paste_os_lock(&transmit->lock);
		}
		/* Accepted earlier, behind one that waits. */
		if (kring->slot_buf[i] != 0)
			continue;
		if (!accept_slot(transmit, kring, i, &bad))
			continue;
		++*accepted;
		if (bad)
			error = EINVAL;
	}
	paste_os_unlock(&transmit->lock);
	while (kring->hwcur != head && kring->slot_buf[kring->hwcur] != 0)
		kring->hwcur = paste_kring_next(kring, kring->hwcur);
	return error;
}
