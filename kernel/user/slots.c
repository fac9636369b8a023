/* SPDX-License-Identifier: BSD-2-Clause */
/* slots.c -- reads and moves what is in shared memory */
#include <string.h>

#include "check.h"
#include "slots.h"

struct netmap_ring *ring_number(struct netmap_if *nifp, uint32_t number)
{
	CHECK(nifp->ring_ofs[number] != 0);
	return (struct netmap_ring *)((char *)nifp + nifp->ring_ofs[number]);
}

uint32_t ring_next(const struct netmap_ring *ring, uint32_t slot)
{
	return slot + 1 == ring->num_slots ? 0 : slot + 1;
}

void ring_advance(struct netmap_ring *ring)
{
	ring->head = ring->cur = ring_next(ring, ring->head);
}

uint32_t slot_fd(const struct netmap_slot *slot)
{
	return (uint32_t)(slot->ptr >> PST_FD_SHIFT & PST_FD_MASK);
}

char *slot_payload(const struct netmap_slot *slot, char *buffer, uint32_t buf_size,
		   uint32_t *length)
{
	uint32_t offset = (uint32_t)(slot->ptr & PST_OFFSET_MASK);
	uint32_t start = (uint32_t)(slot->ptr >> PST_DOFF_SHIFT & PST_DOFF_MASK);

	CHECK(slot->len >= start);
	CHECK(offset + slot->len <= buf_size);
	*length = slot->len - start;
	return buffer + offset + start;
}

uint32_t extra_take(struct netmap_if *nifp, const char *buffers, uint32_t buf_size)
{
	uint32_t index = nifp->ni_bufs_head;

	if (index != 0)
		memcpy(&nifp->ni_bufs_head, buffers + (size_t)index * buf_size, sizeof(index));
	return index;
}
