// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * nic_tx.c -- the TX vring.
 *
 * A batch of a port is corked: its frames are on the vring, and one kick starts them all.
 * The virtio header lies before the frame if there is room, else in the sk_buff's control block;
 * the data is sent from where it is.
 */
#include <linux/etherdevice.h>
#include <linux/mm.h>
#include <linux/virtio_net.h>

#include "nic_device.h"
#include "paste_os.h"

/* Descriptors of the largest packet: header, head, fragments. */
#define WORST_CASE (MAX_SKB_FRAGS + 2)

#define HEADER_SIZE sizeof(struct virtio_net_hdr_mrg_rxbuf)

/* Returns whether it was a port's buffer. */
static bool finish(struct paste_os_nic *nic, void *token, int budget)
{
	bool raw = paste_nic_raw_token(token);

	if (raw)
		paste_nic_raw_sent(nic, token);
	else
		napi_consume_skb(token, budget);
	return raw;
}

void paste_nic_tx_free_sent(struct paste_os_nic *nic, int budget)
{
	unsigned int length;
	bool raw = false;
	void *token;

	while ((token = paste_vring_get(&nic->tx, &length)))
		raw |= finish(nic, token, budget);
	if (raw)
		paste_os_port_wake(nic->raw);
}

static void wake_if_room(struct paste_os_nic *nic)
{
	struct netdev_queue *queue = netdev_get_tx_queue(nic->dev, 0);

	if (netif_tx_queue_stopped(queue) && paste_vring_room(&nic->tx) >= WORST_CASE)
		netif_tx_wake_queue(queue);
}

bool paste_nic_tx_poll(struct paste_os_nic *nic, int budget)
{
	struct netdev_queue *queue = netdev_get_tx_queue(nic->dev, 0);
	bool more;

	/* netpoll, whose budget is 0, may have interrupted the holder of the lock. */
	if (budget)
		__netif_tx_lock(queue, smp_processor_id());
	else if (!__netif_tx_trylock(queue))
		return true;
	paste_vring_disable(&nic->tx);
	paste_nic_tx_free_sent(nic, budget);
	wake_if_room(nic);
	more = !paste_vring_enable_delayed(&nic->tx);
	__netif_tx_unlock(queue);
	return more;
}

bool paste_nic_tx_idle(struct paste_os_nic *nic)
{
	bool idle;

	netif_tx_lock_bh(nic->dev);
	paste_nic_tx_free_sent(nic, 0);
	idle = paste_vring_room(&nic->tx) == nic->tx.num;
	netif_tx_unlock_bh(nic->dev);
	return idle;
}

void paste_nic_tx_exit(struct paste_os_nic *nic)
{
	void *token;

	if (!nic->tx.vq)
		return;
	while ((token = paste_vring_detach(&nic->tx)))
		finish(nic, token, 0);
	paste_vring_exit(&nic->tx);
}

static struct paste_piece piece_of(const void *data, unsigned int length)
{
	return (struct paste_piece){ virt_to_phys((void *)data), length };
}

/* Room for the virtio header, and nobody else sends with what is there. */
static bool has_room_in_front(const struct sk_buff *skb)
{
	return !skb_header_cloned(skb) && skb_headroom(skb) >= HEADER_SIZE &&
	       IS_ALIGNED((unsigned long)skb->data, __alignof__(struct virtio_net_hdr_mrg_rxbuf));
}

static int enqueue_skb(struct paste_os_nic *nic, struct sk_buff *skb)
{
	bool in_front = has_room_in_front(skb);
	struct virtio_net_hdr_mrg_rxbuf *header = in_front ? (void *)(skb->data - HEADER_SIZE) :
							     (void *)skb->cb;
	struct paste_piece pieces[WORST_CASE];
	int i, count = 0, error;

	BUILD_BUG_ON(HEADER_SIZE > sizeof(skb->cb));
	BUILD_BUG_ON(WORST_CASE > PASTE_CHAIN_MAX);
	error = virtio_net_hdr_from_skb(skb, &header->hdr, true, false, 0);
	if (error)
		return error;
	header->num_buffers = 0;
	pieces[count++] = piece_of(header, HEADER_SIZE + (in_front ? skb_headlen(skb) : 0));
	if (!in_front)
		pieces[count++] = piece_of(skb->data, skb_headlen(skb));
	for (i = 0; i < skb_shinfo(skb)->nr_frags; i++) {
		const skb_frag_t *frag = &skb_shinfo(skb)->frags[i];

		pieces[count++] = (struct paste_piece){
			page_to_phys(skb_frag_page(frag)) + skb_frag_off(frag),
			skb_frag_size(frag),
		};
	}
	return paste_vring_add(&nic->tx, pieces, count, 0, skb);
}

/* Under the TX queue's lock: have an interrupt when most is sent. */
static void expect_sent(struct paste_os_nic *nic)
{
	/* False: much was sent meanwhile, and no interrupt will say so. */
	if (!paste_vring_enable_delayed(&nic->tx)) {
		paste_nic_tx_free_sent(nic, 0);
		wake_if_room(nic);
		if (!paste_vring_enable_delayed(&nic->tx))
			paste_nic_schedule(nic);
	}
	paste_nic_watch(nic);
}

/* Frames of a softirq that came in between are not the corker's. */
static bool is_corked(const struct paste_os_nic *nic)
{
	return READ_ONCE(nic->corker) == current && in_task();
}

void paste_os_nic_cork(struct paste_os_nic *nic)
{
	/* One at a time; the others just kick more often. */
	cmpxchg(&nic->corker, NULL, current);
}

void paste_os_nic_uncork(struct paste_os_nic *nic)
{
	struct netdev_queue *queue;

	if (READ_ONCE(nic->corker) != current)
		return;
	WRITE_ONCE(nic->corker, NULL);
	spin_lock_bh(&nic->raw_lock);
	if (nic->polling) {
		queue = netdev_get_tx_queue(nic->dev, 0);
		__netif_tx_lock(queue, smp_processor_id());
		paste_vring_kick(&nic->tx);
		expect_sent(nic);
		__netif_tx_unlock(queue);
	}
	spin_unlock_bh(&nic->raw_lock);
}

netdev_tx_t paste_nic_transmit(struct sk_buff *skb, struct net_device *dev)
{
	struct paste_os_nic *nic = paste_nic_of(dev);
	struct netdev_queue *queue = netdev_get_tx_queue(dev, 0);
	unsigned int length = skb->len;

	if (nic->raw)
		return paste_nic_raw_transmit(nic, skb);
	paste_vring_disable(&nic->tx);
	paste_nic_tx_free_sent(nic, 0);
	skb_tx_timestamp(skb);
	if (enqueue_skb(nic, skb)) {
		DEV_STATS_INC(dev, tx_dropped);
		dev_kfree_skb_any(skb);
	} else {
		dev_sw_netstats_tx_add(dev, 1, length);
	}
	if (paste_vring_room(&nic->tx) < WORST_CASE)
		netif_tx_stop_queue(queue);
	/* Its uncork does the rest. */
	if (is_corked(nic) && !netif_xmit_stopped(queue))
		return NETDEV_TX_OK;
	if (!netdev_xmit_more() || netif_xmit_stopped(queue))
		paste_vring_kick(&nic->tx);
	expect_sent(nic);
	return NETDEV_TX_OK;
}
