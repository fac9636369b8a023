/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * counters.h -- what was copied and why, for people and tests; nothing here decides anything.
 *
 * /sys/module/paste/parameters/counters has one line "name value" for each, since loading.
 */
#ifndef PASTE_LINUX_COUNTERS_H
#define PASTE_LINUX_COUNTERS_H

#include <linux/types.h>

enum paste_counter {
	PASTE_RX_IN_PLACE,       /* payload bytes that applications got where the NIC put them */
	PASTE_RX_COPIED_LOOPBACK,/* payload bytes copied: they came over the loopback device */
	PASTE_RX_COPIED_NIC,     /* ... another NIC, or before the socket was registered, */
	PASTE_RX_COPIED_STACK,   /* ... TCP had moved them, under memory pressure, */
	PASTE_RX_COPIED_OFFSET,  /* ... a slot cannot say where they start, */
	PASTE_RX_COPIED_AGAIN,   /* ... the buffer was handed out already */
	PASTE_TX_IN_PLACE,       /* payload bytes given to TCP where the application put them */
	PASTE_TX_COPIED,         /* ... copied: the route's device cannot gather */
	PASTE_TX_LEFT_BEHIND,    /* sockets that still send from the buffers of a port that ended */
	PASTE_RX_FRAMES_IN_SYNC, /* frames that NICs of pst ports received in the ports' syncs */
	PASTE_RX_FRAMES_IN_NAPI, /* ... in softirqs */
	PASTE_SHORT_WAY,         /* frames of registered sockets, given to TCP at once */
	PASTE_LONG_WAY_HEADER,   /* ... that went the ordinary way: IPv6, options, FIN ..., */
	PASTE_LONG_WAY_CHECKSUM, /* ... nobody has checked their checksum, */
	PASTE_LONG_WAY_SNIFFER,  /* ... a packet socket is open, */
	PASTE_LONG_WAY_NETFILTER,/* ... there are rules, */
	PASTE_LONG_WAY_DEVICE,   /* ... tc, XDP, a bridge or VRF has the device, */
	PASTE_LONG_WAY_IPSEC,    /* ... there are IPsec policies, */
	PASTE_LONG_WAY_SOCKET,   /* ... filter, time stamps, MD5, TTL; no cached route, */
	PASTE_LONG_WAY_BUSY,     /* ... somebody had the socket locked, or it ends */
	PASTE_SEND_SHORT_WAY,        /* entries put onto TCP's write queue at once */
	PASTE_SEND_LONG_WAY,         /* attempts to send that took the ordinary way */
	PASTE_OUT_SHORT_WAY,         /* segments that went from TCP to a NIC of ours at once */
	PASTE_OUT_LONG_WAY_ROUTE,    /* the ordinary way: another device, or no plain route, */
	PASTE_OUT_LONG_WAY_HEADER,   /* ... options, time stamps, more than one frame, */
	PASTE_OUT_LONG_WAY_SNIFFER,  /* ... a packet socket is open, */
	PASTE_OUT_LONG_WAY_NETFILTER,/* ... there are rules, */
	PASTE_OUT_LONG_WAY_DEVICE,   /* ... tc or a VRF has the device, */
	PASTE_OUT_LONG_WAY_QUEUE,    /* ... frames wait, or the qdisc wants to see each, */
	PASTE_OUT_LONG_WAY_NEIGHBOUR,/* ... its address is not certain */
	PASTE_COUNTERS,
};

void paste_count(enum paste_counter counter, long amount);

#endif
