/* SPDX-License-Identifier: BSD-2-Clause */
/* net.c -- sockets on loopback and to the host */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "net.h"

#define PATIENCE_MS  10000
#define MOMENT_MS    200
#define DISCARD_PORT 9

static struct sockaddr_in endpoint(uint32_t ip, uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };

	address.sin_addr.s_addr = htonl(ip);
	return address;
}

static int connected(uint32_t ip, uint16_t port)
{
	struct sockaddr_in to = endpoint(ip, port);
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	CHECK(fd >= 0);
	CHECK_EQUAL(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	/* What is sent leaves at once. */
	CHECK_EQUAL(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
	return fd;
}

int net_bound(int type, uint16_t *port)
{
	struct sockaddr_in address = endpoint(INADDR_ANY, 0);
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, type, 0);

	CHECK(fd >= 0);
	CHECK_EQUAL(bind(fd, (struct sockaddr *)&address, length), 0);
	CHECK_EQUAL(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	*port = ntohs(address.sin_port);
	return fd;
}

int net_listen(uint16_t port)
{
	struct sockaddr_in address = endpoint(INADDR_ANY, port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(fd >= 0);
	CHECK_EQUAL(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	CHECK_EQUAL(listen(fd, SOMAXCONN), 0);
	return fd;
}

struct pair net_pair(void)
{
	uint16_t port;
	int listener = net_bound(SOCK_STREAM, &port);
	struct pair pair;

	CHECK_EQUAL(listen(listener, 1), 0);
	pair.there = connected(INADDR_LOOPBACK, port);
	pair.here = accept(listener, NULL, NULL);
	CHECK(pair.here >= 0);
	close(listener);
	return pair;
}

struct pair net_pair_of_ipv6(void)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
	struct sockaddr *at = (struct sockaddr *)&address;
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET6, SOCK_STREAM, 0);
	struct pair pair = { .there = socket(AF_INET6, SOCK_STREAM, 0) };

	CHECK_EQUAL(bind(listener, at, length), 0);
	CHECK_EQUAL(listen(listener, 1), 0);
	CHECK_EQUAL(getsockname(listener, at, &length), 0);
	CHECK_EQUAL(connect(pair.there, at, length), 0);
	pair.here = accept(listener, NULL, NULL);
	CHECK(pair.here >= 0);
	close(listener);
	return pair;
}

int net_echo(void)
{
	return connected(HOST_IP, ECHO_PORT);
}

int net_try_echo(void)
{
	struct sockaddr_in to = endpoint(HOST_IP, ECHO_PORT);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	CHECK(fd >= 0);
	connect(fd, (struct sockaddr *)&to, sizeof(to));
	return fd;
}

void net_await(int fd, short events)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };

	CHECK_EQUAL(poll(&poll_fd, 1, PATIENCE_MS), 1);
	CHECK((poll_fd.revents & events) != 0);
}

bool net_wait(int fd, short events)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };

	return poll(&poll_fd, 1, MOMENT_MS) == 1 && (poll_fd.revents & events) != 0;
}

void net_reset(int fd)
{
	struct linger at_once = { .l_onoff = 1 };

	CHECK_EQUAL(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
	CHECK_EQUAL(close(fd), 0);
}

void net_send(int fd, const void *bytes, size_t length)
{
	const char *from = bytes;

	while (length > 0) {
		ssize_t sent = send(fd, from, length, MSG_NOSIGNAL);

		CHECK(sent > 0);
		from += sent;
		length -= (size_t)sent;
	}
}

void net_send_datagram(int fd, const void *bytes, size_t length)
{
	struct sockaddr_in to = endpoint(HOST_IP, DISCARD_PORT);

	CHECK(sendto(fd, bytes, length, 0, (struct sockaddr *)&to, sizeof(to)) ==
	      (ssize_t)length);
}

size_t net_receive(int fd, void *bytes, size_t limit)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	ssize_t received;

	CHECK_EQUAL(poll(&poll_fd, 1, PATIENCE_MS), 1);
	received = recv(fd, bytes, limit, 0);
	CHECK(received >= 0);
	return (size_t)received;
}
