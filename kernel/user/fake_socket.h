/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_socket.h -- the inside of a fake socket, shared by its two directions.
 */
#ifndef PASTE_USER_FAKE_SOCKET_H
#define PASTE_USER_FAKE_SOCKET_H

#include "fake.h"

#define FAKE_FIRST_FD 3u
#define FAKE_SOCKETS  256u

struct segment {
	struct segment *next;
	struct paste_pool *pool;
	uint32_t index;
	uint16_t start, length;
};

struct fake_socket_state {
	bool open;
	enum fake_socket_kind kind;
	struct paste_port *port;
	struct paste_flow flow;
	/* receive */
	struct segment *first, **last;
	bool peer_closed, end_sent, reset_sent, leaving;
	int peer_reset;
	/* send */
	struct segment *sent, **sent_last; /* not yet acknowledged */
	uint32_t room;                     /* bytes that TCP takes */
	int send_error;
};

struct fake_socket_state *fake_socket_find(uint32_t fd);
/* TCP takes all that the flow has, room or not. */
void fake_socket_hand_over(struct fake_socket_state *socket);

#endif
