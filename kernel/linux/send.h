/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * send.h -- entries of a flow, from pool buffers into TCP.
 */
#ifndef PASTE_LINUX_SEND_H
#define PASTE_LINUX_SEND_H

#include <linux/types.h>

struct paste_pool;
struct paste_port;
struct paste_socket;
struct sock;
struct ubuf_info;

/*
 * Give TCP what the flow has, as much as it takes; the caller holds the socket's lock and its
 * port is alive. The data is sent from the buffers and is theirs until the last ACK.
 */
void paste_send(struct paste_socket *socket);
/*
 * Likewise, before the stream ends: TCP takes all, full or not. That is what a flow can have
 * waiting, and no more than a ring beyond it, as a sync cannot go on before we are done. False: it
 * did not (the connection is dead, there is no memory); the rest stays.
 */
bool paste_send_last(struct paste_socket *socket);
/*
 * For what buffer index sends, with a reference; somebody keeps the buffer meanwhile by a stack
 * reference. *took, unless it is NULL: that one was taken over.
 */
struct ubuf_info *paste_send_ubuf(struct paste_pool *pool, u32 index, bool *took);
/*
 * The pool's port ends while TCP may still send from its buffers: give TCP copies, so that the
 * next owner of the memory can write it. Under the socket's lock.
 */
void paste_send_copy_out(struct sock *sk, const struct paste_pool *pool);

/* Have somebody call paste_port_send(). Any context; the port is alive. */
void paste_send_later(struct paste_port *port);

#endif
