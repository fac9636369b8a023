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
	PASTE_COUNTERS,
};

void paste_count(enum paste_counter counter, long amount);

#endif
