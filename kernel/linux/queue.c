// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * queue.c -- the short way from a flow's entries to TCP's write queue.
 *
 * An entry is one piece of one page, so the sk_buff that tcp_sendmsg_locked() would make of it is
 * made here, and queued as it would be. TCP then sends what its rules allow: the socket gets the
 * flag that says that sending was put off, and the callback that looks at such flags is called
 * as at the end of a softirq that found the socket free. That one starts no timer for a closed
 * window, so the caller is told if nothing is on its way.
 *
 * The long way is for all else: a socket that somebody has locked, that is ending, corks or wants
 * time stamps; one that was idle for so long that it has to start slowly; lack of memory.
 */
#include <net/tcp.h>

#include "counters.h"
#include "port.h"
#include "queue.h"
#include "send.h"
#include "socket.h"
#include "zerocopy.h"

static bool was_idle(const struct sock *sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	return !tp->packets_out && (s32)(tcp_jiffies32 - tp->lsndtime) > inet_csk(sk)->icsk_rto;
}

static bool is_queueable(const struct sock *sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);

#ifdef PASTE_FORCE_COPY
	return false;
#endif
	return (sk->sk_state == TCP_ESTABLISHED || sk->sk_state == TCP_CLOSE_WAIT) &&
	       !sk->sk_err && !(sk->sk_shutdown & SEND_SHUTDOWN) && !tp->repair &&
	       !sk->sk_tsflags && (sk->sk_route_caps & NETIF_F_SG) &&
	       (tp->nonagle & (TCP_NAGLE_OFF | TCP_NAGLE_CORK)) == TCP_NAGLE_OFF &&
	       !was_idle(sk);
}

/* With the entry as its only fragment, charged to nobody yet. */
static struct sk_buff *make_entry_skb(struct paste_pool *pool, const struct paste_send *send)
{
	struct sk_buff *skb = alloc_skb_fclone(MAX_TCP_HEADER, GFP_ATOMIC | __GFP_NOWARN);
	unsigned int in_page;
	struct page *page;

	if (!skb)
		return NULL;
	skb_reserve(skb, MAX_TCP_HEADER);
	skb->ip_summed = CHECKSUM_PARTIAL;
	INIT_LIST_HEAD(&skb->tcp_tsorted_anchor);
	page = paste_buffer_page(pool, send->index, &in_page);
	get_page(page);
	skb_fill_page_desc_noacc(skb, 0, page, in_page + send->offset, send->length);
	skb->len = send->length;
	skb->data_len = send->length;
	return skb;
}

/* Pure zero-copy data counts as queued, but only the head is charged to the socket's memory. */
static bool charge(struct sock *sk, struct sk_buff *skb)
{
	int head = SKB_TRUESIZE(skb_end_offset(skb));

	if (!sk_wmem_schedule(sk, head))
		return false;
	skb->truesize = head + PAGE_ALIGN(offset_in_page(skb_frag_off(&skb_shinfo(skb)->frags[0])) +
					  skb->len);
	sk_mem_charge(sk, head);
	sk_wmem_queued_add(sk, skb->truesize);
	return true;
}

static void append_entry(struct sock *sk, struct sk_buff *skb)
{
	struct tcp_sock *tp = tcp_sk(sk);
	struct tcp_skb_cb *tcb = TCP_SKB_CB(skb);

	tcb->seq = tp->write_seq;
	tcb->end_seq = tp->write_seq + skb->len;
	tcb->tcp_flags = TCPHDR_ACK | TCPHDR_PSH;
	tcp_skb_pcount_set(skb, 0);
	__skb_header_release(skb);
	__skb_queue_tail(&sk->sk_write_queue, skb);
	/* It is busy from now on, for its statistics. */
	if (sk->sk_write_queue.next == skb && tp->chrono_type < TCP_CHRONO_BUSY) {
		tp->chrono_start = tcp_jiffies32;
		tp->chrono_type = TCP_CHRONO_BUSY;
	}
	tp->nonagle &= ~TCP_NAGLE_PUSH;
	WRITE_ONCE(tp->write_seq, tcb->end_seq);
	tp->pushed_seq = tp->write_seq;
}

/* *took: the entry's reference of the buffer went along. */
static bool queue_entry(struct sock *sk, struct paste_pool *pool, const struct paste_send *send,
			bool *took)
{
	struct sk_buff *skb;

	if (!sk_stream_memory_free(sk))
		return false;
	skb = make_entry_skb(pool, send);
	if (!skb)
		return false;
	if (!charge(sk, skb)) {
		kfree_skb(skb);
		return false;
	}
	skb_shinfo(skb)->flags |= SKBFL_PURE_ZEROCOPY;
	skb_zcopy_init(skb, paste_send_ubuf(pool, send->index, took));
	append_entry(sk, skb);
	paste_count(PASTE_TX_IN_PLACE, send->length);
	return true;
}

static void push(struct sock *sk)
{
	if (!test_and_set_bit(TCP_TSQ_DEFERRED, &sk->sk_tsq_flags))
		sock_hold(sk);
	sk->sk_prot->release_cb(sk);
}

/* Under the socket's spinlock, and nobody owns it. */
static enum paste_queued queue_all(struct paste_socket *socket)
{
	struct paste_port *port = socket->port;
	struct paste_transmit *transmit = &port->transmit;
	struct sock *sk = socket->sk;
	struct paste_send send;
	bool more = paste_transmit_front(transmit, &socket->flow, &send);
	bool queued = false, took = false;

	if (more && !is_queueable(sk))
		return PASTE_QUEUED_REST;
	if (more)
		tcp_rate_check_app_limited(sk);
	while (more && queue_entry(sk, port->pool, &send, &took)) {
		queued = true;
		paste_count(PASTE_SEND_SHORT_WAY, 1);
		if (took)
			more = paste_transmit_lent(transmit, &socket->flow, &send);
		else
			more = paste_transmit_sent(transmit, &socket->flow, send.length, &send);
		took = false;
	}
	if (queued)
		push(sk);
	if (more)
		return PASTE_QUEUED_REST;
	return tcp_send_head(sk) && !tcp_sk(sk)->packets_out ? PASTE_QUEUED_STUCK :
							       PASTE_QUEUED_ALL;
}

enum paste_queued paste_queue(struct sock *sk, struct paste_port *port)
{
	enum paste_queued result = PASTE_QUEUED_REST;
	struct paste_socket *socket;

	bh_lock_sock(sk);
	if (!sock_owned_by_user(sk)) {
		socket = paste_socket_of(sk);
		result = PASTE_QUEUED_ALL;
		if (socket && socket->port == port)
			result = queue_all(socket);
	}
	bh_unlock_sock(sk);
	return result;
}
