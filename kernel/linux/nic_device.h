/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * nic_device.h -- the inside of a NIC, shared by nic*.c and takeover.c.
 *
 *   takeover.c   chooses virtio devices and names what their net_device has to look like
 *   nic.c        life: probe, remove, another pool
 *   nic_poll.c   who looks after the vrings, and when
 *   nic_rx.c     the RX vring: buffers of the pool out, frames in
 *   nic_tx.c     the TX vring
 *   nic_raw.c    past the stack, for a NIC port
 *   nic_netdev.c the net_device around them
 *
 * A struct paste_os_nic lives as long as the module. An unplugged NIC stays behind as one
 * without a device, so nobody who still points at it needs a reference.
 */
#ifndef PASTE_LINUX_NIC_DEVICE_H
#define PASTE_LINUX_NIC_DEVICE_H

#include <linux/hrtimer.h>
#include <linux/if_vlan.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/virtio.h>
#include <uapi/linux/virtio_net.h>

#include "demux.h"
#include "nic.h"
#include "pool.h"
#include "vring.h"

/* A plain buffer is a page: a frame of this MTU, VLAN tag included, fits. Bytes. */
#define PASTE_NIC_PLAIN_BUFFER PAGE_SIZE
#define PASTE_NIC_MAX_MTU      (PASTE_NIC_PLAIN_BUFFER - ETH_HLEN - VLAN_HLEN)

/* What a net_device was before, and is to be again. */
struct paste_nic_identity {
	struct net *net; /* with a reference */
	int ifindex;
	char name[IFNAMSIZ];
	u8 mac[ETH_ALEN], permanent_mac[ETH_ALEN];
	unsigned char mac_assign_type;
	unsigned int mtu, tx_queue_len, tx_queues;
	int group;
};

/* One RX chain: a header in kernel memory, then a pool buffer. */
struct paste_nic_rx {
	struct paste_vring vring;
	unsigned int count; /* chains that the vring holds; 0: there is none */
	unsigned int posted;
	u32 *buffers;       /* of each entry: its buffer. The address is the vring's token */
	u32 *free;          /* stack of the count - posted entries that are not posted */
	struct virtio_net_hdr_mrg_rxbuf *headers; /* apart: the device writes near them */
	bool starved;       /* the pool had too few free buffers */
};

struct paste_os_nic {
	struct mutex lock;          /* vdev, pool, zerocopy. Taken before RTNL */
	bool gone;                  /* unplugged, or given back */
	struct virtio_device *vdev; /* constant until gone */
	struct net_device *dev;     /* under RTNL; NULL: none */
	struct paste_nic_identity identity;
	struct paste_pool *plain;   /* for frames that are copied anyway */
	struct paste_pool *pool;    /* plain, or a port's */
	bool zerocopy;
	struct paste_port *raw;     /* NIC port: gets all frames instead of the stack, or NULL */
	struct paste_port *port;    /* pst port that polls, or NULL */
	struct napi_struct napi;
	atomic_t parked;            /* NAPI is taken and waits for the port's next sync ... */
	struct hrtimer patience;    /* ... but no longer than this */
	struct hrtimer watch;       /* runs while an interrupt may get lost; see vring.c */
	struct paste_demux demux;   /* of the poll that runs */
	bool polled;                /* the port has synced since the timer ran out last */
	spinlock_t raw_lock;        /* polling. Taken before the TX queue's lock */
	bool polling;               /* NAPI is enabled; changes under RTNL, too */
	bool guest_csum;            /* the device offers GUEST_CSUM ... */
	bool checks;                /* ... and it is negotiated: headers tell of checksums */
	struct paste_nic_rx rx;
	struct paste_vring tx;      /* under the TX queue's lock */
	struct task_struct *corker; /* whose frames wait for the end of its batch; only compared */
	struct work_struct link_work;
};

static inline struct paste_os_nic *paste_nic_of(const struct net_device *dev)
{
	return *(struct paste_os_nic **)netdev_priv(dev);
}

/* Room for a frame in a buffer of pool, bytes. */
static inline unsigned int paste_nic_room(const struct paste_pool *pool)
{
	return pool->buf_size - pool->frame_offset;
}

/* takeover.c: the NIC that vdev was chosen for, NULL: none, hands off. */
struct paste_os_nic *paste_takeover_nic(const struct virtio_device *vdev);

/* nic.c */
extern struct virtio_driver paste_nic_driver;
/* The largest MTU with buffers of pool, bytes. */
unsigned int paste_nic_max_mtu(const struct paste_os_nic *nic, const struct paste_pool *pool);

/* nic_rx.c: the caller has NAPI disabled, except for receive */
int paste_nic_rx_init(struct paste_nic_rx *rx, struct virtqueue *vq);
void paste_nic_rx_exit(struct paste_os_nic *nic); /* after a reset: buffers go to their pool */
void paste_nic_rx_fill(struct paste_os_nic *nic);
int paste_nic_receive(struct paste_os_nic *nic, int budget);

/* nic_tx.c */
netdev_tx_t paste_nic_transmit(struct sk_buff *skb, struct net_device *dev);
/* Free what was sent, under the TX queue's lock. budget: of NAPI, 0 outside. */
void paste_nic_tx_free_sent(struct paste_os_nic *nic, int budget);
/* The same for NAPI, which locks. True: ask again, more has been sent meanwhile. */
bool paste_nic_tx_poll(struct paste_os_nic *nic, int budget);
/* Everything was sent. */
bool paste_nic_tx_idle(struct paste_os_nic *nic);
void paste_nic_tx_exit(struct paste_os_nic *nic); /* after a reset */

/* nic_raw.c */
bool paste_nic_raw_token(const void *token); /* of the TX vring: a port's buffer */
void paste_nic_raw_sent(struct paste_os_nic *nic, const void *token);
/* False: no room, the buffer is still the caller's. */
bool paste_nic_raw_receive(struct paste_os_nic *nic, u32 buffer, unsigned int length);
netdev_tx_t paste_nic_raw_transmit(struct paste_os_nic *nic, struct sk_buff *skb);

/* nic_netdev.c */
int paste_nic_netdev_create(struct paste_os_nic *nic);
bool paste_nic_is_ours(const struct net_device *dev); /* paste_nic_of() may be called for it */

/* nic_poll.c */
void paste_nic_poll_init(struct paste_os_nic *nic);
int paste_nic_poll(struct napi_struct *napi, int budget);
void paste_nic_start(struct paste_os_nic *nic); /* post buffers, start NAPI */
void paste_nic_stop(struct paste_os_nic *nic);
void paste_nic_schedule(struct paste_os_nic *nic);
void paste_nic_watch(struct paste_os_nic *nic); /* interrupts are all that we wait for */
void paste_nic_interrupt(struct virtqueue *vq);

#endif
