// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * capture.c -- TCP payload leaves the receive queue by reference, or by copy where it must.
 *
 * In place: the data is one pool buffer of this port (see zerocopy.h). By copy: it came through
 * another NIC or the loopback device, was queued before registration, was collapsed by TCP
 * under memory pressure, starts where a slot cannot say so, or was captured once already.
 */
#include <net/tcp.h>

#include "capture.h"
#include "counters.h"
#include "drain.h"
#include "port.h"
#include "socket.h"
#include "zerocopy.h"

/* Copied payload starts where most in-place payload does: Ethernet, IPv4, TCP, timestamps. */
#define COPY_PAYLOAD_START 66

/* Why does skb lie in no buffer of the port's pool? */
static enum paste_counter why_elsewhere(const struct sk_buff *skb)
{
	if (!skb->skb_iif)
		return PASTE_RX_COPIED_STACK; /* TCP made it */
	return skb->skb_iif == LOOPBACK_IFINDEX ? PASTE_RX_COPIED_LOOPBACK : PASTE_RX_COPIED_NIC;
}

/* False: it has to be copied, *why says for which reason. */
static bool take_in_place(struct paste_socket *socket, struct sk_buff *skb, unsigned int offset,
			  size_t bytes, enum paste_counter *why)
{
	struct paste_port *port = socket->port;
	unsigned int start;
	u32 index;

	*why = why_elsewhere(skb);
#ifdef PASTE_FORCE_COPY
	return false;
#endif
	if (!paste_zerocopy_find(skb, port->pool, &index, &start))
		return false;
	start += offset;
	*why = PASTE_RX_COPIED_OFFSET;
	if (start > PASTE_PAYLOAD_START_MAX)
		return false;
	*why = PASTE_RX_COPIED_AGAIN;
	if (!paste_pool_capture(port->pool, index))
		return false;
	paste_count(PASTE_RX_IN_PLACE, bytes);
	paste_flow_push(&port->flows, &socket->flow, index, start, bytes);
	return true;
}

/* Returns bytes taken, 0 when the pool has no buffer. */
static size_t take_copy(struct paste_socket *socket, struct sk_buff *skb, unsigned int offset,
			size_t bytes)
{
	struct paste_port *port = socket->port;
	size_t chunk = min_t(size_t, bytes, port->pool->buf_size - COPY_PAYLOAD_START);
	u32 index = paste_pool_take(port->pool, PASTE_QUEUED);
	u8 *buffer;

	if (!index)
		return 0;
	buffer = paste_pool_address(port->pool, index);
	if (skb_copy_bits(skb, offset, buffer + COPY_PAYLOAD_START, chunk)) {
		paste_pool_release(port->pool, index, PASTE_QUEUED);
		return 0;
	}
	paste_flow_push(&port->flows, &socket->flow, index, COPY_PAYLOAD_START, chunk);
	return chunk;
}

static int capture_some(read_descriptor_t *descriptor, struct sk_buff *skb, unsigned int offset,
			size_t bytes)
{
	struct paste_socket *socket = descriptor->arg.data;
	enum paste_counter why;
	size_t taken = 0;

	if (paste_flow_has_room(&socket->port->flows)) {
		if (take_in_place(socket, skb, offset, bytes, &why))
			return bytes;
		taken = take_copy(socket, skb, offset, bytes);
		paste_count(why, taken);
	}
	if (!taken)
		descriptor->error = -ENOBUFS;
	return taken;
}

static bool stream_ended(const struct sock *sk)
{
	return (sk->sk_shutdown & RCV_SHUTDOWN) || sk->sk_state == TCP_CLOSE;
}

/* Each kind of end once: true the first time. */
static bool pass_end(struct paste_socket *socket)
{
	const struct sock *sk = socket->sk;
	int error = sk->sk_state == TCP_CLOSE ? READ_ONCE(sk->sk_err) : 0;

	if (error ? socket->reset : socket->ended)
		return false;
	if (error)
		socket->reset = true;
	else
		socket->ended = true;
	paste_flow_end(&socket->port->flows, &socket->flow, error);
	return true;
}

bool paste_capture(struct paste_socket *socket, bool *news)
{
	read_descriptor_t descriptor = { .arg.data = socket, .count = 1 };
	struct sock *sk = socket->sk;

	*news = paste_drain(socket);
	if (!*news || !skb_queue_empty(&sk->sk_receive_queue))
		*news |= tcp_read_sock(sk, &descriptor, capture_some) > 0;
	if (!descriptor.error && stream_ended(sk) && pass_end(socket))
		*news = true;
	return !descriptor.error;
}
