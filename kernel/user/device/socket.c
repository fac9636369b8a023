/* SPDX-License-Identifier: BSD-2-Clause */
/* socket.c -- rows: which sockets a pst port takes */
#include <linux/bpf.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
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

static void takes(int fd, int error)
{
	CHECK_EQUAL(device_register_socket(&device, fd), error);
}

static int tcp(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(fd >= 0);
	return fd;
}

static void expect_payload(int fd, const char *text)
{
	struct netmap_ring *ring = device.ring;
	uint32_t length;
	char *payload;

	CHECK(device_wait(&device));
	CHECK(ring->head != ring->tail);
	CHECK_EQUAL(slot_fd(&ring->slot[ring->head]), fd);
	payload = device_payload(&device, &ring->slot[ring->head], &length);
	CHECK_EQUAL(length, strlen(text));
	CHECK(memcmp(payload, text, length) == 0);
	ring_advance(ring);
}

/* A connected socket, also with data that came before. */
static void socket_connected(void)
{
	struct pair pair = net_pair();

	open_port();
	net_send(pair.there, "early", 5);
	takes(pair.here, 0);
	expect_payload(pair.here, "early");
	net_send(pair.there, "late", 4);
	expect_payload(pair.here, "late");
}

static void socket_of_ipv6(void)
{
	struct pair pair = net_pair_of_ipv6(), other = net_pair_of_ipv6();

	open_port();
	takes(pair.here, 0);
	net_send(pair.there, "six", 3);
	expect_payload(pair.here, "six");
	CHECK_EQUAL(close(pair.here), 0);
	CHECK_EQUAL(dup2(other.here, pair.here), pair.here); /* the same number, another socket */
	takes(pair.here, 0);
	net_send(other.there, "seven", 5);
	expect_payload(pair.here, "seven");
}

/* A peer that has sent everything already is no obstacle. */
static void socket_half_closed(void)
{
	struct pair pair = net_pair();

	open_port();
	net_send(pair.there, "last", 4);
	CHECK_EQUAL(shutdown(pair.there, SHUT_WR), 0);
	takes(pair.here, 0);
	expect_payload(pair.here, "last");
	expect_payload(pair.here, "");
}

static void socket_registered(void)
{
	struct device second;
	struct pair pair = net_pair();
	int copy;

	open_port();
	device_bind(&second, (struct port_spec){ .name = "pst:1" });
	takes(pair.here, 0);
	takes(pair.here, EBUSY);
	copy = dup(pair.here);
	takes(copy, EBUSY);
	request_socket(&second.request, NETMAP_REQ_PST_FD_REG, "pst:1", (uint32_t)pair.here);
	CHECK_EQUAL(device_send(&second), EBUSY);
	/* Its port is gone: it may join another one. */
	device_close(&device);
	CHECK_EQUAL(device_send(&second), 0);
}

static void socket_bad_number(void)
{
	open_port();
	takes(-1, EBADF);
	takes(1000, EBADF);
	takes(0x7fffffff, EBADF);
}

static void socket_not_connected(void)
{
	struct pair pair = net_pair();
	int fd = tcp();
	uint16_t port;

	open_port();
	takes(fd, EINVAL);
	fd = net_bound(SOCK_STREAM, &port);
	takes(fd, EINVAL);
	CHECK_EQUAL(listen(fd, 1), 0);
	takes(fd, EINVAL);
	CHECK_EQUAL(shutdown(pair.here, SHUT_WR), 0);
	takes(pair.here, EINVAL);
	pair = net_pair();
	net_reset(pair.there);
	net_await(pair.here, POLLHUP);
	takes(pair.here, EINVAL);
}

static void socket_not_tcp(void)
{
	static const int families[] = { AF_INET, AF_UNIX, AF_NETLINK };
	int pair[2];
	size_t i;

	open_port();
	for (i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		takes(socket(families[i], SOCK_DGRAM, 0), EOPNOTSUPP);
	CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	takes(pair[0], EOPNOTSUPP);
	takes(socket(AF_INET, SOCK_STREAM, PROTOCOL_MPTCP), EOPNOTSUPP);
}

static void socket_no_socket(void)
{
	int pipes[2];

	open_port();
	CHECK_EQUAL(pipe(pipes), 0);
	takes(pipes[0], ENOTSOCK);
	takes(device.fd, ENOTSOCK);
}

static int uses_protocol(int fd, const char *name)
{
	return setsockopt(fd, SOL_TCP, TCP_ULP, name, (socklen_t)strlen(name)) == 0 ? 0 : errno;
}

/* kTLS has it, and so it is not ours; and the other way round. */
static void socket_of_tls(void)
{
	struct pair pair = net_pair();

	open_port();
	CHECK_EQUAL(uses_protocol(pair.here, "tls"), 0);
	takes(pair.here, EBUSY);
	takes(pair.there, 0);
	CHECK_EQUAL(uses_protocol(pair.there, "tls"), EEXIST);
}

static int put_into_map(int fd)
{
	union bpf_attr attributes = { .map_type = BPF_MAP_TYPE_SOCKMAP, .key_size = 4,
				      .value_size = 4, .max_entries = 1 };
	uint32_t key = 0;
	long map = syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof(attributes));

	CHECK(map >= 0);
	memset(&attributes, 0, sizeof(attributes));
	attributes.map_fd = (uint32_t)map;
	attributes.key = (uintptr_t)&key;
	attributes.value = (uintptr_t)&fd;
	return syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &attributes, sizeof(attributes)) == 0 ?
		0 : errno;
}

static void socket_of_map(void)
{
	struct pair pair = net_pair();

	open_port();
	CHECK_EQUAL(put_into_map(pair.here), 0);
	takes(pair.here, EBUSY);
	takes(pair.there, 0);
	CHECK_EQUAL(put_into_map(pair.there), EINVAL);
}

/* Only a request may give a socket our protocol. */
static void socket_asks_itself(void)
{
	struct pair pair = net_pair();

	CHECK_EQUAL(uses_protocol(pair.here, "paste"), EPERM);
	net_send(pair.there, "as before", 9);
	CHECK_EQUAL(net_receive(pair.here, (char[16]){ 0 }, 16), 9);
}

static void socket_of_no_port(void)
{
	struct pair pair = net_pair();

	device = device_open();
	takes(pair.here, ENXIO);
	device_close(&device);
	device_bind(&device, (struct port_spec){ .name = "eth0" });
	request_socket(&device.request, NETMAP_REQ_PST_FD_REG, "eth0", (uint32_t)pair.here);
	CHECK_EQUAL(device_send(&device), EINVAL);
}

static void socket_by_control_descriptor(void)
{
	struct pair pair = net_pair();
	struct device control = device_open();

	open_port();
	CHECK_EQUAL(device_register_socket(&control, pair.here), 0);
	device_close(&control);
	net_send(pair.there, "payload", 7);
	expect_payload(pair.here, "payload");
}

const struct row rows_socket[] = {
	{ "socket_connected", socket_connected },
	{ "socket_of_ipv6", socket_of_ipv6 },
	{ "socket_half_closed", socket_half_closed },
	{ "socket_registered", socket_registered },
	{ "socket_bad_number", socket_bad_number },
	{ "socket_not_connected", socket_not_connected },
	{ "socket_not_tcp", socket_not_tcp },
	{ "socket_no_socket", socket_no_socket },
	{ "socket_of_tls", socket_of_tls },
	{ "socket_of_map", socket_of_map },
	{ "socket_asks_itself", socket_asks_itself },
	{ "socket_of_no_port", socket_of_no_port },
	{ "socket_by_control_descriptor", socket_by_control_descriptor },
	{ 0 },
};
