// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * socket_port.c -- what a port does with its sockets: send from them, drain them, let them go.
 *
 * A port's lists name sockets whose record may go as soon as the lists' lock is released; so
 * each is held by a reference, locked, and asked again whether it is still the port's.
 */
#include <linux/tcp.h>
#include <net/sock.h>

#include "counters.h"
#include "portlinux.h"
#include "queue.h"
#include "send.h"
#include "socket.h"

void *paste_os_socket_hold(struct paste_flow *flow)
{
	struct sock *sk = container_of(flow, struct paste_socket, flow)->sk;

	sock_hold(sk);
	return sk;
}

static void send_rest(struct paste_port *port, struct sock *sk)
{
	struct paste_socket *socket;

	lock_sock(sk);
	socket = paste_socket_of(sk);
	if (socket && socket->port == port)
		paste_send(socket);
	release_sock(sk);
}

bool paste_os_socket_send_now(struct paste_port *port, void *held)
{
	struct sock *sk = held;

	if (paste_queue(sk, port) != PASTE_QUEUED_ALL)
		return false;
	sock_put(sk);
	return true;
}

/* What could not be done at once; meanwhile it may have become possible, or be done. */
void paste_os_socket_send(struct paste_port *port, void *held)
{
	struct sock *sk = held;
	enum paste_queued result;

	local_bh_disable();
	result = paste_queue(sk, port);
	local_bh_enable();
	switch (result) {
	case PASTE_QUEUED_ALL:
		break;
	case PASTE_QUEUED_STUCK:
		/* That is set already; but it pushes, and starts the timer of a closed window. */
		tcp_sock_set_nodelay(sk);
		break;
	case PASTE_QUEUED_REST:
		paste_count(PASTE_SEND_LONG_WAY, 1);
		send_rest(port, sk);
		break;
	}
	sock_put(sk);
}

/* The first socket of a list, with a reference; its record may be gone once the lock is. */
static struct sock *first(struct paste_port_linux *os, struct list_head *list, bool is_pending)
{
	struct paste_socket *socket = NULL;
	struct sock *sk = NULL;

	spin_lock_bh(&os->sockets_lock);
	if (is_pending) {
		socket = list_first_entry_or_null(list, struct paste_socket, pending);
		if (socket)
			list_del_init(&socket->pending);
	} else {
		socket = list_first_entry_or_null(list, struct paste_socket, node);
	}
	if (socket) {
		sk = socket->sk;
		sock_hold(sk);
	}
	spin_unlock_bh(&os->sockets_lock);
	return sk;
}

void paste_os_socket_drain_pending(struct paste_port *port)
{
	struct paste_port_linux *os = paste_port_linux(port);
	LIST_HEAD(list);
	struct sock *sk;

	spin_lock_bh(&os->sockets_lock);
	list_splice_init(&os->pending, &list);
	spin_unlock_bh(&os->sockets_lock);
	while ((sk = first(os, &list, true))) {
		struct paste_socket *socket;

		lock_sock(sk);
		socket = paste_socket_of(sk);
		if (socket && socket->port == port)
			paste_socket_capture(socket);
		release_sock(sk);
		sock_put(sk);
	}
}

void paste_os_socket_unregister_all(struct paste_port *port)
{
	struct paste_port_linux *os = paste_port_linux(port);
	struct sock *sk;

	while ((sk = first(os, &os->sockets, false))) {
		struct paste_socket *socket;

		lock_sock(sk);
		socket = paste_socket_of(sk);
		if (socket && socket->port == port)
			paste_socket_finish(socket);
		if (socket && socket->lender == port)
			paste_socket_return_loans(socket);
		release_sock(sk);
		sock_put(sk);
	}
}
