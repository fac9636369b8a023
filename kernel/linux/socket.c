// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * socket.c -- what hangs on a registered TCP socket, and how it comes off.
 *
 * Locks: a socket's own lock guards its port pointer and orders data_ready, state_change and the
 * end of the socket. A port's sockets_lock guards its lists and nests inside. tcp_set_ulp() is
 * not exported, so the ULP is attached through setsockopt(); only a socket that is being
 * registered at that moment (under the control lock) may have it.
 */
#include <linux/module.h>
#include <linux/net.h>
#include <net/tcp.h>

#include "capture.h"
#include "output.h"
#include "portlinux.h"
#include "send.h"
#include "socket.h"

#define ULP_NAME "paste"

/* Of memory that a registered socket keeps: a few lent frames and a few replies. */
#define RESERVED_BYTES (4 * PAGE_SIZE)

static struct tcp_ulp_ops ulp;
static struct paste_socket *registering; /* under the control lock */

/* TCP over IPv4 and over IPv6 with ends of our own, and what they are copies of. */
static struct proto protos[2];
static struct proto *originals[2];

struct paste_socket *paste_socket_of(const struct sock *sk)
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

/* Returns whether there was something. */
static bool capture(struct paste_socket *socket)
{
	bool news = false;

	if (!socket->leaving && !paste_capture(socket, &news))
		set_pending(socket);
	return news;
}

void paste_socket_capture(struct paste_socket *socket)
{
	/* Only then: poll() comes here, too, and would wake itself for ever. */
	if (capture(socket))
		paste_os_port_wake(socket->port);
}

static void data_ready(struct sock *sk)
{
	struct paste_socket *socket = paste_socket_of(sk);

	if (!socket->port)
		socket->data_ready(sk);
	else if (!socket->batch)
		paste_socket_capture(socket);
}

void paste_socket_batch_begin(struct sock *sk, struct paste_skbcache *cache)
{
	if (!paste_socket_is_registered(sk))
		return;
	paste_socket_of(sk)->batch = true;
	paste_socket_of(sk)->cache = cache;
}

struct paste_port *paste_socket_batch_end(struct sock *sk)
{
	struct paste_socket *socket = paste_socket_is_registered(sk) ? paste_socket_of(sk) : NULL;
	bool news;

	if (!socket || !socket->batch)
		return NULL;
	socket->batch = false;
	news = socket->port && capture(socket);
	socket->cache = NULL;
	return news ? socket->port : NULL;
}

static void state_change(struct sock *sk)
{
	struct paste_socket *socket = paste_socket_of(sk);

	/* After a FIN data_ready() follows by itself; after a reset nothing does. */
	if (socket->port && sk->sk_state == TCP_CLOSE) {
		paste_socket_capture(socket);
		/* What waits to be sent fails. */
		if (paste_transmit_ready(&socket->port->transmit, &socket->flow))
			paste_send_later(socket->port);
	}
	socket->state_change(sk);
}

static void write_space(struct sock *sk)
{
	struct paste_socket *socket = paste_socket_of(sk);

	socket->write_space(sk);
	/* TCP is in the middle of something: it is sent from a worker. */
	if (socket->port && paste_transmit_ready(&socket->port->transmit, &socket->flow))
		paste_send_later(socket->port);
}

static void hook(struct paste_socket *socket)
{
	struct sock *sk = socket->sk;

	write_lock_bh(&sk->sk_callback_lock);
	socket->data_ready = sk->sk_data_ready;
	socket->state_change = sk->sk_state_change;
	socket->write_space = sk->sk_write_space;
	sk->sk_data_ready = data_ready;
	sk->sk_state_change = state_change;
	sk->sk_write_space = write_space;
	write_unlock_bh(&sk->sk_callback_lock);
}

/* Under the socket's lock. The ULP stays, inert: the kernel offers no way to take it off. */
void paste_socket_leave_port(struct paste_socket *socket)
{
	struct paste_port *port = socket->port;

	spin_lock_bh(&paste_port_linux(port)->sockets_lock);
	list_del_init(&socket->pending);
	spin_unlock_bh(&paste_port_linux(port)->sockets_lock);
	paste_port_leave(port, &socket->flow);
	socket->port = NULL;
}

bool paste_socket_finish(struct paste_socket *socket)
{
	bool all;

	paste_transmit_stop(&socket->port->transmit, &socket->flow);
	all = paste_send_last(socket);
	paste_socket_leave_port(socket);
	return all;
}

/* And from the list: TCP has nothing more of the port's, or the port outlives it. Likewise. */
static void leave_lender(struct paste_socket *socket)
{
	struct paste_port_linux *os = paste_port_linux(socket->lender);

	spin_lock_bh(&os->sockets_lock);
	list_del_init(&socket->node);
	spin_unlock_bh(&os->sockets_lock);
	socket->lender = NULL;
}

/* Everything that the lender lent comes back now. */
void paste_socket_return_loans(struct paste_socket *socket)
{
	paste_send_copy_out(socket->sk, socket->lender->pool);
	leave_lender(socket);
}

/* A stream without its end must not look whole: the peer gets a reset, as with SO_LINGER 0. */
static void make_abortive(struct sock *sk)
{
	sock_set_flag(sk, SOCK_LINGER);
	sk->sk_lingertime = 0;
}

/*
 * The last descriptor goes. TCP may keep the socket for long, but its number may be another
 * socket's at once, so nothing more of this one may come to a slot. What was accepted from slots
 * is TCP's now: it ends the stream behind it.
 */
static void close_socket(struct sock *sk, long timeout)
{
	struct paste_socket *socket = paste_socket_of(sk);
	struct proto *original = socket->proto;

	__module_get(THIS_MODULE); /* the ULP's reference may go before we return */
	lock_sock(sk);
	if (socket->port && !paste_socket_finish(socket) && !(sk->sk_shutdown & SEND_SHUTDOWN))
		make_abortive(sk);
	release_sock(sk);
	original->close(sk, timeout);
	module_put(THIS_MODULE);
}

/* Under the socket's lock. The end of the stream comes behind what was accepted, too. */
static void shutdown_socket(struct sock *sk, int how)
{
	struct paste_socket *socket = paste_socket_of(sk);

	if ((how & SEND_SHUTDOWN) && socket->port) {
		/* That was set before we were asked, and TCP would take nothing. */
		sk->sk_shutdown &= ~SEND_SHUTDOWN;
		paste_send_last(socket);
		sk->sk_shutdown |= SEND_SHUTDOWN;
	}
	socket->proto->shutdown(sk, how);
}

/* Under the control lock. Returns whether sk is of plain TCP and calls our functions now. */
static bool hook_proto(struct paste_socket *socket)
{
	struct sock *sk = socket->sk;
	int family = sk->sk_family == AF_INET6;

	if (!originals[family]) {
		protos[family] = *sk->sk_prot;
		protos[family].close = close_socket;
		protos[family].shutdown = shutdown_socket;
		originals[family] = sk->sk_prot;
	}
	if (sk->sk_prot != originals[family])
		return false;
	socket->proto = sk->sk_prot;
	WRITE_ONCE(sk->sk_prot, &protos[family]);
	return true;
}

/*
 * Since 6.0 a socket gives all memory back that it does not use at the moment, and TCP's fast
 * path is for those that have some. The socket's end gives this back.
 */
static void reserve_memory(struct sock *sk)
{
	if (!sk->sk_reserved_mem && __sk_mem_schedule(sk, RESERVED_BYTES, SK_MEM_RECV))
		sk->sk_reserved_mem = RESERVED_BYTES;
}

static int ulp_init(struct sock *sk)
{
	struct paste_socket *socket = READ_ONCE(registering);

	if (!socket || socket->sk != sk)
		return -EPERM; /* somebody's own setsockopt(TCP_ULP, "paste") */
	/* A sockmap or the like has hooked it without being a ULP. */
	if (sk->sk_user_data || !hook_proto(socket))
		return -EBUSY;
	rcu_assign_pointer(inet_csk(sk)->icsk_ulp_data, (__force void __rcu *)socket);
	hook(socket);
	reserve_memory(sk);
	paste_output_hook(sk);
	return 0;
}

static void ulp_release(struct sock *sk)
{
	struct paste_socket *socket = paste_socket_of(sk);

	if (socket->port)
		paste_socket_leave_port(socket);
	if (socket->lender)
		leave_lender(socket);
	paste_output_unhook(sk);
	rcu_assign_pointer(inet_csk(sk)->icsk_ulp_data, NULL);
	WRITE_ONCE(sk->sk_prot, socket->proto);
	write_lock_bh(&sk->sk_callback_lock);
	sk->sk_data_ready = socket->data_ready;
	sk->sk_state_change = socket->state_change;
	sk->sk_write_space = socket->write_space;
	write_unlock_bh(&sk->sk_callback_lock);
	kfree(socket);
}

static struct tcp_ulp_ops ulp = {
	.name = ULP_NAME,
	.owner = THIS_MODULE,
	.init = ulp_init,
	.release = ulp_release,
};

struct paste_socket *paste_socket_attach(struct socket *sock, int *error)
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

int paste_socket_init(void)
{
	return tcp_register_ulp(&ulp);
}

void paste_socket_exit(void)
{
	tcp_unregister_ulp(&ulp);
}
