/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * demux.h -- the short way: frames of registered connections, gathered and given to TCP.
 *
 * A frame takes it only if no layer that it passes by has anything to say; see demux.c. The
 * connection's frames of one poll go to TCP under one lock, and their payload is captured once.
 */
#ifndef PASTE_LINUX_DEMUX_H
#define PASTE_LINUX_DEMUX_H

#include "skbcache.h"

struct paste_port;
struct sock;

#define PASTE_DEMUX_SOCKETS 64 /* a power of two */

/* Belongs to one NAPI instance; zeroed at first. */
struct paste_demux {
	struct paste_port *port; /* of the NIC, or NULL: woken once per flush */
	bool news;               /* there is something for it */
	struct {
		struct sock *sk; /* with a reference */
		struct sk_buff *first, *last;
	} table[PASTE_DEMUX_SOCKETS];
	u8 used[PASTE_DEMUX_SOCKETS];
	unsigned int count; /* entries in used */
	struct paste_skbcache cache; /* of lent frames' sk_buffs */
};

/*
 * skb is a segment for sk as eth_type_trans() left it, its headers in the head and nothing behind
 * its payload. True: it will go the short way, and it and the caller's reference to sk are taken
 * over. False: the ordinary way; nothing was taken. Bottom halves are off.
 */
bool paste_demux_take(struct paste_demux *demux, struct sk_buff *skb, struct sock *sk);
/* Give TCP all that was taken. */
void paste_demux_flush(struct paste_demux *demux);

#endif
