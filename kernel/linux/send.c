// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * send.c -- TCP sends from pool buffers.
 *
 * Every buffer has a second ubuf_info for what it sends (the first is for what it received): one
 * per buffer however many sockets send it, which is why it holds one stack reference of the
 * buffer as long as it is referred to at all. SKBFL_DONT_ORPHAN keeps skb_clone() from copying.
 */
#include <linux/bvec.h>
#include <net/tcp.h>

#include "bufpool.h"
#include "compat.h"
#include "counters.h"
#include "portlinux.h"
#include "send.h"
#include "socket.h"
#include "zerocopy.h"

static void sent_let_go(struct sk_buff *skb, struct ubuf_info *info, bool success)
{
	struct paste_ubuf *ubuf = container_of(info, struct paste_ubuf, info);

	if (refcount_dec_and_test(&info->refcnt))
		paste_pool_stack_put(ubuf->pool, ubuf->index);
}

static const struct ubuf_info_ops sent_ops = { .complete = sent_let_go };

struct ubuf_info *paste_send_ubuf(struct paste_pool *pool, u32 index, bool *took)
{
	struct paste_bufpool *bufpool = paste_bufpool(pool);
	struct paste_ubuf *ubuf = &bufpool->sent[index];

	/* Two sockets may send the same buffer. */
	paste_os_lock(&bufpool->sent_lock);
	if (!refcount_inc_not_zero(&ubuf->info.refcnt)) {
		if (took)
			*took = true;
		else
			paste_pool_stack_get(pool, index);
		paste_compat_ubuf_init(&ubuf->info, &sent_ops);
		ubuf->info.flags = SKBFL_ZEROCOPY_FRAG | SKBFL_DONT_ORPHAN;
		refcount_set(&ubuf->info.refcnt, 1);
	}
	paste_os_unlock(&bufpool->sent_lock);
	return &ubuf->info;
}

/* Returns bytes that TCP took, or a negative errno. */
static int send_entry(struct sock *sk, struct paste_pool *pool, const struct paste_send *send)
{
	struct msghdr message = {
		.msg_flags = MSG_ZEROCOPY | MSG_DONTWAIT | MSG_NOSIGNAL,
	};
	unsigned int in_page;
	struct page *page = paste_buffer_page(pool, send->index, &in_page);
	struct bio_vec piece = {
		.bv_page = page,
		.bv_offset = in_page + send->offset,
		.bv_len = send->length,
	};
	int sent;

#ifdef PASTE_FORCE_COPY
	message.msg_flags &= ~MSG_ZEROCOPY;
#endif
	iov_iter_bvec(&message.msg_iter, WRITE, &piece, 1, send->length);
	if (message.msg_flags & MSG_ZEROCOPY)
		message.msg_ubuf = paste_send_ubuf(pool, send->index, NULL);
	sent = tcp_sendmsg_locked(sk, &message, send->length);
	if (message.msg_ubuf)
		net_zcopy_put(message.msg_ubuf);
	if (sent > 0 && message.msg_ubuf && (sk->sk_route_caps & NETIF_F_SG))
		paste_count(PASTE_TX_IN_PLACE, sent);
	else if (sent > 0)
		paste_count(PASTE_TX_COPIED, sent);
	return sent;
}

/* Nothing is in flight, so no ACK will say that there is room again. */
static bool needs_timer(const struct sock *sk)
{
	return tcp_rtx_and_write_queues_empty(sk);
}

/* What makes TCP say that a socket is full. */
struct limits {
	int sndbuf;
	u32 lowat;
	bool locked;
};

static struct limits limits_of(const struct sock *sk)
{
	return (struct limits){
		.sndbuf = sk->sk_sndbuf,
		.lowat = tcp_sk(sk)->notsent_lowat,
		.locked = sk->sk_userlocks & SOCK_SNDBUF_LOCK,
	};
}

/*
 * When memory is short, TCP halves the buffer unless the user has set its size, and lets a socket
 * that is full then have a little; the next entry needs a buffer without limit again.
 */
static void lift_limits(struct sock *sk)
{
	sk->sk_userlocks &= ~SOCK_SNDBUF_LOCK;
	WRITE_ONCE(sk->sk_sndbuf, INT_MAX / 2);
	WRITE_ONCE(tcp_sk(sk)->notsent_lowat, UINT_MAX);
}

static void set_limits(struct sock *sk, const struct limits *limits)
{
	if (limits->locked)
		sk->sk_userlocks |= SOCK_SNDBUF_LOCK;
	WRITE_ONCE(sk->sk_sndbuf, limits->sndbuf);
	WRITE_ONCE(tcp_sk(sk)->notsent_lowat, limits->lowat);
}

/* Returns what TCP said last: above 0 if nothing is left, else a negative errno; 0: nothing was. */
static int send_entries(struct paste_socket *socket, bool without_limits)
{
	struct paste_port *port = socket->port;
	struct paste_send send;
	bool more = paste_transmit_front(&port->transmit, &socket->flow, &send);
	int sent = 0;

	while (more) {
		if (without_limits)
			lift_limits(socket->sk);
		sent = send_entry(socket->sk, port->pool, &send);
		if (sent <= 0)
			break;
		more = paste_transmit_sent(&port->transmit, &socket->flow, sent, &send);
	}
	return sent;
}

bool paste_send_last(struct paste_socket *socket)
{
	struct limits limits = limits_of(socket->sk);
	int sent = send_entries(socket, true);

	set_limits(socket->sk, &limits);
	return sent >= 0;
}

void paste_send(struct paste_socket *socket)
{
	struct paste_port *port = socket->port;
	struct paste_transmit *transmit = &port->transmit;
	int sent = send_entries(socket, false);

	if (sent == -EAGAIN && needs_timer(socket->sk)) {
		paste_transmit_ready(transmit, &socket->flow);
		schedule_delayed_work(&paste_port_linux(port)->retry, HZ / 50 + 1);
	} else if (sent < 0 && sent != -EAGAIN) {
		/* Its descriptor is closed: the number may be another socket's by now. */
		if (sock_flag(socket->sk, SOCK_DEAD))
			sent = 0;
		paste_transmit_fail(transmit, &socket->flow, -sent);
		paste_os_port_wake(port);
	}
}

/* ------------------------------------------------------------------ copies at the end */

static bool is_ours(struct sk_buff *skb, const struct paste_pool *pool)
{
	const struct ubuf_info *info = skb_zcopy(skb);

	return info && paste_compat_ubuf_is(info, &sent_ops) &&
	       container_of(info, struct paste_ubuf, info)->pool == pool;
}

/* True: skb's data is no pool's any more. */
static bool copy_out(struct sock *sk, struct sk_buff *skb)
{
	bool pure = skb_zcopy_pure(skb);
	int extra = skb->truesize - SKB_TRUESIZE(skb_end_offset(skb));

	/* Pure zero-copy data is not charged to the socket's memory; the copy is. */
	if (pure && !sk_wmem_schedule(sk, extra))
		return false;
	if (skb_copy_ubufs(skb, GFP_KERNEL))
		return false;
	if (pure)
		sk_mem_charge(sk, extra);
	return true;
}

void paste_send_copy_out(struct sock *sk, const struct paste_pool *pool)
{
	struct sk_buff *skb;
	bool copied = true;

	skb_rbtree_walk(skb, &sk->tcp_rtx_queue)
		if (is_ours(skb, pool))
			copied = copy_out(sk, skb) && copied;
	skb_queue_walk(&sk->sk_write_queue, skb)
		if (is_ours(skb, pool))
			copied = copy_out(sk, skb) && copied;
	if (!copied)
		paste_count(PASTE_TX_LEFT_BEHIND, 1);
}

/* ------------------------------------------------------------------ the port's workers */

void paste_send_later(struct paste_port *port)
{
	queue_work(system_unbound_wq, &paste_port_linux(port)->send);
}
