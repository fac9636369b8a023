/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * watchers.h -- who may want to see or change frames that take a short way. Bottom halves are off.
 */
#ifndef PASTE_LINUX_WATCHERS_H
#define PASTE_LINUX_WATCHERS_H

#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <net/net_namespace.h>
#include <net/route.h>

/* Does anybody look at all frames of this device? Packet sockets count, whatever they want. */
static inline bool paste_is_watched(const struct net_device *dev)
{
	return !hlist_empty(&dev_net(dev)->packet.sklist) || !list_empty(&dev->ptype_all);
}

static inline bool paste_has_netfilter_hook(const struct net *net, unsigned int hook)
{
#ifdef CONFIG_NETFILTER
	return rcu_access_pointer(net->nf.hooks_ipv4[hook]);
#else
	return false;
#endif
}

/*
 * Is there more than what a security module has put there when it started? (AppArmor has, for
 * its labels.) Such a hook accepts or drops, and so can be asked by the way; it has a place of
 * its own and, unlike the tables of iptables and nftables, no private data.
 */
static inline bool paste_has_netfilter_rules(const struct net *net, unsigned int hook)
{
#ifdef CONFIG_NETFILTER
	const struct nf_hook_entries *entries = rcu_dereference_bh(net->nf.hooks_ipv4[hook]);
	const struct nf_hook_ops *only;

	if (!entries)
		return false;
	only = nf_hook_entries_get_hook_ops(entries)[0];
	return entries->num_hook_entries != 1 || only->priv ||
	       (only->priority != NF_IP_PRI_SELINUX_FIRST &&
		only->priority != NF_IP_PRI_SELINUX_LAST);
#else
	return false;
#endif
}

/* An IPv4 route of net that is still to be used: what ipv4_dst_check() says. */
static inline bool paste_route_holds(const struct net *net, const struct dst_entry *dst)
{
	return READ_ONCE(dst->obsolete) == DST_OBSOLETE_FORCE_CHK &&
	       container_of(dst, struct rtable, dst)->rt_genid == rt_genid_ipv4(net);
}

#endif
