// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * nic_rx.c -- the RX vring: buffers of the pool out, frames in.
 *
 * A chain is a virtio header in kernel memory and one pool buffer, so nothing but the frame is
 * ever in memory that user space sees. What the device reports is believed only after a check.
 */
#include <linux/etherdevice.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <net/sock.h>

#include "frame.h"
#include "nic_device.h"
#include "zerocopy.h"

#define FILL_BATCH  16 /* buffers taken at once */
#define HEADER_SIZE sizeof(struct virtio_net_hdr_mrg_rxbuf)

int paste_nic_rx_init(struct paste_nic_rx *rx, struct virtqueue *vq)
{
	unsigned int count = virtqueue_get_vring_size(vq) / 2;
	u32 i;

	memset(rx, 0, sizeof(*rx));
	rx->buffers = kcalloc(count, sizeof(*rx->buffers), GFP_KERNEL);
	rx->free = kcalloc(count, sizeof(*rx->free), GFP_KERNEL);
	rx->headers = kcalloc(count, sizeof(*rx->headers), GFP_KERNEL);
	if (!rx->buffers || !rx->free || !rx->headers) {
		kfree(rx->headers);
		kfree(rx->free);
		kfree(rx->buffers);
		return -ENOMEM;
	}
	for (i = 0; i < count; i++)
		rx->free[i] = i;
	rx->count = count;
	return paste_vring_init(&rx->vring, vq);
}

void paste_nic_rx_exit(struct paste_os_nic *nic)
{
	struct paste_nic_rx *rx = &nic->rx;
	u32 *entry;

	if (!rx->count)
		return;
	while (rx->vring.vq && (entry = paste_vring_detach(&rx->vring)))
		paste_pool_release(nic->pool, *entry, PASTE_DEVICE);
	paste_vring_exit(&rx->vring);
	kfree(rx->headers);
	kfree(rx->free);
	kfree(rx->buffers);
	memset(rx, 0, sizeof(*rx));
}

static int post(struct paste_os_nic *nic, u32 entry, u32 buffer)
{
	struct paste_nic_rx *rx = &nic->rx;
	unsigned int in_page;
	struct page *page = paste_buffer_page(nic->pool, buffer, &in_page);
	const struct paste_piece pieces[] = {
		{ virt_to_phys(&rx->headers[entry]), HEADER_SIZE },
		{ page_to_phys(page) + in_page + nic->pool->frame_offset,
		  paste_nic_room(nic->pool) },
	};
	int error;

	rx->buffers[entry] = buffer;
	error = paste_vring_add(&rx->vring, pieces, 0, 2, &rx->buffers[entry]);
	if (!error)
		rx->posted++;
	return error;
}

void paste_nic_rx_fill(struct paste_os_nic *nic)
{
	struct paste_nic_rx *rx = &nic->rx;
	u32 buffers[FILL_BATCH];
	bool failed = false;
	u32 i, taken;

	while (!failed && rx->posted < rx->count) {
		/* Before the attempt: who releases a buffer after a failed one sees the flag. */
		WRITE_ONCE(rx->starved, true);
		taken = paste_pool_take_many(nic->pool, PASTE_DEVICE, buffers,
					     min_t(u32, rx->count - rx->posted, FILL_BATCH));
		if (!taken)
			break;
		for (i = 0; i < taken; i++) {
			failed = failed ||
				 post(nic, rx->free[rx->count - rx->posted - 1], buffers[i]);
			if (failed)
				paste_pool_release(nic->pool, buffers[i], PASTE_DEVICE);
		}
	}
	if (rx->posted == rx->count)
		WRITE_ONCE(rx->starved, false);
	paste_vring_kick(&rx->vring);
}

static void retire(struct paste_nic_rx *rx, u32 entry)
{
	rx->posted--;
	rx->free[rx->count - rx->posted - 1] = entry;
}

/*
 * The bytes are copied once and only then looked at. No tailroom: while a socket is busy, TCP
 * would coalesce the payload of a lent frame into that of the ACK before it.
 */
static struct sk_buff *copy_frame(struct paste_os_nic *nic, u32 buffer, unsigned int length)
{
	const u8 *frame = paste_pool_address(nic->pool, buffer) + nic->pool->frame_offset;
	struct sk_buff *skb = napi_alloc_skb(&nic->napi, length);

	if (!skb)
		return NULL;
	if (nic->zerocopy)
		skb_reserve(skb, skb_tailroom(skb) - length);
	skb_put_data(skb, frame, length);
	return skb;
}

/* A known segment likewise, without what may follow it. Its headers were read already. */
static struct sk_buff *copy_segment(struct paste_os_nic *nic, u32 buffer,
				    const struct paste_frame *frame)
{
	const u8 *data = paste_pool_address(nic->pool, buffer) + nic->pool->frame_offset;
	unsigned int length = frame->payload + frame->payload_bytes;
	struct sk_buff *skb = napi_alloc_skb(&nic->napi, length);

	if (!skb)
		return NULL;
	skb_reserve(skb, skb_tailroom(skb) - length);
	skb_put_data(skb, frame->headers, frame->payload);
	skb_put_data(skb, data + frame->payload, frame->payload_bytes);
	return skb;
}

/*
 * *owner: the socket that a port captures, with a reference, or NULL. *lent: the buffer went
 * along. Lending must not drain the pool: the vring needs buffers for everybody's frames.
 */
static struct sk_buff *make_frame_skb(struct paste_os_nic *nic, u32 buffer, unsigned int length,
				      struct sock **owner, bool *lent)
{
	const u8 *data = paste_pool_address(nic->pool, buffer) + nic->pool->frame_offset;
	struct sk_buff *skb = NULL;
	struct paste_frame frame;

	*owner = NULL;
	if (nic->zerocopy && paste_frame_parse(&frame, data, length))
		*owner = paste_zerocopy_owner(nic->dev, &frame);
	if (*owner && frame.payload_bytes &&
	    paste_pool_guess(nic->pool, PASTE_FREE) >= nic->rx.count / 2)
		skb = paste_zerocopy_lend(&nic->napi, &nic->demux.cache, &frame, nic->pool,
					  buffer);
	*lent = skb;
	if (skb)
		return skb;
	return *owner ? copy_segment(nic, buffer, &frame) : copy_frame(nic, buffer, length);
}

static bool set_checksum(struct paste_os_nic *nic, struct sk_buff *skb,
			 const struct virtio_net_hdr *header)
{
	if (!nic->checks)
		return true;
	if (header->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return false; /* never negotiated */
	if (header->flags & VIRTIO_NET_HDR_F_DATA_VALID)
		skb->ip_summed = CHECKSUM_UNNECESSARY;
	if (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		return skb_partial_csum_set(skb, le16_to_cpu((__force __le16)header->csum_start),
					    le16_to_cpu((__force __le16)header->csum_offset));
	return true;
}

/*
 * In order, and without GRO, while frames are lent: a copied segment that GRO holds back would
 * let a lent one of the same connection overtake it. owner: with a reference, or NULL.
 */
static void deliver(struct paste_os_nic *nic, struct sk_buff *skb, struct sock *owner,
		    struct list_head *batch)
{
	dev_sw_netstats_rx_add(nic->dev, skb->len);
	skb->protocol = eth_type_trans(skb, nic->dev);
	skb_record_rx_queue(skb, 0);
	if (owner && paste_demux_take(&nic->demux, skb, owner))
		return;
	if (owner)
		sock_put(owner);
	if (nic->zerocopy)
		list_add_tail(&skb->list, batch);
	else
		napi_gro_receive(&nic->napi, skb);
}

/* Returns whether the buffer went along with the frame. */
static bool to_stack(struct paste_os_nic *nic, const struct virtio_net_hdr *header, u32 buffer,
		     unsigned int length, struct list_head *batch)
{
	struct sock *owner;
	bool lent;
	struct sk_buff *skb = make_frame_skb(nic, buffer, length, &owner, &lent);

	if (!skb) {
		DEV_STATS_INC(nic->dev, rx_dropped);
		if (owner)
			sock_put(owner);
	} else if (!set_checksum(nic, skb, header)) {
		DEV_STATS_INC(nic->dev, rx_frame_errors);
		DEV_STATS_INC(nic->dev, rx_errors);
		kfree_skb(skb);
		if (owner)
			sock_put(owner);
	} else {
		deliver(nic, skb, owner, batch);
	}
	return lent;
}

/* The device wrote written bytes into the chain that entry describes. */
static void receive_entry(struct paste_os_nic *nic, u32 entry, unsigned int written,
			  struct list_head *batch)
{
	struct virtio_net_hdr header = nic->rx.headers[entry].hdr;
	u32 buffer = nic->rx.buffers[entry];
	unsigned int length = written - HEADER_SIZE;
	bool kept = false;

	retire(&nic->rx, entry);
	if (written < HEADER_SIZE + ETH_HLEN || length > paste_nic_room(nic->pool)) {
		DEV_STATS_INC(nic->dev, rx_length_errors);
		DEV_STATS_INC(nic->dev, rx_errors);
	} else if (nic->raw) {
		kept = paste_nic_raw_receive(nic, buffer, length);
	} else {
		kept = to_stack(nic, &header, buffer, length, batch);
	}
	/* Cannot fail for lack of descriptors: the chain was just retired. */
	if (!kept && post(nic, entry, buffer))
		paste_pool_release(nic->pool, buffer, PASTE_DEVICE);
}

int paste_nic_receive(struct paste_os_nic *nic, int budget)
{
	struct paste_nic_rx *rx = &nic->rx;
	unsigned int written;
	LIST_HEAD(batch);
	int done = 0;
	u32 *entry;

	while (done < budget && (entry = paste_vring_get(&rx->vring, &written))) {
		receive_entry(nic, entry - rx->buffers, written, &batch);
		done++;
	}
	if (nic->raw && done)
		paste_os_port_wake(nic->raw);
	/* First, as the ends of connections come the ordinary way. */
	paste_demux_flush(&nic->demux);
	netif_receive_skb_list(&batch);
	if (done || READ_ONCE(rx->starved))
		paste_nic_rx_fill(nic);
	return done;
}
