// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * vring.c -- one virtqueue, operated by ourselves where that is possible.
 *
 * virtio's calls are made for every kind of ring and of memory. Where the ring is a split one, the
 * device sees physical memory as we do, and no stronger barriers are asked for, descriptors are
 * written here: a fifth of the instructions. Otherwise the same functions use virtio's calls.
 *
 * virtio's interrupt handler still looks whether there is anything, and compares the device's
 * index with that of the last chain that it has taken back itself: always 0. So it ignores an
 * interrupt that finds the device's index at 0 again, once in 65536 chains. Who waits for an
 * interrupt while that index is in reach (paste_vring_may_miss) has to look after a while.
 *
 * What the device writes (the used ring) is checked; free descriptors are linked in memory of our
 * own.
 */
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>
#include <uapi/linux/virtio_ring.h>
#include <xen/xen.h>

#include "vring.h"

struct paste_chain {
	void *token;      /* of the chain that begins here, NULL: none does */
	u16 next;         /* descriptor of the chain, or the next free one */
	u16 last, length; /* of the chain that begins here: its last descriptor; how many */
};

static bool is_operable(const struct virtio_device *vdev)
{
	return virtio_has_feature(vdev, VIRTIO_F_VERSION_1) && virtio_has_dma_quirk(vdev) &&
	       !virtio_has_feature(vdev, VIRTIO_F_RING_PACKED) &&
	       !virtio_has_feature(vdev, VIRTIO_F_ORDER_PLATFORM) && !xen_domain();
}

int paste_vring_init(struct paste_vring *vring, struct virtqueue *vq)
{
	unsigned int i, num = virtqueue_get_vring_size(vq);

	memset(vring, 0, sizeof(*vring));
	vring->vq = vq;
	vring->num = num;
	if (!is_operable(vq->vdev))
		return 0;
	vring->chains = kvcalloc(num, sizeof(*vring->chains), GFP_KERNEL);
	if (!vring->chains)
		return -ENOMEM;
	for (i = 0; i < num; i++)
		vring->chains[i].next = i + 1;
	vring->num_free = num;
	vring->event = virtio_has_feature(vq->vdev, VIRTIO_RING_F_EVENT_IDX);
	vring->ring = virtqueue_get_vring(vq);
	return 0;
}

void paste_vring_exit(struct paste_vring *vring)
{
	kvfree(vring->chains);
	memset(vring, 0, sizeof(*vring));
}

/* ------------------------------------------------------------------ virtio's calls */

static int add_by_virtio(struct paste_vring *vring, const struct paste_piece *pieces,
			 unsigned int out, unsigned int in, void *token)
{
	struct scatterlist list[PASTE_CHAIN_MAX], *halves[] = { list, list + out };
	unsigned int i;

	if (vring->vq->num_free < out + in)
		return -ENOSPC;
	sg_init_table(list, out + in);
	for (i = 0; i < out + in; i++)
		sg_set_page(&list[i], pfn_to_page(PHYS_PFN(pieces[i].start)), pieces[i].length,
			    offset_in_page(pieces[i].start));
	if (out && in)
		sg_mark_end(&list[out - 1]);
	return virtqueue_add_sgs(vring->vq, halves + !out, !!out, !!in, token, GFP_ATOMIC);
}

/* ------------------------------------------------------------------ chains */

int paste_vring_add(struct paste_vring *vring, const struct paste_piece *pieces, unsigned int out,
		    unsigned int in, void *token)
{
	const struct vring *ring = vring->ring;
	struct paste_chain *head;
	struct vring_desc *descriptor = NULL;
	unsigned int i, count = out + in;
	u16 at = vring->free;

	if (WARN_ON_ONCE(!count || count > PASTE_CHAIN_MAX))
		return -EINVAL;
	if (!ring)
		return add_by_virtio(vring, pieces, out, in, token);
	if (vring->num_free < count)
		return -ENOSPC;
	head = &vring->chains[at];
	for (i = 0; i < count; i++) {
		u16 flags = VRING_DESC_F_NEXT | (i < out ? 0 : VRING_DESC_F_WRITE);

		descriptor = &ring->desc[at];
		descriptor->addr = (__force __virtio64)cpu_to_le64(pieces[i].start);
		descriptor->len = (__force __virtio32)cpu_to_le32(pieces[i].length);
		descriptor->flags = (__force __virtio16)cpu_to_le16(flags);
		head->last = at;
		at = vring->chains[at].next;
		descriptor->next = (__force __virtio16)cpu_to_le16(at);
	}
	descriptor->flags &= (__force __virtio16)cpu_to_le16(~VRING_DESC_F_NEXT);
	head->token = token;
	head->length = count;
	ring->avail->ring[vring->avail & (vring->num - 1)] =
		(__force __virtio16)cpu_to_le16(vring->free);
	vring->free = at;
	vring->num_free -= count;
	vring->avail++;
	/* The device sees the entry, then the index. */
	virt_wmb();
	WRITE_ONCE(ring->avail->idx, (__force __virtio16)cpu_to_le16(vring->avail));
	return 0;
}

static u16 device_index(const struct paste_vring *vring)
{
	return le16_to_cpu((__force __le16)READ_ONCE(vring->ring->used->idx));
}

static void *release(struct paste_vring *vring, u16 at)
{
	struct paste_chain *head = &vring->chains[at];
	void *token = head->token;

	head->token = NULL;
	vring->chains[head->last].next = vring->free;
	vring->free = at;
	vring->num_free += head->length;
	return token;
}

void *paste_vring_get(struct paste_vring *vring, unsigned int *written)
{
	const struct vring_used_elem *element;
	u32 at;

	if (!vring->ring)
		return virtqueue_get_buf(vring->vq, written);
	if (vring->used == device_index(vring) || vring->broken)
		return NULL;
	/* The index, then the element. */
	virt_rmb();
	element = &vring->ring->used->ring[vring->used & (vring->num - 1)];
	at = le32_to_cpu((__force __le32)READ_ONCE(element->id));
	*written = le32_to_cpu((__force __le32)READ_ONCE(element->len));
	if (at >= vring->num || !vring->chains[at].token) {
		dev_err(&vring->vq->vdev->dev, "the device returns a chain that it has not\n");
		vring->broken = true;
		return NULL;
	}
	vring->used++;
	return release(vring, at);
}

void *paste_vring_detach(struct paste_vring *vring)
{
	unsigned int i;

	if (!vring->ring)
		return virtqueue_detach_unused_buf(vring->vq);
	for (i = 0; i < vring->num; i++)
		if (vring->chains[i].token)
			return release(vring, i);
	return NULL;
}

void paste_vring_kick(struct paste_vring *vring)
{
	const struct vring *ring = vring->ring;
	u16 from = vring->kicked;
	bool wanted;

	if (!ring) {
		virtqueue_kick(vring->vq);
		return;
	}
	vring->kicked = vring->avail;
	/* The index, then what the device says of kicks. */
	virt_mb();
	if (vring->event)
		wanted = vring_need_event(le16_to_cpu((__force __le16)READ_ONCE(
						  vring_avail_event(ring))), vring->avail, from);
	else
		wanted = !(READ_ONCE(ring->used->flags) &
			   (__force __virtio16)cpu_to_le16(VRING_USED_F_NO_NOTIFY));
	if (wanted)
		virtqueue_notify(vring->vq);
}

/* ------------------------------------------------------------------ interrupts */

/* Have an interrupt when the device's index passes this one. */
static void set_event(struct paste_vring *vring, u16 index)
{
	if (vring->event)
		WRITE_ONCE(vring_used_event(vring->ring),
			   (__force __virtio16)cpu_to_le16(index));
}

static void set_quiet(struct paste_vring *vring, bool quiet)
{
	vring->quiet = quiet;
	if (!vring->event)
		WRITE_ONCE(vring->ring->avail->flags,
			   (__force __virtio16)cpu_to_le16(quiet ? VRING_AVAIL_F_NO_INTERRUPT :
							   0));
}

void paste_vring_disable(struct paste_vring *vring)
{
	if (!vring->ring) {
		virtqueue_disable_cb(vring->vq);
		return;
	}
	if (vring->quiet)
		return;
	set_quiet(vring, true);
	/* The device is past that one. */
	set_event(vring, vring->used - 1);
}

u16 paste_vring_enable(struct paste_vring *vring)
{
	if (!vring->ring)
		return virtqueue_enable_cb_prepare(vring->vq);
	set_quiet(vring, false);
	set_event(vring, vring->used);
	return vring->used;
}

bool paste_vring_has_more(struct paste_vring *vring, u16 position)
{
	if (!vring->ring)
		return virtqueue_poll(vring->vq, position);
	/* The wish for interrupts, then the device's index. */
	virt_mb();
	return position != device_index(vring);
}

bool paste_vring_enable_delayed(struct paste_vring *vring)
{
	u16 wait;

	if (!vring->ring)
		return virtqueue_enable_cb_delayed(vring->vq);
	wait = (u16)(vring->avail - vring->used) * 3 / 4;
	set_quiet(vring, false);
	set_event(vring, vring->used + wait);
	virt_mb();
	return (u16)(device_index(vring) - vring->used) <= wait;
}
