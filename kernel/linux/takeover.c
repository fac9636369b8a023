// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * takeover.c -- taking NICs from virtio_net, and giving them back.
 *
 * A NIC is chosen by name. Its virtio device changes the driver; the new net_device gets what
 * the old one had, first what must be right from the start (name, index, MAC, MTU, namespace),
 * then its configuration. Connections only see a short pause.
 */
#include <linux/etherdevice.h>
#include <linux/module.h>
#include <linux/nsproxy.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>
#include <net/net_namespace.h>

#include "compat.h"
#include "netconfig.h"
#include "nic_device.h"

struct takeover {
	struct device *parent;         /* the virtio device, with a reference; NULL: not taken */
	struct module *former_module;  /* stays loaded, to take the device back */
	struct paste_netconfig *config;
	struct paste_os_nic nic;
};

static struct takeover *takeovers;
static int takeover_count;

struct paste_os_nic *paste_takeover_nic(const struct virtio_device *vdev)
{
	int i;

	for (i = 0; i < takeover_count; i++)
		if (takeovers[i].parent == &vdev->dev)
			return &takeovers[i].nic;
	return NULL;
}

struct paste_os_nic *paste_nic_find(struct net *net, const char *name)
{
	struct paste_os_nic *found = NULL;
	struct net_device *dev;
	int i;

	rtnl_lock();
	dev = __dev_get_by_name(net, name);
	for (i = 0; dev && i < takeover_count; i++)
		if (takeovers[i].nic.dev == dev)
			found = &takeovers[i].nic;
	rtnl_unlock();
	return found;
}

/* ------------------------------------------------------------------ choice */

/* Why dev cannot be taken over, NULL: it can. Under RTNL. */
static const char *objection(struct net_device *dev)
{
	struct device *parent = dev->dev.parent;
	struct virtio_device *vdev;

	if (!parent || !is_virtio_device(parent) || !parent->driver ||
	    strcmp(parent->driver->name, "virtio_net"))
		return "is not bound to virtio_net";
	vdev = dev_to_virtio(parent);
	if (!virtio_has_feature(vdev, VIRTIO_F_VERSION_1))
		return "is a legacy virtio device";
	if (virtio_has_feature(vdev, VIRTIO_NET_F_STANDBY) || netdev_has_any_upper_dev(dev))
		return "is part of a bond, bridge, VLAN or failover pair";
	if (dev->mtu > PASTE_NIC_MAX_MTU)
		return "has an MTU that no buffer can hold";
	return NULL;
}

static void remember(struct net_device *dev, struct paste_nic_identity *identity)
{
	identity->ifindex = dev->ifindex;
	strscpy(identity->name, dev->name, sizeof(identity->name));
	ether_addr_copy(identity->mac, dev->dev_addr);
	ether_addr_copy(identity->permanent_mac, dev->perm_addr);
	identity->mac_assign_type = dev->addr_assign_type;
	identity->mtu = dev->mtu;
	identity->tx_queue_len = dev->tx_queue_len;
	identity->tx_queues = dev->num_tx_queues;
	identity->group = dev->group;
}

static int choose(struct takeover *takeover, struct net *net, const char *name)
{
	const char *why = "does not exist in this network namespace";
	struct net_device *dev;
	int error = -ENODEV;

	rtnl_lock();
	dev = __dev_get_by_name(net, name);
	if (dev)
		why = objection(dev);
	if (!why && try_module_get(dev->dev.parent->driver->owner)) {
		takeover->former_module = dev->dev.parent->driver->owner;
		takeover->parent = get_device(dev->dev.parent);
		takeover->nic.identity.net = get_net(net);
		remember(dev, &takeover->nic.identity);
		error = 0;
	}
	rtnl_unlock();
	if (error)
		pr_err("NIC %s %s\n", name, why ?: "is being given up by its driver");
	return error;
}

/* ------------------------------------------------------------------ give back */

static struct net_device *child(struct device *parent)
{
	struct net_device *dev;

	ASSERT_RTNL();
	for_each_netdev(&init_net, dev)
		if (dev->dev.parent == parent)
			return dev;
	return NULL;
}

/* Under RTNL. Returns the index that the device has in the end. */
static int settle(struct net_device *dev, const struct paste_nic_identity *identity)
{
	struct sockaddr mac = { .sa_family = dev->type };

	if (!ether_addr_equal(dev->dev_addr, identity->mac)) {
		ether_addr_copy(mac.sa_data, identity->mac);
		if (dev_set_mac_address(dev, &mac, NULL))
			pr_err("NIC %s: MAC address not set again\n", identity->name);
	}
	if (!net_eq(identity->net, &init_net) &&
	    paste_compat_change_net(dev, identity->net, "eth%d", identity->ifindex))
		pr_err("NIC %s stays in the first network namespace as %s\n", identity->name,
		       dev->name);
	return dev->ifindex;
}

/* virtio_net takes the device, which has no driver at the moment. */
static void return_device(struct takeover *takeover)
{
	const struct paste_nic_identity *identity = &takeover->nic.identity;
	bool home = net_eq(identity->net, &init_net);
	struct net_device *dev;
	int ifindex = 0;
	int former;

	rtnl_lock();
	former = init_net.ifindex;
	if (home)
		former = paste_compat_suggest_ifindex(&init_net, identity->ifindex);
	rtnl_unlock();
	if (device_attach(takeover->parent) < 0)
		pr_err("NIC %s: its former driver does not take it\n", identity->name);
	rtnl_lock();
	paste_compat_restore_ifindex(&init_net, former);
	dev = child(takeover->parent);
	if (dev)
		ifindex = settle(dev, identity);
	rtnl_unlock();
	if (!dev)
		pr_err("NIC %s did not come back\n", identity->name);
	else if (takeover->config)
		paste_netconfig_apply(takeover->config, identity->net, ifindex, identity->name);
}

static void forget(struct takeover *takeover)
{
	paste_netconfig_free(takeover->config);
	takeover->config = NULL;
	if (takeover->nic.identity.net)
		put_net(takeover->nic.identity.net);
	takeover->nic.identity.net = NULL;
	put_device(takeover->parent);
	takeover->parent = NULL;
	module_put(takeover->former_module);
}

/* What is configured now is what comes back. False: the device is not ours any more. */
static bool remember_now(struct takeover *takeover)
{
	struct paste_nic_identity *identity = &takeover->nic.identity;
	struct net *net = NULL;

	rtnl_lock();
	if (takeover->nic.dev) {
		/* A dying namespace hands its devices to the first one. */
		net = maybe_get_net(dev_net(takeover->nic.dev)) ?: get_net(&init_net);
		remember(takeover->nic.dev, identity);
	}
	rtnl_unlock();
	if (!net)
		return false;
	identity->net = net;
	if (paste_netconfig_save(net, identity->ifindex, &takeover->config))
		pr_err("NIC %s goes back without its configuration\n", identity->name);
	return true;
}

static void give_back(struct takeover *takeover)
{
	if (!takeover->parent)
		return;
	if (remember_now(takeover)) {
		device_release_driver(takeover->parent);
		return_device(takeover);
	}
	forget(takeover);
}

/* ------------------------------------------------------------------ take over */

static int take_over(struct takeover *takeover, struct net *net, const char *name)
{
	struct paste_nic_identity *identity = &takeover->nic.identity;
	int error = choose(takeover, net, name);

	if (error)
		return error;
	error = paste_netconfig_save(net, identity->ifindex, &takeover->config);
	if (error) {
		pr_err("NIC %s: its configuration cannot be read (%d)\n", name, error);
		forget(takeover);
		return error;
	}
	device_release_driver(takeover->parent);
	error = device_driver_attach(&paste_nic_driver.driver, takeover->parent);
	if (error) {
		struct virtio_device *vdev = dev_to_virtio(takeover->parent);

		pr_err("NIC %s: driver does not start (%d)\n", name, error);
		virtio_reset_device(vdev);
		virtio_add_status(vdev, VIRTIO_CONFIG_S_ACKNOWLEDGE);
		return_device(takeover);
		forget(takeover);
		return error;
	}
	paste_netconfig_apply(takeover->config, net, identity->ifindex, identity->name);
	pr_info("NIC %s taken over\n", identity->name);
	/* Neither is true for long, and a reference would keep the namespace alive. */
	paste_netconfig_free(takeover->config);
	takeover->config = NULL;
	put_net(net);
	identity->net = NULL;
	return 0;
}

int paste_nic_init(char *const *names, int count)
{
	int error;
	int i;

	takeovers = kvcalloc(count, sizeof(*takeovers), GFP_KERNEL);
	if (!takeovers)
		return -ENOMEM;
	takeover_count = count;
	for (i = 0; i < count; i++) {
		mutex_init(&takeovers[i].nic.lock);
		spin_lock_init(&takeovers[i].nic.raw_lock);
	}
	error = register_virtio_driver(&paste_nic_driver);
	if (error) {
		kvfree(takeovers);
		return error;
	}
	for (i = 0; i < count && !error; i++)
		error = take_over(&takeovers[i], current->nsproxy->net_ns, names[i]);
	if (error)
		paste_nic_exit();
	return error;
}

void paste_nic_exit(void)
{
	int i;

	for (i = 0; i < takeover_count; i++)
		give_back(&takeovers[i]);
	unregister_virtio_driver(&paste_nic_driver);
	kvfree(takeovers);
}
