/* SPDX-License-Identifier: BSD-2-Clause */
/* arrived.c -- waits until TCP has received what was sent to it; libc's tcp_info cannot tell */
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>

#include "check.h"
#include "net.h"

void net_arrived(int fd, uint64_t bytes)
{
	struct tcp_info info;
	socklen_t length;

	do {
		sched_yield();
		length = sizeof(info);
		CHECK_EQUAL(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length), 0);
	} while (info.tcpi_bytes_received < bytes);
}
