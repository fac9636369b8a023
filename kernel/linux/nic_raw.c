// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * nic_raw.c -- the NIC of a NIC port: frames go by buffer index, past the network stack.
 *
 * What the device receives goes to the port's RX ring, what the stack sends to its host RX ring.
 * The port's sends and injections may race with an unplug, so they look at polling under
 * raw_lock: it is false before anything of the NIC is taken apart.
 */
#include <linux/etherdevice.h>
#include <linux/nsproxy.h>
#include <linux/sched.h>

#include "nic_device.h"
#include "port.h"
#include "zerocopy.h"

/* In the TX vring an odd token is a buffer index, an even one an sk_buff. */
static void *token_of(u32 index)
{
	return (void *)(((unsigned long)index << 1) | 1);
}

bool paste_nic_raw_token(const void *token)
{
	return (unsigned long)token & 1;
}

void paste_nic_raw_sent(struct paste_os_nic *nic, const void *token)
{
	paste_pool_move(nic->pool, (unsigned long)token >> 1, PASTE_DEVICE, PASTE_SLOT);
}

bool paste_nic_raw_receive(struct paste_os_nic *nic, u32 buffer, unsigned int length)
{
	bool taken = paste_port_receive(nic->raw, buffer, length);

	if (taken)
		dev_sw_netstats_rx_add(nic->dev, length);
	else
		DEV_STATS_INC(nic->dev, rx_dropped);
	return taken;
}

/* The stack's frame to the host RX ring. The caller holds the TX queue's lock. */
netdev_tx_t paste_nic_raw_transmit(struct paste_os_nic *nic, struct sk_buff *skb)
{
	struct paste_pool *pool = nic->pool;
	unsigned int length = skb->len;
	u32 index = 0;

	if (skb->ip_summed == CHECKSUM_PARTIAL && skb_checksum_help(skb))
		goto drop;
	if (length <= paste_nic_room(pool))
		index = paste_port_host_take(nic->raw);
	if (!index)
		goto drop;
	skb_copy_bits(skb, 0, paste_pool_address(pool, index) + pool->frame_offset, length);
	paste_port_host_push(nic->raw, index, length);
	dev_sw_netstats_tx_add(nic->dev, 1, length);
	dev_consume_skb_any(skb);
	return NETDEV_TX_OK;
drop:
	DEV_STATS_INC(nic->dev, tx_dropped);
	dev_kfree_skb_any(skb);
	return NETDEV_TX_OK;
}

static int enqueue_buffer(struct paste_os_nic *nic, u32 index, u32 offset, u16 length)
{
	unsigned int in_page;
	struct page *page = paste_buffer_page(nic->pool, index, &in_page);
	const struct paste_piece pieces[] = {
		/* A frame without wishes has a header of zeros. */
		{ page_to_phys(ZERO_PAGE(0)), sizeof(struct virtio_net_hdr_mrg_rxbuf) },
		{ page_to_phys(page) + in_page + offset, length },
	};
	int error;

	if (length < ETH_HLEN || length > READ_ONCE(nic->dev->mtu) + VLAN_ETH_HLEN ||
	    (u64)offset + length > nic->pool->buf_size)
		return EINVAL;
	error = paste_vring_add(&nic->tx, pieces, 2, 0, token_of(index));
	return error == -ENOSPC ? EAGAIN : -error;
}

int paste_os_nic_send(struct paste_os_nic *nic, uint32_t index, uint32_t offset, uint16_t length)
{
	struct netdev_queue *queue;
	int error = EAGAIN;

	spin_lock_bh(&nic->raw_lock);
	if (nic->polling) {
		queue = netdev_get_tx_queue(nic->dev, 0);
		__netif_tx_lock(queue, smp_processor_id());
		paste_nic_tx_free_sent(nic, 0);
		error = enqueue_buffer(nic, index, offset, length);
		if (!error)
			dev_sw_netstats_tx_add(nic->dev, 1, length);
		__netif_tx_unlock(queue);
	}
	spin_unlock_bh(&nic->raw_lock);
	return error;
}

void paste_os_nic_send_end(struct paste_os_nic *nic)
{
	struct netdev_queue *queue;

	spin_lock_bh(&nic->raw_lock);
	if (nic->polling) {
		queue = netdev_get_tx_queue(nic->dev, 0);
		__netif_tx_lock(queue, smp_processor_id());
		paste_vring_kick(&nic->tx);
		if (!paste_vring_enable_delayed(&nic->tx))
			paste_nic_schedule(nic);
		paste_nic_watch(nic);
		__netif_tx_unlock(queue);
	}
	spin_unlock_bh(&nic->raw_lock);
}

int paste_os_nic_inject(struct paste_os_nic *nic, const void *frame, uint16_t length)
{
	struct sk_buff *skb;

	if (length < ETH_HLEN)
		return EINVAL;
	skb = alloc_skb(NET_SKB_PAD + NET_IP_ALIGN + length, GFP_ATOMIC);
	if (!skb)
		return ENOMEM;
	skb_reserve(skb, NET_SKB_PAD + NET_IP_ALIGN);
	skb_put_data(skb, frame, length);
	spin_lock_bh(&nic->raw_lock);
	if (nic->polling) {
		skb->protocol = eth_type_trans(skb, nic->dev);
		netif_rx(skb);
	} else {
		kfree_skb(skb);
	}
	spin_unlock_bh(&nic->raw_lock);
	return 0;
}

int paste_os_nic_exists(const char *name)
{
	return paste_nic_find(current->nsproxy->net_ns, name) ? 0 : ENXIO;
}
