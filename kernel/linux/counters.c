// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * counters.c -- a read-only module parameter that shows the counters.
 */
#include <linux/moduleparam.h>
#include <linux/atomic.h>
#include <linux/sysfs.h>

#include "counters.h"

static const char *const counter_names[] = {
	[PASTE_RX_IN_PLACE] = "rx_in_place_bytes",
	[PASTE_RX_COPIED_LOOPBACK] = "rx_copied_loopback_bytes",
	[PASTE_RX_COPIED_NIC] = "rx_copied_nic_bytes",
	[PASTE_RX_COPIED_STACK] = "rx_copied_stack_bytes",
	[PASTE_RX_COPIED_OFFSET] = "rx_copied_offset_bytes",
	[PASTE_RX_COPIED_AGAIN] = "rx_copied_again_bytes",
	[PASTE_TX_IN_PLACE] = "tx_in_place_bytes",
	[PASTE_TX_COPIED] = "tx_copied_bytes",
	[PASTE_TX_LEFT_BEHIND] = "tx_left_behind_sockets",
	[PASTE_SHORT_WAY] = "short_way_frames",
	[PASTE_LONG_WAY_HEADER] = "long_way_header_frames",
	[PASTE_LONG_WAY_CHECKSUM] = "long_way_checksum_frames",
	[PASTE_LONG_WAY_SNIFFER] = "long_way_sniffer_frames",
	[PASTE_LONG_WAY_NETFILTER] = "long_way_netfilter_frames",
	[PASTE_LONG_WAY_DEVICE] = "long_way_device_frames",
	[PASTE_LONG_WAY_IPSEC] = "long_way_ipsec_frames",
	[PASTE_LONG_WAY_SOCKET] = "long_way_socket_frames",
	[PASTE_LONG_WAY_BUSY] = "long_way_busy_frames",
	[PASTE_SEND_SHORT_WAY] = "send_short_way_entries",
	[PASTE_SEND_LONG_WAY] = "send_long_way_attempts",
	[PASTE_OUT_SHORT_WAY] = "out_short_way_segments",
	[PASTE_OUT_LONG_WAY_ROUTE] = "out_long_way_route_segments",
	[PASTE_OUT_LONG_WAY_HEADER] = "out_long_way_header_segments",
	[PASTE_OUT_LONG_WAY_SNIFFER] = "out_long_way_sniffer_segments",
	[PASTE_OUT_LONG_WAY_NETFILTER] = "out_long_way_netfilter_segments",
	[PASTE_OUT_LONG_WAY_DEVICE] = "out_long_way_device_segments",
	[PASTE_OUT_LONG_WAY_QUEUE] = "out_long_way_queue_segments",
	[PASTE_OUT_LONG_WAY_NEIGHBOUR] = "out_long_way_neighbour_segments",
	[PASTE_RX_FRAMES_IN_SYNC] = "rx_frames_in_sync",
	[PASTE_RX_FRAMES_IN_NAPI] = "rx_frames_in_napi",
};

static atomic64_t counter_values[PASTE_COUNTERS];

void paste_count(enum paste_counter counter, long amount)
{
	atomic64_add(amount, &counter_values[counter]);
}

static int show(char *buffer, const struct kernel_param *parameter)
{
	int i, length = 0;

	for (i = 0; i < PASTE_COUNTERS; i++)
		length += sysfs_emit_at(buffer, length, "%s %lld\n", counter_names[i],
					atomic64_read(&counter_values[i]));
	return length;
}

static const struct kernel_param_ops counter_operations = { .get = show };

module_param_cb(counters, &counter_operations, NULL, 0444);
MODULE_PARM_DESC(counters, "bytes passed in place, and copied by reason (read only)");
