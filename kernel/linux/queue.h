/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * queue.h -- the short way from a flow's entries to TCP's write queue; see queue.c.
 */
#ifndef PASTE_LINUX_QUEUE_H
#define PASTE_LINUX_QUEUE_H

struct paste_port;
struct sock;

enum paste_queued {
	PASTE_QUEUED_ALL,   /* nothing is left to do */
	PASTE_QUEUED_STUCK, /* all is in the queue, but nothing on its way: somebody has to push */
	PASTE_QUEUED_REST,  /* there are entries that paste_send() has to send */
};

/*
 * What sk's flow has to send for port. The caller has a reference to sk, not its lock. Bottom
 * halves are off.
 */
enum paste_queued paste_queue(struct sock *sk, struct paste_port *port);

#endif
