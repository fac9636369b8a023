/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * vring.h -- one virtqueue, operated by ourselves where that is possible.
 *
 * It is a split ring in ordinary memory then; see vring.c. The caller serialises all calls, but
 * disable may come at any time.
 */
#ifndef PASTE_LINUX_VRING_H
#define PASTE_LINUX_VRING_H

#include <linux/virtio.h>
#include <linux/virtio_ring.h>

/* Part of a chain: length bytes of one page, or of memory of the kernel's own. */
struct paste_piece {
	phys_addr_t start;
	unsigned int length;
};

#define PASTE_CHAIN_MAX 20 /* pieces */

struct paste_vring {
	struct virtqueue *vq;
	const struct vring *ring; /* NULL: virtio's own calls are used */
	unsigned int num;         /* descriptors, a power of two */
	unsigned int num_free;
	bool event;               /* VIRTIO_RING_F_EVENT_IDX */
	bool quiet;               /* no interrupts wanted */
	bool broken;              /* the device reported nonsense: nothing more comes */
	u16 avail, kicked, used;  /* chains ever made available, told of, taken back; modulo 2^16 */
	u16 free;                 /* the first free descriptor */
	struct paste_chain *chains; /* by descriptor */
};

/* Negative errno. The virtqueue is new. */
int paste_vring_init(struct paste_vring *vring, struct virtqueue *vq);
void paste_vring_exit(struct paste_vring *vring);
/* out pieces that the device reads, then in that it writes. token: not NULL. -ENOSPC: no room. */
int paste_vring_add(struct paste_vring *vring, const struct paste_piece *pieces, unsigned int out,
		    unsigned int in, void *token);
/* The token of the next chain that the device is done with, NULL: none. */
void *paste_vring_get(struct paste_vring *vring, unsigned int *written);
/* After a reset: the token of a chain that the device still had. */
void *paste_vring_detach(struct paste_vring *vring);
void paste_vring_kick(struct paste_vring *vring);

/* Interrupts: a hint in either direction. */
void paste_vring_disable(struct paste_vring *vring);
/* From the next chain on. Then ask whether one has come since. */
u16 paste_vring_enable(struct paste_vring *vring);
bool paste_vring_has_more(struct paste_vring *vring, u16 position);
/* When most are done. False: they are already. */
bool paste_vring_enable_delayed(struct paste_vring *vring);
/* An interrupt may get lost; see vring.c. */
static inline bool paste_vring_may_miss(const struct paste_vring *vring)
{
	u16 left = -vring->used;

	return left <= (u16)(vring->avail - vring->used) && left && vring->ring;
}

static inline unsigned int paste_vring_room(const struct paste_vring *vring)
{
	return vring->ring ? vring->num_free : vring->vq->num_free;
}

#endif
