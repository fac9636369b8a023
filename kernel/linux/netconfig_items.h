/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * netconfig_items.h -- a saved configuration: the kernel's own messages, to be said again.
 */
#ifndef PASTE_LINUX_NETCONFIG_ITEMS_H
#define PASTE_LINUX_NETCONFIG_ITEMS_H

#include <linux/inetdevice.h>
#include <linux/list.h>
#include <net/addrconf.h>
#include <net/netlink.h>
#include <net/rtnh.h>

#include "netconfig.h"
#include "rtnl.h"

/* In the order in which they are said again. */
enum part { LINK, NAMES, ADDRESS4, UP, ADDRESS6, ROUTES, NEIGHBOURS, PARTS };

struct item {
	struct list_head node;
	union {
		struct nlmsghdr message;
		DECLARE_FLEX_ARRAY(u8, bytes); /* nlmsg_len of them */
	};
};

struct paste_netconfig {
	int ifindex;
	struct list_head parts[PARTS];
	/* the settings under /proc/sys/net/ipv[46]/conf */
	struct ipv4_devconf ipv4;
	struct ipv6_devconf ipv6;
	bool has_ipv4, has_ipv6;
};

#endif
