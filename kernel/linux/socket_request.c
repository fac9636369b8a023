// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * socket_request.c -- registration: a TCP socket joins a port, and leaves it on request.
 *
 * Under the control lock.
 */
#include <linux/file.h>
#include <linux/net.h>
#include <net/tcp.h>

#include "portlinux.h"
#include "send.h"
#include "socket.h"

static bool is_tcp(const struct sock *sk)
{
	return sk->sk_type == SOCK_STREAM && sk->sk_protocol == IPPROTO_TCP &&
	       (sk->sk_family == AF_INET || sk->sk_family == AF_INET6);
}

static int check(const struct sock *sk)
{
	if (!is_tcp(sk))
		return EOPNOTSUPP;
	if (sk->sk_state != TCP_ESTABLISHED && sk->sk_state != TCP_CLOSE_WAIT)
		return EINVAL;
	return 0;
}

/* Under the socket's lock. */
static int join_port(struct paste_socket *socket, struct paste_port *port, u32 fd)
{
	struct paste_port_linux *os = paste_port_linux(port);

	if (socket->port)
		return EBUSY;
	if (socket->lender)
		paste_socket_return_loans(socket);
	paste_port_join(port, &socket->flow, fd);
	socket->leaving = false;
	socket->ended = false;
	socket->reset = false;
	socket->port = port;
	socket->lender = port;
	spin_lock_bh(&os->sockets_lock);
	list_add_tail(&socket->node, &os->sockets);
	spin_unlock_bh(&os->sockets_lock);
	paste_socket_capture(socket); /* what came before registration */
	return 0;
}

static int register_sock(struct paste_port *port, struct socket *sock, u32 fd)
{
	struct sock *sk = sock->sk;
	struct paste_socket *socket;
	int error = check(sk);

	if (error)
		return error;
	if (!paste_socket_is_registered(sk) && !paste_socket_attach(sock, &error))
		return error;
	lock_sock(sk);
	socket = paste_socket_is_registered(sk) ? paste_socket_of(sk) : NULL;
	error = socket ? join_port(socket, port, fd) : EINVAL;
	release_sock(sk);
	if (error)
		return error;
	tcp_sock_set_nodelay(sk);
	/* The ACK waits a little: most often it can ride on the application's answer. */
	tcp_sock_set_quickack(sk, 0);
	return 0;
}

/* Under the socket's lock. */
static int leave_on_request(struct paste_port *port, struct sock *sk)
{
	struct paste_socket *socket = paste_socket_is_registered(sk) ? paste_socket_of(sk) : NULL;
	struct paste_send send;

	if (!socket || socket->port != port)
		return EINVAL;
	paste_send(socket);
	if (paste_transmit_front(&port->transmit, &socket->flow, &send))
		return EBUSY;
	/* It cannot go back into the socket, and more would come in the meantime. */
	socket->leaving = true;
	if (paste_flow_has_payload(&port->flows, &socket->flow))
		return EBUSY;
	paste_socket_leave_port(socket);
	/* Who waits at the socket itself has not been told of anything. */
	socket->data_ready(sk);
	return 0;
}

static int unregister_sock(struct paste_port *port, struct socket *sock, u32 fd)
{
	struct sock *sk = sock->sk;
	int error;

	if (!is_tcp(sk))
		return EOPNOTSUPP;
	lock_sock(sk);
	error = leave_on_request(port, sk);
	release_sock(sk);
	return error;
}

static int with_socket(struct paste_port *port, u32 fd,
		       int (*handler)(struct paste_port *port, struct socket *sock, u32 fd))
{
	int error = 0;
	struct socket *sock;

	if (fd > INT_MAX)
		return EBADF;
	sock = sockfd_lookup(fd, &error);
	if (!sock)
		return -error;
	error = handler(port, sock, fd);
	sockfd_put(sock);
	return error;
}

int paste_os_socket_register(struct paste_port *port, uint32_t fd)
{
	return with_socket(port, fd, register_sock);
}

int paste_os_socket_unregister(struct paste_port *port, uint32_t fd)
{
	return with_socket(port, fd, unregister_sock);
}
