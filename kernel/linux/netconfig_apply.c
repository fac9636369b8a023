// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * netconfig_apply.c -- configuring a net_device as another one was.
 */
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "netconfig_items.h"

/* Under RTNL. */
static void apply_settings(const struct paste_netconfig *config, struct net_device *dev)
{
	struct in_device *ipv4 = __in_dev_get_rtnl(dev);
	struct inet6_dev *ipv6 = __in6_dev_get(dev);

	/* The tables of /proc belong to the device, and counts of multicast routers too. */
	if (ipv4 && config->has_ipv4) {
		void *table = ipv4->cnf.sysctl;

		ipv4->cnf = config->ipv4;
		ipv4->cnf.sysctl = table;
		IPV4_DEVCONF(ipv4->cnf, MC_FORWARDING) = 0;
	}
	if (ipv6 && config->has_ipv6) {
		struct ctl_table_header *table = ipv6->cnf.sysctl_header;

		ipv6->cnf = config->ipv6;
		ipv6->cnf.sysctl_header = table;
		ipv6->cnf.mtu6 = dev->mtu;
	}
}

static void redirect_route(struct nlmsghdr *message, int from, int to)
{
	struct nlattr *device = nlmsg_find_attr(message, sizeof(struct rtmsg), RTA_OIF);
	struct nlattr *paths = nlmsg_find_attr(message, sizeof(struct rtmsg), RTA_MULTIPATH);
	struct rtnexthop *hop;
	int rest;

	if (device && nla_get_u32(device) == from)
		*(u32 *)nla_data(device) = to;
	if (!paths)
		return;
	rest = nla_len(paths);
	for (hop = nla_data(paths); rtnh_ok(hop, rest); hop = rtnh_next(hop, &rest))
		if (hop->rtnh_ifindex == from)
			hop->rtnh_ifindex = to;
}

/* The device got another index than it had. */
static void redirect(struct nlmsghdr *message, int from, int to)
{
	switch (message->nlmsg_type) {
	case RTM_NEWADDR:
		((struct ifaddrmsg *)nlmsg_data(message))->ifa_index = to;
		break;
	case RTM_NEWNEIGH:
		((struct ndmsg *)nlmsg_data(message))->ndm_ifindex = to;
		break;
	case RTM_NEWROUTE:
		redirect_route(message, from, to);
		break;
	default:
		((struct ifinfomsg *)nlmsg_data(message))->ifi_index = to;
	}
}

static int say(struct paste_rtnl *rtnl, struct item *item, int from, int to)
{
	int error;

	redirect(&item->message, from, to);
	error = paste_rtnl_ask(rtnl, &item->message, NULL, NULL);
	redirect(&item->message, to, from);
	/* Somebody was faster, or the kernel made it by itself. */
	return error == -EEXIST ? 0 : error;
}

/* Returns how many items of the part did not work; error is the last one's. */
static unsigned int say_part(struct paste_rtnl *rtnl, const struct paste_netconfig *config,
			     enum part part, int ifindex, int *error)
{
	unsigned int failed = 0;
	struct item *item;

	list_for_each_entry(item, &config->parts[part], node) {
		int result = say(rtnl, item, config->ifindex, ifindex);

		if (result) {
			*error = result;
			failed++;
		}
	}
	return failed;
}

/* A gateway may be reachable through a route that comes later in the list. */
static unsigned int say_routes(struct paste_rtnl *rtnl, const struct paste_netconfig *config,
			       int ifindex, int *error)
{
	unsigned int failed = say_part(rtnl, config, ROUTES, ifindex, error);
	unsigned int before = failed + 1;

	while (failed && failed < before) {
		before = failed;
		failed = say_part(rtnl, config, ROUTES, ifindex, error);
	}
	return failed;
}

void paste_netconfig_apply(const struct paste_netconfig *config, struct net *net, int ifindex,
			   const char *name)
{
	static const char *const names[] = {
		"link settings", "other names", "IPv4 addresses", "flags", "IPv6 addresses",
		"routes", "neighbours",
	};
	struct net_device *dev;
	struct paste_rtnl rtnl;
	int error, part;

	rtnl_lock();
	dev = __dev_get_by_index(net, ifindex);
	if (dev)
		apply_settings(config, dev);
	rtnl_unlock();
	error = paste_rtnl_open(net, &rtnl);
	if (error) {
		pr_err("NIC %s: configuration is lost (%d)\n", name, error);
		return;
	}
	for (part = 0; part < PARTS; part++) {
		unsigned int failed = part == ROUTES ?
			say_routes(&rtnl, config, ifindex, &error) :
			say_part(&rtnl, config, part, ifindex, &error);

		if (failed)
			pr_err("NIC %s: %u %s not set again (%d)\n", name, failed,
			       names[part], error);
	}
	paste_rtnl_close(&rtnl);
}
