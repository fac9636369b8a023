/* SPDX-License-Identifier: BSD-2-Clause */
/* rings.c -- slots and buffers as the user sees them */
#include "device.h"

struct netmap_ring *device_ring(struct device *device, int number)
{
	CHECK(device->nifp->ring_ofs[number] != 0);
	return (void *)((char *)device->nifp + device->nifp->ring_ofs[number]);
}

uint32_t ring_next(const struct netmap_ring *ring, uint32_t slot)
{
	return slot + 1 == ring->num_slots ? 0 : slot + 1;
}

void ring_advance(struct netmap_ring *ring)
{
	ring->head = ring->cur = ring_next(ring, ring->head);
}

char *device_buffer(struct device *device, uint32_t index)
{
	return device->buffers + (size_t)index * device->ring->nr_buf_size;
}

char *device_payload(struct device *device, const struct netmap_slot *slot, uint32_t *length)
{
	uint32_t offset = (uint32_t)(slot->ptr & PST_OFFSET_MASK);
	uint32_t start = (uint32_t)(slot->ptr >> PST_DOFF_SHIFT & PST_DOFF_MASK);

	CHECK(slot->len >= start);
	CHECK(offset + slot->len <= device->ring->nr_buf_size);
	*length = slot->len - start;
	return device_buffer(device, slot->buf_idx) + offset + start;
}

int slot_fd(const struct netmap_slot *slot)
{
	return (int)(slot->ptr >> PST_FD_SHIFT & PST_FD_MASK);
}

uint32_t device_extra(struct device *device)
{
	uint32_t index = device->nifp->ni_bufs_head;

	if (index != 0)
		memcpy(&device->nifp->ni_bufs_head, device_buffer(device, index), sizeof(index));
	return index;
}
