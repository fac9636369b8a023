/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * socket.h -- a TCP socket whose payload a port captures.
 *
 * It hangs on the socket as a TCP upper-layer protocol (ULP): the kernel then calls us when the
 * socket dies, and keeps the module loaded until then. A socket has one ULP; who came first
 * (kTLS, for instance) keeps it and we say EBUSY.
 */
#ifndef PASTE_LINUX_SOCKET_H
#define PASTE_LINUX_SOCKET_H

#include <net/sock.h>

#include "flow.h"

struct paste_port;
struct paste_skbcache;

struct paste_socket {
	struct sock *sk;
	struct paste_port *port; /* under the socket's lock; NULL: inert, its port has ended */
	struct paste_flow flow;
	struct list_head node;    /* all sockets of the port, under its sockets_lock */
	struct list_head pending; /* those that hold data because the port was full, likewise */
	void (*data_ready)(struct sock *sk);
	void (*state_change)(struct sock *sk);
	void (*write_space)(struct sock *sk);
	struct proto *proto;      /* what sk_prot was, likewise these three */
	struct paste_port *lender; /* whose list node is in: TCP may still send from its buffers */
	bool batch;               /* more of this batch comes: capture at its end. Socket's lock */
	struct paste_skbcache *cache; /* of the batch's NIC, NULL: no batch ends now */
	bool leaving;             /* about to be unregistered: nothing is captured any more */
	bool ended;               /* the end of stream was passed on */
	bool reset;               /* and the connection's violent end */
};

/* The rest of the glue, all under the socket's lock. NULL: it is no (longer) socket of ours. */
struct paste_socket *paste_socket_of(const struct sock *sk);
/* Take what it has received, now or when its port has room. */
void paste_socket_capture(struct paste_socket *socket);
/* The port gets nothing more from it. The ULP stays, inert: the kernel cannot take it off. */
void paste_socket_leave_port(struct paste_socket *socket);
/* The same, and TCP takes what the port's slots had to send. False: something is lost. */
bool paste_socket_finish(struct paste_socket *socket);
/* TCP gets copies of what it may still send from the lender's buffers; that is none any more. */
void paste_socket_return_loans(struct paste_socket *socket);

/* The record of a TCP socket that has none, with our ULP in place; NULL and why (an errno). Under
 * the control lock. */
struct paste_socket *paste_socket_attach(struct socket *sock, int *error);

int paste_socket_init(void);
void paste_socket_exit(void);

/* Any context; the caller holds a reference to sk, not its lock: a hint. */
bool paste_socket_is_registered(const struct sock *sk);

/*
 * Under the socket's lock: what comes between these two is captured at once, at the end. The
 * socket may leave its port meanwhile; end without begin does nothing. Returns the port if there
 * is something for it, for the caller to wake; it is alive as long as the lock is held.
 * cache: where sk_buffs go that are empty then.
 */
void paste_socket_batch_begin(struct sock *sk, struct paste_skbcache *cache);
struct paste_port *paste_socket_batch_end(struct sock *sk);

#endif
