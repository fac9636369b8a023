/* SPDX-License-Identifier: BSD-2-Clause */
/* unregister.c -- rows: which sockets a pst port lets go, and what they are then */
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "device.h"
#include "net.h"
#include "rows.h"

#define PROTOCOL_MPTCP 262

static struct device device;

static void open_port(void)
{
	device_bind(&device, (struct port_spec){ 0 });
}

static void lets_go(int fd, int error)
{
	CHECK_EQUAL(device_unregister_socket(&device, fd), error);
}

static struct pair registered(void)
{
	struct pair pair = net_pair();

	CHECK_EQUAL(device_register_socket(&device, pair.here), 0);
	return pair;
}

static void expect_text(int fd, const char *text)
{
	char bytes[64];

	CHECK_EQUAL(net_receive(fd, bytes, sizeof(bytes)), strlen(text));
	CHECK(memcmp(bytes, text, strlen(text)) == 0);
}

/* An ordinary socket again: it reads and writes, and its data come to no slot. */
static void unregister_connected(void)
{
	struct pair pair;

	open_port();
	pair = registered();
	lets_go(pair.here, 0);
	net_send(pair.there, "to the socket", 13);
	expect_text(pair.here, "to the socket");
	net_send(pair.here, "from the socket", 15);
	expect_text(pair.there, "from the socket");
	CHECK_EQUAL(device_rxsync(&device), 0);
	CHECK_EQUAL(device.ring->head, device.ring->tail);
	lets_go(pair.here, EINVAL);
	CHECK_EQUAL(device_register_socket(&device, pair.here), 0);
	lets_go(pair.here, 0);
}

/* Something received is in no slot yet; what comes from now on stays in the socket. */
static void unregister_unread(void)
{
	struct pair pair = net_pair();

	open_port();
	net_send(pair.there, "to a slot", 9);
	net_await(pair.here, POLLIN);
	CHECK_EQUAL(device_register_socket(&device, pair.here), 0);
	lets_go(pair.here, EBUSY);
	net_send(pair.there, "to the socket", 13);
	CHECK_EQUAL(device_rxsync(&device), 0);
	CHECK_EQUAL(ring_next(device.ring, device.ring->head), device.ring->tail);
	lets_go(pair.here, 0);
	expect_text(pair.here, "to the socket");
}

/* The connection is dead. */
static void unregister_dead(void)
{
	struct pair pair;

	open_port();
	pair = registered();
	net_reset(pair.there);
	net_await(pair.here, POLLHUP);
	lets_go(pair.here, 0);
	lets_go(pair.here, EINVAL);
}

static void unregister_bad_number(void)
{
	struct pair pair;

	open_port();
	pair = registered();
	CHECK_EQUAL(close(pair.here), 0);
	lets_go(pair.here, EBADF);
	lets_go(-1, EBADF);
	lets_go(1000, EBADF);
	lets_go(0x7fffffff, EBADF);
}

static void unregister_not_registered(void)
{
	struct pair pair = net_pair();
	struct device second;
	uint16_t port;
	int fd;

	open_port();
	lets_go(pair.here, EINVAL);
	fd = net_bound(SOCK_STREAM, &port);
	lets_go(fd, EINVAL);
	CHECK_EQUAL(listen(fd, 1), 0);
	lets_go(fd, EINVAL);
	/* Another port's; it stays that one's. */
	device_bind(&second, (struct port_spec){ .name = "pst:1" });
	request_socket(&second.request, NETMAP_REQ_PST_FD_REG, "pst:1", (uint32_t)pair.here);
	CHECK_EQUAL(device_send(&second), 0);
	lets_go(pair.here, EINVAL);
	net_send(pair.there, "to the other", 12);
	CHECK(device_wait(&second));
	/* Of a port that is gone. */
	device_close(&second);
	lets_go(pair.here, EINVAL);
}

static void unregister_not_tcp(void)
{
	static const int families[] = { AF_INET, AF_UNIX, AF_NETLINK };
	int pair[2];
	size_t i;

	open_port();
	for (i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		lets_go(socket(families[i], SOCK_DGRAM, 0), EOPNOTSUPP);
	CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	lets_go(pair[0], EOPNOTSUPP);
	lets_go(socket(AF_INET, SOCK_STREAM, PROTOCOL_MPTCP), EOPNOTSUPP);
}

static void unregister_no_socket(void)
{
	int pipes[2];

	open_port();
	CHECK_EQUAL(pipe(pipes), 0);
	lets_go(pipes[0], ENOTSOCK);
	lets_go(device.fd, ENOTSOCK);
}

/* kTLS has it; it stays kTLS's. */
static void unregister_of_tls(void)
{
	struct pair pair = net_pair();

	open_port();
	CHECK_EQUAL(setsockopt(pair.here, SOL_TCP, TCP_ULP, "tls", 3), 0);
	lets_go(pair.here, EINVAL);
	CHECK(setsockopt(pair.here, SOL_TCP, TCP_ULP, "tls", 3) < 0);
	CHECK_EQUAL(errno, EEXIST);
}

static void unregister_of_no_port(void)
{
	struct pair pair;

	open_port();
	pair = registered();
	request_socket(&device.request, PASTE_REQ_FD_UNREG, "pst:7", (uint32_t)pair.here);
	CHECK_EQUAL(device_send(&device), ENXIO);
	device_close(&device);
	device_bind(&device, (struct port_spec){ .name = "eth0" });
	request_socket(&device.request, PASTE_REQ_FD_UNREG, "eth0", (uint32_t)pair.here);
	CHECK_EQUAL(device_send(&device), EINVAL);
}

static void unregister_by_control_descriptor(void)
{
	struct device control = device_open();
	struct pair pair;

	open_port();
	pair = registered();
	CHECK_EQUAL(device_unregister_socket(&control, pair.here), 0);
	lets_go(pair.here, EINVAL);
}

const struct row rows_unregister[] = {
	{ "unregister_connected", unregister_connected },
	{ "unregister_unread", unregister_unread },
	{ "unregister_dead", unregister_dead },
	{ "unregister_bad_number", unregister_bad_number },
	{ "unregister_not_registered", unregister_not_registered },
	{ "unregister_not_tcp", unregister_not_tcp },
	{ "unregister_no_socket", unregister_no_socket },
	{ "unregister_of_tls", unregister_of_tls },
	{ "unregister_of_no_port", unregister_of_no_port },
	{ "unregister_by_control_descriptor", unregister_by_control_descriptor },
	{ 0 },
};
