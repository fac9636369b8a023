// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * netconfig_save.c -- reading what is configured on a net_device.
 *
 * What the kernel lists, it also takes: a saved configuration is a list of its own messages.
 */
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>

#include "netconfig_items.h"

#define ATTEMPTS 8 /* a dump disturbed by changes starts again */

#define KEPT_FLAGS (IFF_UP | IFF_DEBUG | IFF_NOARP | IFF_PROMISC | IFF_ALLMULTI | IFF_MULTICAST | \
		    IFF_DYNAMIC)

/* Flags that describe the moment are refused when they come back. */
static void clean_route(struct nlmsghdr *message)
{
	const u8 kept = RTNH_F_ONLINK | RTNH_F_PERVASIVE;
	struct rtmsg *route = nlmsg_data(message);
	struct nlattr *paths = nlmsg_find_attr(message, sizeof(*route), RTA_MULTIPATH);
	struct rtnexthop *hop;
	int rest;

	route->rtm_flags &= kept;
	if (!paths)
		return;
	rest = nla_len(paths);
	for (hop = nla_data(paths); rtnh_ok(hop, rest); hop = rtnh_next(hop, &rest))
		hop->rtnh_flags &= kept;
}

static int keep(struct paste_netconfig *config, enum part part, const struct nlmsghdr *message,
		u16 flags)
{
	struct item *item = kvmalloc(offsetof(struct item, bytes) + message->nlmsg_len,
				     GFP_KERNEL);

	if (!item)
		return -ENOMEM;
	memcpy(item->bytes, message, message->nlmsg_len);
	item->message.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	item->message.nlmsg_seq = 0;
	item->message.nlmsg_pid = 0;
	if (part == ROUTES)
		clean_route(&item->message);
	/* The kernel puts a new IPv6 address before older ones of its scope. */
	if (part == ADDRESS6)
		list_add(&item->node, &config->parts[part]);
	else
		list_add_tail(&item->node, &config->parts[part]);
	return 0;
}

static u32 attribute_u32(const struct nlmsghdr *message, int header, int type, u32 otherwise)
{
	const struct nlattr *attribute = nlmsg_find_attr(message, header, type);

	return attribute && nla_len(attribute) >= sizeof(u32) ? nla_get_u32(attribute) : otherwise;
}

static int save_address(const struct nlmsghdr *message, void *argument)
{
	struct paste_netconfig *config = argument;
	const struct ifaddrmsg *address = nlmsg_data(message);
	const struct nlattr *origin;
	u32 flags;

	if (message->nlmsg_type != RTM_NEWADDR || address->ifa_index != config->ifindex)
		return 0;
	flags = attribute_u32(message, sizeof(*address), IFA_FLAGS, address->ifa_flags);
	origin = nlmsg_find_attr(message, sizeof(*address), IFA_PROTO);
	if (origin && (nla_get_u8(origin) == IFAPROT_KERNEL_LL ||
		       nla_get_u8(origin) == IFAPROT_KERNEL_RA))
		return 0;
	if (address->ifa_family == AF_INET)
		return keep(config, ADDRESS4, message, NLM_F_CREATE | NLM_F_EXCL);
	if (address->ifa_family == AF_INET6 && !(flags & IFA_F_TEMPORARY))
		return keep(config, ADDRESS6, message, NLM_F_CREATE | NLM_F_EXCL);
	return 0;
}

static bool leads_to(const struct nlmsghdr *message, int ifindex)
{
	const struct nlattr *paths = nlmsg_find_attr(message, sizeof(struct rtmsg), RTA_MULTIPATH);
	const struct rtnexthop *hop;
	int rest;

	if (attribute_u32(message, sizeof(struct rtmsg), RTA_OIF, 0) == ifindex)
		return true;
	if (!paths)
		return false;
	rest = nla_len(paths);
	for (hop = nla_data(paths); rtnh_ok(hop, rest); hop = rtnh_next(hop, &rest))
		if (hop->rtnh_ifindex == ifindex)
			return true;
	return false;
}

/* Does the kernel make the route by itself, from an address or an advertisement? */
static bool is_automatic(const struct nlmsghdr *message)
{
	const struct rtmsg *route = nlmsg_data(message);
	const struct nlattr *info = nlmsg_find_attr(message, sizeof(*route), RTA_CACHEINFO);
	u32 table = attribute_u32(message, sizeof(*route), RTA_TABLE, route->rtm_table);

	if (route->rtm_flags & RTM_F_CLONED || route->rtm_protocol == RTPROT_REDIRECT)
		return true;
	if (route->rtm_protocol == RTPROT_KERNEL && table == RT_TABLE_LOCAL)
		return true;
	if (route->rtm_protocol != RTPROT_KERNEL && route->rtm_protocol != RTPROT_RA)
		return false;
	return info && nla_len(info) >= sizeof(struct rta_cacheinfo) &&
	       ((struct rta_cacheinfo *)nla_data(info))->rta_expires;
}

static int save_route(const struct nlmsghdr *message, void *argument)
{
	struct paste_netconfig *config = argument;
	const struct rtmsg *route = nlmsg_data(message);
	bool shared = nlmsg_find_attr(message, sizeof(*route), RTA_MULTIPATH);

	if (message->nlmsg_type != RTM_NEWROUTE ||
	    (route->rtm_family != AF_INET && route->rtm_family != AF_INET6))
		return 0;
	if (!leads_to(message, config->ifindex) || is_automatic(message))
		return 0;
	/* Of a route that leads through other devices too, their part has stayed. */
	return keep(config, ROUTES, message, NLM_F_CREATE | (shared ? NLM_F_REPLACE : NLM_F_EXCL));
}

static int save_neighbour(const struct nlmsghdr *message, void *argument)
{
	struct paste_netconfig *config = argument;
	const struct ndmsg *neighbour = nlmsg_data(message);

	if (message->nlmsg_type != RTM_NEWNEIGH || neighbour->ndm_ifindex != config->ifindex ||
	    !(neighbour->ndm_state & NUD_PERMANENT))
		return 0;
	return keep(config, NEIGHBOURS, message, NLM_F_CREATE | NLM_F_REPLACE);
}

static int dump(struct paste_rtnl *rtnl, int type, int family, size_t header,
		paste_rtnl_visitor visit, struct paste_netconfig *config)
{
	struct {
		struct nlmsghdr head;
		union {
			u8 family;
			struct ifaddrmsg address;
			struct rtmsg route;
			struct ndmsg neighbour;
		};
	} request = {
		.head.nlmsg_len = NLMSG_LENGTH(header),
		.head.nlmsg_type = type,
		.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		.family = family,
	};

	return paste_rtnl_ask(rtnl, &request.head, visit, config);
}

static int save_dumps(struct paste_rtnl *rtnl, struct paste_netconfig *config)
{
	static const int families[] = { AF_INET, AF_INET6 };
	int error = 0;
	int i;

	for (i = 0; i < ARRAY_SIZE(families) && !error; i++) {
		error = dump(rtnl, RTM_GETADDR, families[i], sizeof(struct ifaddrmsg),
			     save_address, config);
		if (!error)
			error = dump(rtnl, RTM_GETROUTE, families[i], sizeof(struct rtmsg),
				     save_route, config);
		if (!error)
			error = dump(rtnl, RTM_GETNEIGH, families[i], sizeof(struct ndmsg),
				     save_neighbour, config);
	}
	return error;
}

/* A message that sets attributes of the link, to be completed by the caller. */
static struct sk_buff *begin_link(int type, int ifindex, unsigned int flags, unsigned int change)
{
	struct sk_buff *skb = nlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);
	struct nlmsghdr *message;
	struct ifinfomsg *link;

	if (!skb)
		return NULL;
	message = nlmsg_put(skb, 0, 0, type, sizeof(*link), 0);
	link = nlmsg_data(message);
	memset(link, 0, sizeof(*link));
	link->ifi_index = ifindex;
	link->ifi_flags = flags;
	link->ifi_change = change;
	return skb;
}

static int keep_link(struct paste_netconfig *config, enum part part, struct sk_buff *skb)
{
	struct nlmsghdr *message;
	int error;

	if (!skb)
		return -ENOMEM;
	message = nlmsg_hdr(skb);
	nlmsg_end(skb, message);
	error = keep(config, part, message, 0);
	nlmsg_free(skb);
	return error;
}

static bool copy_attribute(struct sk_buff *skb, const struct nlmsghdr *message, int type)
{
	const struct nlattr *attribute = nlmsg_find_attr(message, sizeof(struct ifinfomsg), type);

	return !attribute || !nla_put(skb, attribute->nla_type, nla_len(attribute),
				      nla_data(attribute));
}

static int save_link(const struct nlmsghdr *message, void *argument)
{
	static const int kept[] = { IFLA_IFNAME, IFLA_MTU, IFLA_TXQLEN, IFLA_GROUP, IFLA_IFALIAS };
	struct paste_netconfig *config = argument;
	const struct ifinfomsg *link = nlmsg_data(message);
	struct sk_buff *skb;
	bool fits = true;
	int i, error;

	if (message->nlmsg_type != RTM_NEWLINK || link->ifi_index != config->ifindex)
		return 0;
	skb = begin_link(RTM_NEWLINK, config->ifindex, 0, 0);
	for (i = 0; skb && i < ARRAY_SIZE(kept); i++)
		fits = fits && copy_attribute(skb, message, kept[i]);
	error = keep_link(config, LINK, skb);
	skb = begin_link(RTM_NEWLINKPROP, config->ifindex, 0, 0);
	fits = fits && skb && copy_attribute(skb, message, IFLA_PROP_LIST);
	if (!error && nlmsg_find_attr(message, sizeof(*link), IFLA_PROP_LIST))
		error = keep_link(config, NAMES, skb);
	else
		nlmsg_free(skb);
	if (!error)
		error = keep_link(config, UP, begin_link(RTM_NEWLINK, config->ifindex,
							 link->ifi_flags & KEPT_FLAGS,
							 KEPT_FLAGS));
	return fits ? error : -EMSGSIZE;
}

/* Under RTNL. */
static void save_settings(struct paste_netconfig *config, struct net_device *dev)
{
	struct in_device *ipv4 = __in_dev_get_rtnl(dev);
	struct inet6_dev *ipv6 = __in6_dev_get(dev);

	if (ipv4)
		config->ipv4 = ipv4->cnf;
	config->has_ipv4 = ipv4;
	if (ipv6)
		config->ipv6 = ipv6->cnf;
	config->has_ipv6 = ipv6;
}

static int save_once(struct net *net, struct paste_netconfig *config)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg link;
	} request = {
		.head.nlmsg_len = sizeof(request),
		.head.nlmsg_type = RTM_GETLINK,
		.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
		.link.ifi_index = config->ifindex,
	};
	struct net_device *dev;
	struct paste_rtnl rtnl;
	int error;

	error = paste_rtnl_open(net, &rtnl);
	if (error)
		return error;
	rtnl_lock();
	dev = __dev_get_by_index(net, config->ifindex);
	if (dev)
		save_settings(config, dev);
	rtnl_unlock();
	error = paste_rtnl_ask(&rtnl, &request.head, save_link, config);
	if (!error)
		error = save_dumps(&rtnl, config);
	paste_rtnl_close(&rtnl);
	return error;
}

static void forget_items(struct paste_netconfig *config)
{
	struct item *item, *next;
	int part;

	for (part = 0; part < PARTS; part++) {
		list_for_each_entry_safe(item, next, &config->parts[part], node)
			kvfree(item);
		INIT_LIST_HEAD(&config->parts[part]);
	}
}

int paste_netconfig_save(struct net *net, int ifindex, struct paste_netconfig **out)
{
	struct paste_netconfig *config = kzalloc(sizeof(*config), GFP_KERNEL);
	int attempt, part;
	int error = -EAGAIN;

	if (!config)
		return -ENOMEM;
	for (part = 0; part < PARTS; part++)
		INIT_LIST_HEAD(&config->parts[part]);
	config->ifindex = ifindex;
	for (attempt = 0; attempt < ATTEMPTS && error == -EAGAIN; attempt++) {
		forget_items(config);
		error = save_once(net, config);
	}
	if (error)
		paste_netconfig_free(config);
	else
		*out = config;
	return error;
}

void paste_netconfig_free(struct paste_netconfig *config)
{
	if (config)
		forget_items(config);
	kfree(config);
}
