/* SPDX-License-Identifier: BSD-2-Clause */
/* rings.c -- a device's slots and buffers */
#include "device.h"

struct netmap_ring *device_ring(struct device *device, int number)
{
	return ring_number(device->nifp, (uint32_t)number);
}

char *device_buffer(struct device *device, uint32_t index)
{
	return device->buffers + (size_t)index * device->ring->nr_buf_size;
}

char *device_payload(struct device *device, const struct netmap_slot *slot, uint32_t *length)
{
	return slot_payload(slot, device_buffer(device, slot->buf_idx), device->ring->nr_buf_size,
			    length);
}

uint32_t device_extra(struct device *device)
{
	return extra_take(device->nifp, device->buffers, device->ring->nr_buf_size);
}
