/* SPDX-License-Identifier: BSD-2-Clause */
/* socket.c -- the receive side of TCP sockets, and a network stack that may keep buffers */
#include <stdlib.h>

#include "check.h"
#include "fake_socket.h"

#define HELD_MAX 1024u

struct held {
	struct paste_pool *pool;
	uint32_t index;
};

static struct fake_socket_state sockets[FAKE_SOCKETS];
static struct held held[HELD_MAX];
static unsigned int held_count;
static bool holding;

struct fake_socket_state *fake_socket_find(uint32_t fd)
{
	if (fd < FAKE_FIRST_FD || fd >= FAKE_FIRST_FD + FAKE_SOCKETS ||
	    !sockets[fd - FAKE_FIRST_FD].open)
		return NULL;
	return &sockets[fd - FAKE_FIRST_FD];
}

uint32_t fake_socket(enum fake_socket_kind kind)
{
	uint32_t i;

	for (i = 0; i < FAKE_SOCKETS && sockets[i].open; i++)
		;
	CHECK(i < FAKE_SOCKETS);
	memset(&sockets[i], 0, sizeof(sockets[i]));
	sockets[i].open = true;
	sockets[i].kind = kind;
	sockets[i].last = &sockets[i].first;
	sockets[i].sent_last = &sockets[i].sent;
	sockets[i].room = UINT32_MAX;
	return i + FAKE_FIRST_FD;
}

static void stack_put(struct paste_pool *pool, uint32_t index)
{
	if (holding && held_count < HELD_MAX) {
		held[held_count].pool = pool;
		held[held_count++].index = index;
		return;
	}
	paste_pool_stack_put(pool, index);
}

void fake_stack_hold(bool hold)
{
	holding = hold;
}

void fake_stack_let_go(void)
{
	while (held_count > 0) {
		held_count--;
		paste_pool_stack_put(held[held_count].pool, held[held_count].index);
	}
}

static struct segment *pop(struct fake_socket_state *socket)
{
	struct segment *segment = socket->first;

	socket->first = segment->next;
	if (!socket->first)
		socket->last = &socket->first;
	return segment;
}

/* Everything in order, as long as the port takes it. */
static void capture(struct fake_socket_state *socket)
{
	struct paste_flow_queue *flows = &socket->port->flows;
	struct segment *segment;

	while (!socket->leaving && socket->first && paste_flow_has_room(flows)) {
		segment = pop(socket);
		CHECK(paste_pool_capture(segment->pool, segment->index));
		paste_flow_push(flows, &socket->flow, segment->index, segment->start,
				segment->length);
		stack_put(segment->pool, segment->index);
		free(segment);
	}
	if (!socket->first && socket->peer_closed && !socket->end_sent) {
		socket->end_sent = true;
		paste_flow_end(flows, &socket->flow, 0);
	}
	if (!socket->first && socket->peer_reset && !socket->reset_sent) {
		socket->reset_sent = true;
		paste_flow_end(flows, &socket->flow, socket->peer_reset);
	}
	paste_os_port_wake(socket->port);
}

void fake_socket_deliver(uint32_t fd, struct paste_pool *pool, uint32_t index, uint16_t start,
			 uint16_t length)
{
	struct fake_socket_state *socket = fake_socket_find(fd);
	struct segment *segment;

	if (!socket) {
		stack_put(pool, index);
		return;
	}
	segment = malloc(sizeof(*segment));
	CHECK(segment != NULL);
	*segment = (struct segment){ NULL, pool, index, start, length };
	*socket->last = segment;
	socket->last = &segment->next;
	if (socket->port)
		capture(socket);
}

bool fake_socket_copy(uint32_t fd, const void *payload, uint16_t length)
{
	struct fake_socket_state *socket = fake_socket_find(fd);
	struct paste_pool *pool = socket->port->pool;
	uint32_t index;

	if (!paste_flow_has_room(&socket->port->flows))
		return false;
	index = paste_pool_take(pool, PASTE_QUEUED);
	if (index == 0)
		return false;
	memcpy((char *)paste_pool_address(pool, index) + FAKE_HEADERS, payload, length);
	paste_flow_push(&socket->port->flows, &socket->flow, index, FAKE_HEADERS, length);
	paste_os_port_wake(socket->port);
	return true;
}

void fake_socket_peer_closed(uint32_t fd)
{
	struct fake_socket_state *socket = fake_socket_find(fd);

	socket->peer_closed = true;
	if (socket->port)
		capture(socket);
}

void fake_socket_peer_reset(uint32_t fd, int error)
{
	struct fake_socket_state *socket = fake_socket_find(fd);

	socket->peer_reset = error;
	socket->send_error = EPIPE;
	if (!socket->port)
		return;
	capture(socket);
	if (paste_transmit_ready(&socket->port->transmit, &socket->flow))
		paste_port_send(socket->port);
}

static void empty(struct fake_socket_state *socket)
{
	struct segment *segment;

	while (socket->first) {
		segment = pop(socket);
		stack_put(segment->pool, segment->index);
		free(segment);
	}
}

static void leave_port(struct fake_socket_state *socket)
{
	paste_port_leave(socket->port, &socket->flow);
	socket->port = NULL;
}

/* The same, and TCP takes what the port's slots had to send. */
static void finish(struct fake_socket_state *socket)
{
	paste_transmit_stop(&socket->port->transmit, &socket->flow);
	fake_socket_hand_over(socket);
	leave_port(socket);
}

uint32_t fake_socket_last(uint32_t fd, char *to, uint32_t size)
{
	struct fake_socket_state *socket = fake_socket_find(fd);
	uint32_t bytes;

	if (socket->port)
		finish(socket);
	empty(socket);
	bytes = fake_socket_acked(fd, to, size);
	socket->open = false;
	return bytes;
}

void fake_socket_close(uint32_t fd)
{
	fake_socket_last(fd, NULL, 0);
}

void fake_socket_reset(void)
{
	uint32_t i;

	CHECK(held_count == 0);
	holding = false;
	for (i = 0; i < FAKE_SOCKETS; i++) {
		CHECK(sockets[i].port == NULL && sockets[i].first == NULL);
		CHECK(sockets[i].sent == NULL);
		sockets[i].open = false;
	}
}

int paste_os_socket_register(struct paste_port *port, uint32_t fd)
{
	struct fake_socket_state *socket = fake_socket_find(fd);

	if (!socket)
		return EBADF;
	if (socket->kind == FAKE_UDP)
		return EOPNOTSUPP;
	if (socket->kind == FAKE_LISTENING)
		return EINVAL;
	if (socket->port)
		return EBUSY;
	if (fake_may_fail())
		return ENOMEM;
	socket->port = port;
	socket->leaving = false;
	paste_port_join(port, &socket->flow, fd);
	capture(socket);
	return 0;
}

int paste_os_socket_unregister(struct paste_port *port, uint32_t fd)
{
	struct fake_socket_state *socket = fake_socket_find(fd);
	struct paste_send send;

	if (!socket)
		return EBADF;
	if (socket->kind == FAKE_UDP)
		return EOPNOTSUPP;
	if (socket->port != port)
		return EINVAL;
	paste_os_socket_send(port, socket);
	if (paste_transmit_front(&port->transmit, &socket->flow, &send))
		return EBUSY;
	socket->leaving = true;
	if (paste_flow_has_payload(&port->flows, &socket->flow))
		return EBUSY;
	leave_port(socket);
	return 0;
}

void paste_os_socket_drain_pending(struct paste_port *port)
{
	uint32_t i;

	for (i = 0; i < FAKE_SOCKETS; i++)
		if (sockets[i].open && sockets[i].port == port)
			capture(&sockets[i]);
}

void paste_os_socket_unregister_all(struct paste_port *port)
{
	uint32_t i;

	for (i = 0; i < FAKE_SOCKETS; i++)
		if (sockets[i].open && sockets[i].port == port)
			finish(&sockets[i]);
}
