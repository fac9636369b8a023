/* SPDX-License-Identifier: BSD-2-Clause */
/* hostile_rings.c -- rings whose user writes anything */
#include <sys/mman.h>

#include "hostile.h"

/* Another port may have the same memory: nothing in it is certain. */
static struct netmap_ring *ring_at(const char *base, size_t bytes, int64_t offset, uint32_t slots)
{
	size_t needed = sizeof(struct netmap_ring) + slots * sizeof(struct netmap_slot);

	if (offset <= 0 || offset % 64 != 0 || (size_t)offset > bytes ||
	    bytes - (size_t)offset < needed)
		return NULL;
	return (void *)(base + offset);
}

void hostile_find_rings(struct victim *victim)
{
	struct device *device = &victim->device;
	const struct request *request = &device->request;
	size_t bytes = request->kernel_rings.rings_size ?
		request->kernel_rings.rings_size : request->body.reg.nr_memsize;
	char *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, device->fd, 0);
	uint32_t i, slots;

	if (base != MAP_FAILED) {
		device->rings = base;
		device->mapped = bytes;
	} else if (request->extmem.nro_usrptr == (uintptr_t)device->memory) {
		base = device->memory;
		bytes = DEVICE_MEMORY;
	} else {
		return;
	}
	device->nifp = (void *)base;
	for (i = 0; i < 4; i++) {
		slots = i < 2 && request->body.reg.nr_tx_rings ? request->body.reg.nr_tx_slots :
								  request->body.reg.nr_rx_slots;
		victim->slots[i] = slots;
		victim->rings[i] = slots <= 16384 ?
			ring_at(base, bytes, device->nifp->ring_ofs[i], slots) : NULL;
	}
}

static void scribble_slot(struct netmap_slot *slot, struct check_random *random)
{
	slot->buf_idx = check_below(random, 2200);
	slot->len = (uint16_t)(check_below(random, 2) ? check_below(random, 1500) :
							check_random(random));
	slot->flags = (uint16_t)(check_below(random, 4) ? 0 : check_random(random));
	if (check_below(random, 4) == 0)
		slot->ptr = check_random(random);
}

/* Slots that came are returned as they are, if luck has it; so frames do move. */
static void scribble_ring(struct netmap_ring *ring, uint32_t slots, struct check_random *random)
{
	uint32_t rounds = check_below(random, 4);

	for (; rounds > 0; rounds--)
		scribble_slot(&ring->slot[check_below(random, slots)], random);
	switch (check_below(random, 8)) {
	case 0:
		ring->head = check_below(random, slots + 2);
		break;
	case 1:
		ring->cur = check_below(random, slots + 2);
		break;
	case 2:
		ring->tail = (uint32_t)check_random(random);
		break;
	case 3:
		ring->num_slots = (uint32_t)check_random(random);
		ring->nr_buf_size = (uint32_t)check_random(random);
		ring->buf_ofs = (int64_t)check_random(random);
		ring->offset_mask = check_random(random);
		break;
	default:
		ring->head = ring->cur = ring->tail;
		break;
	}
}

void hostile_scribble(struct victim *victim, struct check_random *random)
{
	uint32_t i;

	for (i = 0; i < 4; i++)
		if (victim->rings[i])
			scribble_ring(victim->rings[i], victim->slots[i], random);
	if (victim->device.nifp && check_below(random, 16) == 0)
		memset(victim->device.nifp, (int)check_random(random),
		       sizeof(*victim->device.nifp));
}
