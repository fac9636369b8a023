// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * drain.c -- the short way from TCP's receive queue to a flow.
 *
 * tcp_read_sock() does three things: it takes data, it tunes the receive buffer, and it sends an
 * ACK if the reader has made one due. Here data is taken, and only if the other two have nothing
 * to do: no urgent data or FIN, no ACK due at once (it will ride on the answer, or wait for its
 * timer), a window that need not be announced, a buffer that need not grow. The conditions are
 * those of tcp_rcv_space_adjust() and tcp_cleanup_rbuf(); whoever fails one goes there.
 *
 * A buffer whose only reference is the sk_buff's changes hands in one step, and its sk_buff is
 * used again.
 */
#include <net/tcp.h>

#include "counters.h"
#include "drain.h"
#include "port.h"
#include "skbcache.h"
#include "socket.h"
#include "zerocopy.h"

/* Has a measurement of what was read per round trip come to its end? */
static bool is_measured(const struct tcp_sock *tp)
{
	u32 rtt = tp->rcv_rtt_est.rtt_us;

	return rtt && tcp_stamp_us_delta(tp->tcp_mstamp, tp->rcvq_space.time) >= rtt >> 3;
}

/* The same, and the receive buffer is to grow. */
static bool is_to_grow(const struct tcp_sock *tp)
{
	return is_measured(tp) && tp->rcv_nxt - tp->rcvq_space.seq > tp->rcvq_space.space;
}

/* The peer sees half of the window, or less, that it could see once all is read. */
static bool is_window_due(const struct tcp_sock *tp)
{
	u32 limit = max(tp->rcv_ssthresh + (1U << tp->rx_opt.rcv_wscale), tp->rcv_wnd);

	return 2 * tcp_receive_window(tp) <= min(tp->window_clamp, limit);
}

/* Somebody waits for an ACK that reading all sets off. */
static bool is_ack_due(const struct sock *sk)
{
	const struct inet_connection_sock *icsk = inet_csk(sk);
	const struct tcp_sock *tp = tcp_sk(sk);
	unsigned int pending = icsk->icsk_ack.pending;

	if (!(pending & ICSK_ACK_SCHED))
		return false;
	return tp->rcv_nxt - tp->rcv_wup > icsk->icsk_ack.rcv_mss ||
	       (pending & ICSK_ACK_PUSHED2) ||
	       ((pending & ICSK_ACK_PUSHED) && !inet_csk_in_pingpong_mode((struct sock *)sk));
}

static bool is_drainable(const struct sock *sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	return !tp->urg_data && !(sk->sk_shutdown & RCV_SHUTDOWN) && !is_ack_due(sk) &&
	       !is_window_due(tp) && !is_to_grow(tp);
}

/* False: it stays in the queue. */
static bool drain_one(struct paste_socket *socket, struct sk_buff *skb)
{
	struct paste_port *port = socket->port;
	unsigned int start;
	u32 index;

	if (TCP_SKB_CB(skb)->seq != tcp_sk(socket->sk)->copied_seq ||
	    TCP_SKB_CB(skb)->end_seq - TCP_SKB_CB(skb)->seq != skb->len ||
	    !paste_flow_has_room(&port->flows) ||
	    !paste_zerocopy_find(skb, port->pool, &index, &start) ||
	    start > PASTE_PAYLOAD_START_MAX || !paste_zerocopy_steal(skb, port->pool, index))
		return false;
	paste_flow_push(&port->flows, &socket->flow, index, start, skb->len);
	return true;
}

bool paste_drain(struct paste_socket *socket)
{
	struct sock *sk = socket->sk;
	struct tcp_sock *tp = tcp_sk(sk);
	long bytes = 0;
	struct sk_buff *skb;

#ifdef PASTE_FORCE_COPY
	return false;
#endif
	if (!is_drainable(sk))
		return false;
	while ((skb = skb_peek(&sk->sk_receive_queue)) && drain_one(socket, skb)) {
		__skb_unlink(skb, &sk->sk_receive_queue);
		WRITE_ONCE(tp->copied_seq, TCP_SKB_CB(skb)->end_seq);
		bytes += skb->len;
		paste_skbcache_put(socket->cache, skb);
	}
	if (!bytes)
		return false;
	if (is_measured(tp)) {
		tp->rcvq_space.seq = tp->copied_seq;
		tp->rcvq_space.time = tp->tcp_mstamp;
	}
	paste_count(PASTE_RX_IN_PLACE, bytes);
	return true;
}
