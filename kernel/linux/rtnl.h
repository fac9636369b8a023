/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * rtnl.h -- conversations with rtnetlink, from inside the kernel.
 *
 * The kernel exports no functions for addresses and routes, but it answers and obeys the same
 * messages that ip(8) sends.
 */
#ifndef PASTE_LINUX_RTNL_H
#define PASTE_LINUX_RTNL_H

#include <linux/netlink.h>

struct net;

struct paste_rtnl {
	struct socket *socket;
	void *answer; /* room for one */
};

/* Called for every message of an answer. Non-zero ends the conversation with that error. */
typedef int (*paste_rtnl_visitor)(const struct nlmsghdr *message, void *argument);

int paste_rtnl_open(struct net *net, struct paste_rtnl *rtnl);
void paste_rtnl_close(struct paste_rtnl *rtnl);

/*
 * Send request, which has NLM_F_ACK or NLM_F_DUMP, and hear all of its answer. visit may be NULL.
 * Negative errno: what the kernel answered, or -EAGAIN when a dump was disturbed by a change.
 */
int paste_rtnl_ask(struct paste_rtnl *rtnl, const struct nlmsghdr *request,
		   paste_rtnl_visitor visit, void *argument);

#endif
