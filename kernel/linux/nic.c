// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * nic.c -- the life of a NIC: probe, remove, and receiving into another pool.
 *
 * Another pool means a device reset: only then is it certain that the device has forgotten
 * every buffer of the former one. freeze and restore do that, as they do for a suspend.
 */
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_config.h>
#include <linux/workqueue.h>
#include <uapi/linux/virtio_ids.h>
#include <uapi/linux/virtio_ring.h>

#include "compat.h"
#include "nic_device.h"
#include "port.h"

/* Waits of at most 400 us for the device to send what it has. */
#define SETTLE_TRIES 20

/* Smaller vrings than this cannot hold the largest packet twice. */
#define MIN_VRING 64

static const unsigned int features[] = {
	VIRTIO_F_VERSION_1, VIRTIO_NET_F_MAC, VIRTIO_NET_F_MTU, VIRTIO_NET_F_STATUS,
	VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM,
};

unsigned int paste_nic_max_mtu(const struct paste_os_nic *nic, const struct paste_pool *pool)
{
	unsigned int room = paste_nic_room(pool) - ETH_HLEN - VLAN_HLEN;
	u16 device = ETH_MAX_MTU;

	virtio_cread_le_feature(nic->vdev, VIRTIO_NET_F_MTU, struct virtio_net_config, mtu,
				&device);
	return min_t(unsigned int, room, device);
}

static int validate(struct virtio_device *vdev)
{
	if (!virtio_has_feature(vdev, VIRTIO_F_VERSION_1))
		return -ENODEV;
	/* A table of its own per chain would cost an allocation per frame. */
	__virtio_clear_bit(vdev, VIRTIO_RING_F_INDIRECT_DESC);
	return 0;
}

/* ------------------------------------------------------------------ vrings */

static int start_vrings(struct paste_os_nic *nic)
{
	vq_callback_t *callbacks[] = { paste_nic_interrupt, paste_nic_interrupt };
	static const char *const names[] = { "rx", "tx" };
	struct virtqueue *vqs[2];
	int error;

	error = paste_compat_find_vqs(nic->vdev, 2, vqs, callbacks, names);
	if (error)
		return error;
	if (min(virtqueue_get_vring_size(vqs[0]), virtqueue_get_vring_size(vqs[1])) < MIN_VRING)
		error = -EINVAL;
	else
		error = paste_nic_rx_init(&nic->rx, vqs[0]);
	if (!error)
		error = paste_vring_init(&nic->tx, vqs[1]);
	if (error) {
		paste_nic_rx_exit(nic);
		nic->vdev->config->del_vqs(nic->vdev);
		return error;
	}
	nic->checks = virtio_has_feature(nic->vdev, VIRTIO_NET_F_GUEST_CSUM);
	return 0;
}

static long nothing(void *argument)
{
	return 0;
}

/*
 * An interrupt from before the reset may still wait for a processor to enable interrupts. If
 * the vector went first, the kernel would complain about an unexpected one.
 */
static void let_interrupts_arrive(void)
{
	unsigned int cpu;

	cpus_read_lock();
	for_each_online_cpu(cpu)
		work_on_cpu(cpu, nothing, NULL);
	cpus_read_unlock();
}

/* The device forgets everything; buffers and packets return to where they came from. */
static void stop_vrings(struct paste_os_nic *nic)
{
	virtio_reset_device(nic->vdev);
	/* Whoever sent in the meantime may have started it once more. */
	hrtimer_cancel(&nic->watch);
	if (!nic->rx.count)
		return;
	let_interrupts_arrive();
	paste_nic_rx_exit(nic);
	paste_nic_tx_exit(nic);
	nic->vdev->config->del_vqs(nic->vdev);
}

/* ------------------------------------------------------------------ probe and remove */

static void update_link(struct work_struct *work)
{
	struct paste_os_nic *nic = container_of(work, struct paste_os_nic, link_work);
	u16 status = VIRTIO_NET_S_LINK_UP;

	virtio_cread_le_feature(nic->vdev, VIRTIO_NET_F_STATUS, struct virtio_net_config, status,
				&status);
	if (status & VIRTIO_NET_S_LINK_UP)
		netif_carrier_on(nic->dev);
	else
		netif_carrier_off(nic->dev);
}

static int create_plain_pool(struct paste_os_nic *nic)
{
	/* Every vring entry, and as many again that are on their way. Two are never lent. */
	u32 total = 2 * nic->rx.count + 2;
	struct paste_os_region *region;
	int error;

	error = paste_os_region_alloc((u64)total * PASTE_NIC_PLAIN_BUFFER, &region);
	if (!error)
		error = paste_pool_create(region, 0, PASTE_NIC_PLAIN_BUFFER, total,
					  &nic->plain);
	if (error)
		return -error;
	paste_pool_get(nic->plain);
	nic->pool = nic->plain;
	return 0;
}

static void drop_pools(struct paste_os_nic *nic)
{
	if (nic->pool)
		paste_pool_put(nic->pool);
	if (nic->plain)
		paste_pool_put(nic->plain);
	nic->pool = NULL;
	nic->plain = NULL;
}

static int register_netdev_ready(struct paste_os_nic *nic)
{
	int error;

	/* Nobody opens the net_device before the device is ready. */
	rtnl_lock();
	error = register_netdevice(nic->dev);
	if (!error)
		virtio_device_ready(nic->vdev);
	rtnl_unlock();
	return error;
}

static int probe(struct virtio_device *vdev)
{
	struct paste_os_nic *nic = paste_takeover_nic(vdev);
	int error;

	if (!nic)
		return -ENODEV;
	vdev->priv = nic;
	nic->vdev = vdev;
	nic->zerocopy = false;
	nic->guest_csum = virtio_has_feature(vdev, VIRTIO_NET_F_GUEST_CSUM);
	INIT_WORK(&nic->link_work, update_link);
	paste_nic_poll_init(nic);
	error = start_vrings(nic);
	if (error)
		goto no_vrings;
	error = create_plain_pool(nic);
	if (error)
		goto no_pool;
	error = paste_nic_netdev_create(nic);
	if (error)
		goto no_pool;
	error = register_netdev_ready(nic);
	if (error)
		goto no_netdev;
	update_link(&nic->link_work);
	return 0;

no_netdev:
	netif_napi_del(&nic->napi);
	free_netdev(nic->dev);
	nic->dev = NULL;
no_pool:
	stop_vrings(nic);
	drop_pools(nic);
no_vrings:
	nic->vdev = NULL;
	return error;
}

static void remove(struct virtio_device *vdev)
{
	struct paste_os_nic *nic = vdev->priv;
	struct net_device *dev = nic->dev;

	/* From here on paste_nic_set_port() refuses, and the core reports no more changes. */
	mutex_lock(&nic->lock);
	nic->gone = true;
	mutex_unlock(&nic->lock);
	cancel_work_sync(&nic->link_work);
	rtnl_lock();
	unregister_netdevice(dev);
	nic->dev = NULL;
	rtnl_unlock();
	stop_vrings(nic);
	netif_napi_del(&nic->napi);
	free_netdev(dev);
	drop_pools(nic);
	nic->raw = NULL;
	nic->port = NULL;
	nic->demux.port = NULL;
	nic->vdev = NULL;
}

static void config_changed(struct virtio_device *vdev)
{
	struct paste_os_nic *nic = vdev->priv;

	schedule_work(&nic->link_work);
}

/* ------------------------------------------------------------------ another pool */

/*
 * Other people's frames on the vrings still get through: a lost one costs them a retransmission
 * timeout. NAPI is off; what GRO holds goes up with its next poll.
 */
static void let_frames_through(struct paste_os_nic *nic)
{
	int tries;

	if (!nic->rx.count || !netif_running(nic->dev))
		return;
	for (tries = 0; tries < SETTLE_TRIES && !paste_nic_tx_idle(nic); tries++)
		usleep_range(100, 400);
	local_bh_disable();
	paste_nic_receive(nic, nic->rx.count);
	local_bh_enable();
}

/* Quiet: no NAPI, no transmission, no device. Under RTNL, or with all tasks frozen. */
static int freeze(struct virtio_device *vdev)
{
	struct paste_os_nic *nic = vdev->priv;

	cancel_work_sync(&nic->link_work);
	/* NAPI first: it would start the TX queue again. */
	paste_nic_stop(nic);
	netif_tx_lock_bh(nic->dev);
	netif_device_detach(nic->dev);
	netif_tx_unlock_bh(nic->dev);
	let_frames_through(nic);
	stop_vrings(nic);
	return 0;
}

static int restore(struct virtio_device *vdev)
{
	struct paste_os_nic *nic = vdev->priv;
	int error;

	error = start_vrings(nic);
	if (error)
		return error;
	virtio_device_ready(vdev);
	if (netif_running(nic->dev))
		paste_nic_start(nic);
	netif_device_attach(nic->dev);
	schedule_work(&nic->link_work);
	return 0;
}

/* Frames that bypass the stack are to be complete: nobody finishes their checksum. */
static void negotiate_checksum(struct paste_os_nic *nic)
{
	if (nic->guest_csum && !nic->raw)
		__virtio_set_bit(nic->vdev, VIRTIO_NET_F_GUEST_CSUM);
	else
		__virtio_clear_bit(nic->vdev, VIRTIO_NET_F_GUEST_CSUM);
}

static int change_port(struct paste_os_nic *nic, struct paste_port *port)
{
	struct paste_pool *pool = port ? port->pool : NULL;
	struct paste_pool *former = nic->pool;
	bool is_pst = port && port->kind == PASTE_PORT_PST;
	int error;

	if (nic->gone)
		return -ENODEV;
	if (pool && nic->pool != nic->plain)
		return -EBUSY;
	if (!pool)
		pool = nic->plain;
	if (nic->dev->mtu > paste_nic_max_mtu(nic, pool))
		return -EMSGSIZE;
	error = virtio_device_freeze(nic->vdev);
	if (error)
		return error;
	paste_pool_get(pool);
	nic->pool = pool;
	nic->zerocopy = is_pst;
	nic->port = is_pst ? port : NULL;
	nic->demux.port = nic->port;
	nic->raw = is_pst ? NULL : port;
	negotiate_checksum(nic);
	nic->dev->max_mtu = paste_nic_max_mtu(nic, pool);
	paste_pool_put(former);
	error = virtio_device_restore(nic->vdev);
	if (error) {
		/* Detached until the next attempt, which must not find a FAILED status. */
		virtio_reset_device(nic->vdev);
		netdev_err(nic->dev, "device does not start again (%d)\n", error);
	}
	return error;
}

int paste_nic_set_port(struct paste_os_nic *nic, struct paste_port *port)
{
	int error;

	mutex_lock(&nic->lock);
	rtnl_lock();
	error = change_port(nic, port);
	rtnl_unlock();
	mutex_unlock(&nic->lock);
	return error;
}

void paste_nic_refill(struct paste_os_nic *nic)
{
	if (!READ_ONCE(nic->rx.starved))
		return;
	/* The end of a bottom-half section runs what was scheduled in it. */
	local_bh_disable();
	paste_nic_schedule(nic);
	local_bh_enable();
}

struct net_device *paste_nic_netdev(const struct paste_os_nic *nic)
{
	return nic->dev;
}

/* Matches nothing: devices come to us only by name, through takeover.c. */
static const struct virtio_device_id no_ids[] = { { 0 } };

struct virtio_driver paste_nic_driver = {
	.driver.name = KBUILD_MODNAME,
	.driver.owner = THIS_MODULE,
	.driver.suppress_bind_attrs = true,
	.id_table = no_ids,
	.feature_table = features,
	.feature_table_size = ARRAY_SIZE(features),
	.validate = validate,
	.probe = probe,
	.remove = remove,
	.config_changed = config_changed,
#ifdef CONFIG_PM
	.freeze = freeze,
	.restore = restore,
#endif
};
