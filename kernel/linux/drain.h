/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * drain.h -- the short way from TCP's receive queue to a flow; see drain.c.
 */
#ifndef PASTE_LINUX_DRAIN_H
#define PASTE_LINUX_DRAIN_H

struct paste_socket;

/*
 * Take from the front of the receive queue what lies in the port's pool and is nobody else's;
 * the caller, who holds the socket's lock, looks after the rest. Returns whether it took any.
 */
bool paste_drain(struct paste_socket *socket);

#endif
