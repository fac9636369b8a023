// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * frame.c -- is this frame a TCP segment, and where does its payload start?
 *
 * Nothing beyond the headers is copied: a copy of payload bytes would be a copy of the message.
 */
#include <linux/string.h>
#include <net/ip.h>

#include "frame.h"

/* The headers known so far end at have; extend the copy to want. */
static bool extend(struct paste_frame *frame, const u8 *data, unsigned int length,
		   unsigned int have, unsigned int want)
{
	if (want > length || want > sizeof(frame->headers))
		return false;
	memcpy(frame->headers + have, data + have, want - have);
	return true;
}

/* Returns where the IP packet ends, 0 when it is not plain TCP. */
static unsigned int parse_ipv4(struct paste_frame *frame, const u8 *data, unsigned int length)
{
	const struct iphdr *ip = (void *)(frame->headers + ETH_HLEN);
	unsigned int header;

	if (!extend(frame, data, length, ETH_HLEN, ETH_HLEN + sizeof(*ip)))
		return 0;
	header = ip->ihl * 4;
	if (ip->version != 4 || header < sizeof(*ip) || ip->protocol != IPPROTO_TCP ||
	    ip_is_fragment(ip))
		return 0;
	if (!extend(frame, data, length, ETH_HLEN + sizeof(*ip), ETH_HLEN + header))
		return 0;
	frame->transport = ETH_HLEN + header;
	return ETH_HLEN + ntohs(ip->tot_len);
}

static unsigned int parse_ipv6(struct paste_frame *frame, const u8 *data, unsigned int length)
{
	const struct ipv6hdr *ip = (void *)(frame->headers + ETH_HLEN);

	if (!extend(frame, data, length, ETH_HLEN, ETH_HLEN + sizeof(*ip)))
		return 0;
	if (ip->version != 6 || ip->nexthdr != IPPROTO_TCP)
		return 0;
	frame->transport = ETH_HLEN + sizeof(*ip);
	return ETH_HLEN + sizeof(*ip) + ntohs(ip->payload_len);
}

static bool parse_tcp(struct paste_frame *frame, const u8 *data, unsigned int end)
{
	const struct tcphdr *tcp = (void *)(frame->headers + frame->transport);
	unsigned int fixed = frame->transport + sizeof(*tcp);

	if (!extend(frame, data, end, frame->transport, fixed))
		return false;
	if (tcp->doff * 4 < sizeof(*tcp) || tcp->syn || tcp->urg)
		return false;
	frame->payload = frame->transport + tcp->doff * 4;
	if (frame->payload > end)
		return false;
	if (!extend(frame, data, end, fixed, frame->payload))
		return false;
	frame->payload_bytes = end - frame->payload;
	return true;
}

/* Ethernet, IPv4 and TCP headers without options, of which most frames have the first two. */
#define USUAL (ETH_HLEN + sizeof(struct iphdr) + sizeof(struct tcphdr))

/* The same as the general way, for IPv4 without options; false: that one begins anew. */
static bool parse_usual(struct paste_frame *frame, const u8 *data, unsigned int length)
{
	const struct iphdr *ip = (void *)(frame->headers + ETH_HLEN);
	const struct tcphdr *tcp = (void *)(ip + 1);
	unsigned int end;

	if (length < USUAL)
		return false;
	memcpy(frame->headers, data, USUAL);
	end = ETH_HLEN + ntohs(ip->tot_len);
	if (frame->eth.h_proto != htons(ETH_P_IP) || ip->version != 4 || ip->ihl != 5 ||
	    ip->protocol != IPPROTO_TCP || ip_is_fragment(ip) || end > length ||
	    tcp->doff * 4 < sizeof(*tcp) || tcp->syn || tcp->urg)
		return false;
	frame->network = ETH_HLEN;
	frame->transport = ETH_HLEN + sizeof(*ip);
	frame->payload = frame->transport + tcp->doff * 4;
	if (frame->payload > end)
		return false;
	if (frame->payload > USUAL)
		memcpy(frame->headers + USUAL, data + USUAL, frame->payload - USUAL);
	frame->payload_bytes = end - frame->payload;
	return true;
}

bool paste_frame_parse(struct paste_frame *frame, const void *data, unsigned int length)
{
	unsigned int end;

	if (parse_usual(frame, data, length))
		return true;
	if (!extend(frame, data, length, 0, ETH_HLEN))
		return false;
	frame->network = ETH_HLEN;
	switch (frame->eth.h_proto) {
	case htons(ETH_P_IP):
		end = parse_ipv4(frame, data, length);
		break;
	case htons(ETH_P_IPV6):
		end = parse_ipv6(frame, data, length);
		break;
	default:
		return false;
	}
	return end && end <= length && parse_tcp(frame, data, end);
}
