/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * net.h -- sockets: on the guest's own loopback, and to the host, which sends back what it gets.
 */
#ifndef PASTE_DEVICE_NET_H
#define PASTE_DEVICE_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOST_IP   0x0a4d0001u /* 10.77.0.1 */
#define GUEST_IP  0x0a4d0002u /* 10.77.0.2 */
#define ECHO_PORT 9000u

/* Both ends of a connection on loopback. */
struct pair {
	int here, there;
};

struct pair net_pair(void);
/* The same over IPv6. */
struct pair net_pair_of_ipv6(void);
/* A connection to the host, which echoes. */
int net_echo(void);
/* The same, which need not succeed; what it is used for may fail. */
int net_try_echo(void);
/* A socket gets there, sooner or later. */
void net_await(int fd, short events);
/* Whether a socket gets there within a moment. */
bool net_wait(int fd, short events);
/* A socket of this kind, bound to 0.0.0.0 and a port of its own, whose number it tells. */
int net_bound(int type, uint16_t *port);
/* A socket that listens on all addresses. */
int net_listen(uint16_t port);
/* Closes with a reset. */
void net_reset(int fd);
/* Sends all of it. */
void net_send(int fd, const void *bytes, size_t length);
/* A datagram to the host's discard port; the stack may have to ask for its address first. */
void net_send_datagram(int fd, const void *bytes, size_t length);
/* Waits until a socket's TCP has received so many bytes in all; they are in its port then. */
void net_arrived(int fd, uint64_t bytes);
/* How many bytes a socket has to read within a while, up to a limit. */
size_t net_receive(int fd, void *bytes, size_t limit);

#endif
