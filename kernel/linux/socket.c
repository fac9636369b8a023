// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * socket.c -- registration: a TCP socket joins a port, and leaves it.
 *
 * Locks: a socket's own lock guards its port pointer and orders data_ready, state_change and the
 * end of the socket. A port's sockets_lock guards its lists and nests inside. tcp_set_ulp() is
 * not exported, so the ULP is attached through setsockopt(); only a socket that is being
 * registered at that moment (under the control lock) may have it.
 */
#include <linux/file.h>
#include <linux/module.h>
#include <linux/net.h>
#include <net/tcp.h>

#include "capture.h"
#include "portlinux.h"
#include "socket.h"

#define ULP_NAME "paste"

static struct tcp_ulp_ops ulp;
static struct paste_socket *registering; /* under the control lock */

/* TCP over IPv4 and over IPv6 with a close of our own, and what they are copies of. */
static struct proto protos[2];
static struct proto *originals[2];

static struct paste_socket *of(const struct sock *sk)
{
	return (__force struct paste_socket *)inet_csk(sk)->icsk_ulp_data;
}

bool paste_socket_is_registered(const struct sock *sk)
{
	return inet_csk(sk)->icsk_ulp_ops == &ulp;
}

static void set_pending(struct paste_socket *socket)
{
	struct paste_port_linux *port = paste_port_linux(socket->port);

	spin_lock_bh(&port->sockets_lock);
	if (list_empty(&socket->pending))
		list_add_tail(&socket->pending, &port->pending);
	spin_unlock_bh(&port->sockets_lock);
}

static void capture_or_wait(struct paste_socket *socket)
{
	if (!paste_capture(socket))
		set_pending(socket);
}

static void data_ready(struct sock *sk)
{
	struct paste_socket *socket = of(sk);

	if (socket->port)
		capture_or_wait(socket);
	else
		socket->data_ready(sk);
}

static void state_change(struct sock *sk)
{
	struct paste_socket *socket = of(sk);

	/* After a FIN data_ready() follows by itself; after a reset nothing does. */
	if (socket->port && sk->sk_state == TCP_CLOSE)
		capture_or_wait(socket);
	socket->state_change(sk);
}

static void hook(struct paste_socket *socket)
{
	struct sock *sk = socket->sk;

	write_lock_bh(&sk->sk_callback_lock);
	socket->data_ready = sk->sk_data_ready;
	socket->state_change = sk->sk_state_change;
	sk->sk_data_ready = data_ready;
	sk->sk_state_change = state_change;
	write_unlock_bh(&sk->sk_callback_lock);
}

/* Under the socket's lock. The ULP stays, inert: the kernel offers no way to take it off. */
static void leave_port(struct paste_socket *socket)
{
	struct paste_port *port = socket->port;

	spin_lock_bh(&paste_port_linux(port)->sockets_lock);
	list_del_init(&socket->node);
	list_del_init(&socket->pending);
	spin_unlock_bh(&paste_port_linux(port)->sockets_lock);
	paste_flow_drop(&port->flows, &socket->flow);
	socket->port = NULL;
}

/*
 * The last descriptor goes. TCP may keep the socket for long, but its number may be another
 * socket's at once, so nothing more of this one may come to a slot.
 */
static void close_socket(struct sock *sk, long timeout)
{
	struct paste_socket *socket = of(sk);
	struct proto *original = socket->proto;

	__module_get(THIS_MODULE); /* the ULP's reference may go before we return */
	lock_sock(sk);
	if (socket->port)
		leave_port(socket);
	release_sock(sk);
	original->close(sk, timeout);
	module_put(THIS_MODULE);
}

/* Under the control lock. Returns whether sk is of plain TCP and calls close_socket() now. */
static bool hook_close(struct paste_socket *socket)
{
	struct sock *sk = socket->sk;
	int family = sk->sk_family == AF_INET6;

	if (!originals[family]) {
		protos[family] = *sk->sk_prot;
		protos[family].close = close_socket;
		originals[family] = sk->sk_prot;
	}
	if (sk->sk_prot != originals[family])
		return false;
	socket->proto = sk->sk_prot;
	WRITE_ONCE(sk->sk_prot, &protos[family]);
	return true;
}

static int ulp_init(struct sock *sk)
{
	struct paste_socket *socket = READ_ONCE(registering);

	if (!socket || socket->sk != sk)
		return -EPERM; /* somebody's own setsockopt(TCP_ULP, "paste") */
	/* A sockmap or the like has hooked it without being a ULP. */
	if (sk->sk_user_data || !hook_close(socket))
		return -EBUSY;
	rcu_assign_pointer(inet_csk(sk)->icsk_ulp_data, (__force void __rcu *)socket);
	hook(socket);
	return 0;
}

static void ulp_release(struct sock *sk)
{
	struct paste_socket *socket = of(sk);

	if (socket->port)
		leave_port(socket);
	rcu_assign_pointer(inet_csk(sk)->icsk_ulp_data, NULL);
	WRITE_ONCE(sk->sk_prot, socket->proto);
	write_lock_bh(&sk->sk_callback_lock);
	sk->sk_data_ready = socket->data_ready;
	sk->sk_state_change = socket->state_change;
	write_unlock_bh(&sk->sk_callback_lock);
	kfree(socket);
}

static struct tcp_ulp_ops ulp = {
	.name = ULP_NAME,
	.owner = THIS_MODULE,
	.init = ulp_init,
	.release = ulp_release,
};

static int check(const struct sock *sk)
{
	if (sk->sk_type != SOCK_STREAM || sk->sk_protocol != IPPROTO_TCP ||
	    (sk->sk_family != AF_INET && sk->sk_family != AF_INET6))
		return EOPNOTSUPP;
	if (sk->sk_state != TCP_ESTABLISHED && sk->sk_state != TCP_CLOSE_WAIT)
		return EINVAL;
	return 0;
}

/* Returns the socket's record with our ULP in place, or NULL and why. */
static struct paste_socket *attach_ulp(struct socket *sock, int *error)
{
	struct paste_socket *socket = kzalloc(sizeof(*socket), GFP_KERNEL);
	char name[] = ULP_NAME;

	*error = ENOMEM;
	if (!socket)
		return NULL;
	socket->sk = sock->sk;
	INIT_LIST_HEAD(&socket->node);
	INIT_LIST_HEAD(&socket->pending);
	WRITE_ONCE(registering, socket);
	*error = -sock_common_setsockopt(sock, SOL_TCP, TCP_ULP, KERNEL_SOCKPTR(name),
					 strlen(name));
	WRITE_ONCE(registering, NULL);
	if (!*error)
		return socket;
	if (*error == EEXIST)
		*error = EBUSY;
	kfree(socket);
	return NULL;
}

/* Under the socket's lock. */
static int join_port(struct paste_socket *socket, struct paste_port *port, u32 fd)
{
	struct paste_port_linux *os = paste_port_linux(port);

	if (socket->port)
		return EBUSY;
	socket->flow = (struct paste_flow){ .fd = fd };
	socket->ended = false;
	socket->port = port;
	spin_lock_bh(&os->sockets_lock);
	list_add_tail(&socket->node, &os->sockets);
	spin_unlock_bh(&os->sockets_lock);
	capture_or_wait(socket); /* what came before registration */
	return 0;
}

static int register_sock(struct paste_port *port, struct socket *sock, u32 fd)
{
	struct sock *sk = sock->sk;
	struct paste_socket *socket;
	int error = check(sk);

	if (error)
		return error;
	if (!paste_socket_is_registered(sk) && !attach_ulp(sock, &error))
		return error;
	lock_sock(sk);
	socket = paste_socket_is_registered(sk) ? of(sk) : NULL;
	error = socket ? join_port(socket, port, fd) : EINVAL;
	release_sock(sk);
	if (!error)
		tcp_sock_set_nodelay(sk);
	return error;
}

int paste_os_socket_register(struct paste_port *port, uint32_t fd)
{
	int error = 0;
	struct socket *sock;

	if (fd > INT_MAX)
		return EBADF;
	sock = sockfd_lookup(fd, &error);
	if (!sock)
		return -error;
	error = register_sock(port, sock, fd);
	sockfd_put(sock);
	return error;
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
		socket = of(sk);
		if (socket && socket->port == port)
			capture_or_wait(socket);
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
		socket = of(sk);
		if (socket && socket->port == port)
			leave_port(socket);
		release_sock(sk);
		sock_put(sk);
	}
}

int paste_socket_init(void)
{
	return tcp_register_ulp(&ulp);
}

void paste_socket_exit(void)
{
	tcp_unregister_ulp(&ulp);
}
