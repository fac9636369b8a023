/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * netconfig.h -- what is configured on a net_device and goes away with it.
 *
 * Kept: MTU, queue length, group, alias, other names, flags, IPv4 and IPv6 settings, addresses,
 * routes, permanent neighbours. Learned anew, not kept: what router advertisements bring, the
 * link-local address, temporary addresses. Not kept: queueing disciplines, filters, XDP
 * programs, ethtool settings, multicast memberships, nexthop objects.
 */
#ifndef PASTE_LINUX_NETCONFIG_H
#define PASTE_LINUX_NETCONFIG_H

struct net;
struct paste_netconfig;

/* Negative errno. */
int paste_netconfig_save(struct net *net, int ifindex, struct paste_netconfig **config);
/* Configure the device that is ifindex now. Logs what does not work, under the name name. */
void paste_netconfig_apply(const struct paste_netconfig *config, struct net *net, int ifindex,
			   const char *name);
void paste_netconfig_free(struct paste_netconfig *config); /* NULL is fine */

#endif
