/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * nic.h -- a virtio NIC in our hands, as the rest of the Linux glue sees it.
 */
#ifndef PASTE_LINUX_NIC_H
#define PASTE_LINUX_NIC_H

#include <linux/netdevice.h>

struct paste_pool;
struct paste_port;
struct paste_os_nic;

/* Take the NICs called names over from virtio_net (exit: give all back). Negative errno. */
int paste_nic_init(char *const *names, int count);
void paste_nic_exit(void);

/* The NIC called name in net, NULL if it is not ours. Valid while the module is loaded or until
 * the device is unplugged; the caller holds the control mutex. */
struct paste_os_nic *paste_nic_find(struct net *net, const char *name);
struct net_device *paste_nic_netdev(const struct paste_os_nic *nic);
/* The NIC receives into the buffers of port from now on (NULL: of its own plain pool again). Of a
 * pst port: frames of registered flows are lent to the stack in place. Of a NIC port: all frames
 * go to its rings, none to the stack. Resets the device, sleeps. When it returns, no buffer of
 * the former pool is in the device. Takes and drops pool references itself.
 * Negative errno, and the NIC is where it was: -ENODEV unplugged, -EBUSY in another port's pool,
 * -EMSGSIZE the NIC's MTU needs larger buffers. Another one: the device did not start again; the
 * former pool is out of it all the same, and the next call tries again. */
int paste_nic_set_port(struct paste_os_nic *nic, struct paste_port *port);
/* Buffers came back to the pool: post what the RX vring lacks. Any context. */
void paste_nic_refill(struct paste_os_nic *nic);

#endif
