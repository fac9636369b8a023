// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * nic_netdev.c -- the net_device of a NIC of ours.
 *
 * It looks as virtio_net's did: same name, index, addresses, MTU and namespace.
 */
#include <linux/ethtool.h>
#include <linux/etherdevice.h>
#include <linux/virtio_config.h>

#include "nic_device.h"

static int open(struct net_device *dev)
{
	paste_nic_start(paste_nic_of(dev));
	netif_start_queue(dev);
	return 0;
}

static int stop(struct net_device *dev)
{
	netif_stop_queue(dev);
	paste_nic_stop(paste_nic_of(dev));
	return 0;
}

static void describe(struct net_device *dev, struct ethtool_drvinfo *info)
{
	strscpy(info->driver, KBUILD_MODNAME, sizeof(info->driver));
	strscpy(info->bus_info, dev_name(dev->dev.parent), sizeof(info->bus_info));
}

static const struct ethtool_ops ethtool_ops = {
	.get_drvinfo = describe,
	.get_link = ethtool_op_get_link,
	.get_ts_info = ethtool_op_get_ts_info,
};

/* The device sends us every frame, whatever the address: no filter was negotiated. */
static const struct net_device_ops netdev_ops = {
	.ndo_open = open,
	.ndo_stop = stop,
	.ndo_start_xmit = paste_nic_transmit,
	.ndo_get_stats64 = dev_get_tstats64,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
};

static void set_features(struct net_device *dev, struct virtio_device *vdev)
{
	dev->features = NETIF_F_SG | NETIF_F_HIGHDMA;
	dev->hw_features = NETIF_F_SG;
	if (virtio_has_feature(vdev, VIRTIO_NET_F_CSUM)) {
		dev->features |= NETIF_F_HW_CSUM;
		dev->hw_features |= NETIF_F_HW_CSUM;
	}
	if (virtio_has_feature(vdev, VIRTIO_NET_F_GUEST_CSUM))
		dev->features |= NETIF_F_RXCSUM;
	dev->vlan_features = dev->features;
}

bool paste_nic_is_ours(const struct net_device *dev)
{
	return dev->netdev_ops == &netdev_ops;
}

int paste_nic_netdev_create(struct paste_os_nic *nic)
{
	const struct paste_nic_identity *identity = &nic->identity;
	struct net_device *dev;

	dev = alloc_netdev_mqs(sizeof(nic), identity->name, NET_NAME_USER, ether_setup,
			       identity->tx_queues, 1);
	if (!dev)
		return -ENOMEM;
	*(struct paste_os_nic **)netdev_priv(dev) = nic;
	SET_NETDEV_DEV(dev, &nic->vdev->dev);
	dev_net_set(dev, identity->net);
	dev->ifindex = identity->ifindex;
	dev->mtu = identity->mtu;
	dev->min_mtu = ETH_MIN_MTU;
	dev->max_mtu = paste_nic_max_mtu(nic, nic->plain);
	dev->tx_queue_len = identity->tx_queue_len;
	dev->group = identity->group;
	eth_hw_addr_set(dev, identity->mac);
	dev->addr_assign_type = identity->mac_assign_type;
	memcpy(dev->perm_addr, identity->permanent_mac, ETH_ALEN);
	dev->priv_flags |= IFF_LIVE_ADDR_CHANGE | IFF_UNICAST_FLT;
	dev->pcpu_stat_type = NETDEV_PCPU_STAT_TSTATS;
	dev->netdev_ops = &netdev_ops;
	dev->ethtool_ops = &ethtool_ops;
	set_features(dev, nic->vdev);
	netif_set_real_num_tx_queues(dev, 1);
	netif_napi_add(dev, &nic->napi, paste_nic_poll);
	netif_carrier_off(dev);
	nic->dev = dev;
	return 0;
}
