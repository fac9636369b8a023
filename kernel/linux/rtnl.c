// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * rtnl.c -- conversations with rtnetlink, from inside the kernel.
 */
#include <linux/net.h>
#include <linux/slab.h>
#include <net/netlink.h>
#include <net/sock.h>

#include "rtnl.h"

#define ANSWER_SIZE SZ_64K /* the kernel sends at most 32 KiB in one piece */

int paste_rtnl_open(struct net *net, struct paste_rtnl *rtnl)
{
	int error;

	rtnl->answer = kvmalloc(ANSWER_SIZE, GFP_KERNEL);
	if (!rtnl->answer)
		return -ENOMEM;
	error = sock_create_kern(net, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, &rtnl->socket);
	if (error)
		kvfree(rtnl->answer);
	return error;
}

void paste_rtnl_close(struct paste_rtnl *rtnl)
{
	sock_release(rtnl->socket);
	kvfree(rtnl->answer);
}

static int send_request(struct paste_rtnl *rtnl, const struct nlmsghdr *request)
{
	struct kvec bytes = { .iov_base = (void *)request, .iov_len = request->nlmsg_len };
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	/* An explicit address: permissions are then those of the calling task alone. */
	struct msghdr message = { .msg_name = &kernel, .msg_namelen = sizeof(kernel) };
	int sent;

	sent = kernel_sendmsg(rtnl->socket, &message, &bytes, 1, bytes.iov_len);
	return sent < 0 ? sent : 0;
}

/* Returns 1 at the end of the answer. */
static int hear(const struct nlmsghdr *message, paste_rtnl_visitor visit, void *argument)
{
	const struct nlmsgerr *verdict = nlmsg_data(message);

	if (message->nlmsg_flags & NLM_F_DUMP_INTR)
		return -EAGAIN;
	switch (message->nlmsg_type) {
	case NLMSG_DONE:
		return 1;
	case NLMSG_ERROR:
		if (nlmsg_len(message) < sizeof(*verdict))
			return -EPROTO;
		return verdict->error ? verdict->error : 1;
	default:
		return visit ? visit(message, argument) : 0;
	}
}

/* The kernel has put its answer, or a dump's next piece, into the socket before it returned. */
static int receive_answer(struct paste_rtnl *rtnl, paste_rtnl_visitor visit, void *argument)
{
	struct kvec bytes = { .iov_base = rtnl->answer, .iov_len = ANSWER_SIZE };
	struct nlmsghdr *message = rtnl->answer;
	struct msghdr envelope = {};
	int rest, state = 0;

	rest = kernel_recvmsg(rtnl->socket, &envelope, &bytes, 1, ANSWER_SIZE, MSG_DONTWAIT);
	if (rest < 0)
		return rest == -EAGAIN ? -EPROTO : rest;
	if (envelope.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	for (; !state && nlmsg_ok(message, rest); message = nlmsg_next(message, &rest))
		state = hear(message, visit, argument);
	return state;
}

int paste_rtnl_ask(struct paste_rtnl *rtnl, const struct nlmsghdr *request,
		   paste_rtnl_visitor visit, void *argument)
{
	int state = send_request(rtnl, request);

	while (!state)
		state = receive_answer(rtnl, visit, argument);
	return state < 0 ? state : 0;
}
