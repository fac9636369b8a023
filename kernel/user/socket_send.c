/* SPDX-License-Identifier: BSD-2-Clause */
/* socket_send.c -- the send side of TCP sockets: what was not acknowledged may be read again */
#include <stdlib.h>

#include "check.h"
#include "fake_socket.h"

void *paste_os_socket_hold(struct paste_flow *flow)
{
	return fake_socket_find(flow->fd);
}

/* TCP takes bytes of send, and refers to the buffer until the ACK. */
static void take(struct fake_socket_state *socket, const struct paste_send *send, uint16_t bytes)
{
	struct segment *segment = malloc(sizeof(*segment));

	CHECK(segment != NULL);
	*segment = (struct segment){ NULL, socket->port->pool, send->index, send->offset, bytes };
	paste_pool_stack_get(segment->pool, segment->index);
	*socket->sent_last = segment;
	socket->sent_last = &segment->next;
}

void fake_socket_hand_over(struct fake_socket_state *socket)
{
	struct paste_transmit *transmit = &socket->port->transmit;
	struct paste_send send;
	bool more = paste_transmit_front(transmit, &socket->flow, &send);

	while (more && !socket->send_error) {
		take(socket, &send, send.length);
		more = paste_transmit_sent(transmit, &socket->flow, send.length, &send);
	}
}

void paste_os_socket_send(struct paste_port *port, void *held)
{
	struct fake_socket_state *socket = held;
	struct paste_transmit *transmit = &port->transmit;
	struct paste_send send;
	uint16_t bytes;
	bool more;

	if (!socket || socket->port != port)
		return;
	more = paste_transmit_front(transmit, &socket->flow, &send);
	while (more) {
		CHECK(send.length > 0 && send.offset + send.length <= port->pool->buf_size);
		if (socket->send_error) {
			paste_transmit_fail(transmit, &socket->flow, socket->send_error);
			return;
		}
		if (socket->room == 0)
			return;
		bytes = send.length < socket->room ? send.length : (uint16_t)socket->room;
		take(socket, &send, bytes);
		socket->room -= bytes;
		more = paste_transmit_sent(transmit, &socket->flow, bytes, &send);
	}
}

/* A fake need not sleep, but may want to. */
bool paste_os_socket_send_now(struct paste_port *port, void *held)
{
	const struct fake_socket_state *socket = held;

	if (!socket || socket->room == 0 || socket->send_error)
		return false;
	paste_os_socket_send(port, held);
	return true;
}

void fake_socket_room(uint32_t fd, uint32_t bytes)
{
	struct fake_socket_state *socket = fake_socket_find(fd);

	socket->room = bytes;
	if (!socket->port || bytes == 0)
		return;
	if (paste_transmit_ready(&socket->port->transmit, &socket->flow))
		paste_port_send(socket->port);
	paste_os_port_wake(socket->port);
}

void fake_socket_send_fails(uint32_t fd, int error)
{
	fake_socket_find(fd)->send_error = error;
}

uint32_t fake_socket_in_flight(uint32_t fd)
{
	const struct segment *segment;
	uint32_t bytes = 0;

	for (segment = fake_socket_find(fd)->sent; segment; segment = segment->next)
		bytes += segment->length;
	return bytes;
}

uint32_t fake_socket_acked(uint32_t fd, char *to, uint32_t size)
{
	struct fake_socket_state *socket = fake_socket_find(fd);
	struct segment *segment;
	uint32_t bytes = 0;

	while ((segment = socket->sent)) {
		CHECK(!to || bytes + segment->length <= size);
		if (to)
			memcpy(to + bytes,
			       (char *)paste_pool_address(segment->pool, segment->index) +
			       segment->start, segment->length);
		bytes += segment->length;
		socket->sent = segment->next;
		paste_pool_stack_put(segment->pool, segment->index);
		free(segment);
	}
	socket->sent_last = &socket->sent;
	return bytes;
}
