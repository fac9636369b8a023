/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * frame.h -- the headers of a received frame, parsed from a copy.
 */
#ifndef PASTE_LINUX_FRAME_H
#define PASTE_LINUX_FRAME_H

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

struct paste_frame {
	u16 network;       /* where the IP header starts, bytes */
	u16 transport;     /* where the TCP header starts */
	u16 payload;       /* where the TCP payload starts */
	u16 payload_bytes; /* may be 0 */
	/* Ethernet, IP and TCP headers with options: at most 14 + 60 + 60 bytes */
	union {
		u8 headers[136];
		struct ethhdr eth;
	};
};

/*
 * True: frame holds the headers of an unfragmented IPv4 or IPv6 TCP segment. The
 * bytes at data are shared with the device and the user: each is read once, into the copy.
 */
bool paste_frame_parse(struct paste_frame *frame, const void *data, unsigned int length);

#endif
