/* SPDX-License-Identifier: BSD-2-Clause */
/* stream.c -- rows: what connections bring into a pst port, over the NIC and the echoing host */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "device.h"
#include "net.h"
#include "rows.h"

#define FULL  (1u << 20)

#define IP_SOURCE 26 /* in an Ethernet frame */

static struct device device;

static void open_port(struct port_spec spec)
{
	device_bind(&device, spec);
	CHECK_EQUAL(device_attach(&device, "pst:eth0"), 0);
}

static int echo(void)
{
	int fd = net_echo();

	CHECK_EQUAL(device_register_socket(&device, fd), 0);
	return fd;
}

static struct netmap_slot *wait_slot(void)
{
	if (device.ring->head == device.ring->tail)
		CHECK(device_wait(&device));
	return &device.ring->slot[device.ring->head];
}

static unsigned char byte_of(size_t position)
{
	return (unsigned char)(position * 2654435761u >> 16);
}

static void fill(unsigned char *bytes, size_t from, size_t length)
{
	size_t i;

	for (i = 0; i < length; i++)
		bytes[i] = byte_of(from + i);
}

/* Takes one slot; it must go on at position. Returns its length. */
static size_t take(int fd, size_t position)
{
	struct netmap_slot *slot = wait_slot();
	uint32_t length, i;
	unsigned char *payload = (unsigned char *)device_payload(&device, slot, &length);

	CHECK_EQUAL(slot_fd(slot), fd);
	for (i = 0; i < length; i++)
		CHECK_EQUAL(payload[i], byte_of(position + i));
	ring_advance(device.ring);
	return length;
}

static void stream(struct port_spec spec)
{
	unsigned char bytes[20000];
	size_t position = 0, round;
	int fd;

	open_port(spec);
	fd = echo();
	for (round = 0; round < 10; round++) {
		fill(bytes, round * sizeof(bytes), sizeof(bytes));
		net_send(fd, bytes, sizeof(bytes));
		while (position < (round + 1) * sizeof(bytes))
			position += take(fd, position);
	}
}

static void stream_in_order(void)
{
	stream((struct port_spec){ EXTMEM(DEVDAX), .kernel_rings = true });
}

static void stream_into_plain_memory(void)
{
	stream((struct port_spec){ .slots = 4 });
}

/* The frame's headers lie before its payload: the NIC wrote both there. */
static void stream_in_place(void)
{
	unsigned char bytes[1000];
	struct netmap_slot *slot;
	size_t position = 0, i;
	int fd;

	open_port((struct port_spec){ EXTMEM(MEMFD), .kernel_rings = true,
					.max_offset = 255, .initial_offset = 64 });
	fd = echo();
	for (i = 0; i < 20; i++) {
		fill(bytes, i * sizeof(bytes), sizeof(bytes));
		net_send(fd, bytes, sizeof(bytes));
		while (position < (i + 1) * sizeof(bytes)) {
			slot = wait_slot();
			CHECK_EQUAL(slot->ptr & PST_OFFSET_MASK, 64);
			CHECK(memcmp(device_buffer(&device, slot->buf_idx) + 64 + IP_SOURCE,
				     "\x0a\x4d\x00\x01", 4) == 0);
			position += take(fd, position);
		}
	}
}

static void stream_end(void)
{
	unsigned char bytes[100];
	int fd;

	open_port((struct port_spec){ 0 });
	fd = echo();
	fill(bytes, 0, sizeof(bytes));
	net_send(fd, bytes, sizeof(bytes));
	CHECK_EQUAL(shutdown(fd, SHUT_WR), 0);
	CHECK_EQUAL(take(fd, 0), sizeof(bytes));
	CHECK_EQUAL(take(fd, 0), 0);
	CHECK(device_poll(&device, POLLIN) == 0);
}

/* Two connections whose packets alternate come one after the other in a batch. */
static void stream_grouped(void)
{
	struct pair pairs[2] = { net_pair(), net_pair() };
	uint32_t i;

	device_bind(&device, (struct port_spec){ 0 });
	for (i = 0; i < 2; i++)
		CHECK_EQUAL(device_register_socket(&device, pairs[i].here), 0);
	for (i = 0; i < 20; i++)
		net_send(pairs[i % 2].there, "x", 1);
	CHECK_EQUAL(device_rxsync(&device), 0);
	CHECK_EQUAL(device.ring->tail, 20);
	for (i = 0; i < 20; i++)
		CHECK_EQUAL(slot_fd(&device.ring->slot[i]), pairs[i / 10].here);
}

/* Who has filled the ring comes last in the next sync. */
static void stream_turns(void)
{
	struct pair loud = net_pair(), quiet = net_pair();
	uint32_t i;

	device_bind(&device, (struct port_spec){ .slots = 8 });
	CHECK_EQUAL(device_register_socket(&device, loud.here), 0);
	CHECK_EQUAL(device_register_socket(&device, quiet.here), 0);
	for (i = 0; i < 40; i++)
		net_send(loud.there, "x", 1);
	net_send(quiet.there, "x", 1);
	CHECK_EQUAL(device_rxsync(&device), 0);
	for (i = 0; i < 7; i++) {
		CHECK_EQUAL(slot_fd(&device.ring->slot[i]), loud.here);
		ring_advance(device.ring);
	}
	CHECK_EQUAL(device_rxsync(&device), 0);
	CHECK_EQUAL(slot_fd(&device.ring->slot[7]), quiet.here);
}

/* Nobody reads: the sender stops. Then somebody does, and all of it comes. */
static void stream_backpressure(void)
{
	static unsigned char bytes[65536];
	struct pair pair = net_pair();
	size_t sent = 0, position = 0;
	ssize_t now;

	device_bind(&device, (struct port_spec){ EXTMEM(ANONYMOUS), .kernel_rings = true });
	CHECK_EQUAL(device_register_socket(&device, pair.here), 0);
	CHECK_EQUAL(fcntl(pair.there, F_SETFL, O_NONBLOCK), 0);
	do {
		fill(bytes, sent, sizeof(bytes));
		now = send(pair.there, bytes, sizeof(bytes), 0);
		sent += now > 0 ? (size_t)now : 0;
	} while (now > 0);
	CHECK(errno == EAGAIN && sent > DEVICE_MEMORY / 4);
	while (position < sent)
		position += take(pair.here, position);
	CHECK_EQUAL(close(pair.there), 0);
	CHECK_EQUAL(take(pair.here, position), 0);
}

/* What is in slots stays, what waited for one is dropped. */
static void stream_socket_closed(void)
{
	struct pair pair = net_pair(), other = net_pair();
	uint32_t i;

	device_bind(&device, (struct port_spec){ .slots = 8 });
	CHECK_EQUAL(device_register_socket(&device, pair.here), 0);
	for (i = 0; i < 40; i++)
		net_send(pair.there, (char[1]){ (char)byte_of(0) }, 1);
	CHECK_EQUAL(device_rxsync(&device), 0);
	i = (uint32_t)pair.here;
	CHECK_EQUAL(close(pair.here), 0);
	while (device.ring->head != device.ring->tail)
		CHECK_EQUAL(take((int)i, 0), 1);
	CHECK_EQUAL(device_rxsync(&device), 0);
	CHECK_EQUAL(device.ring->head, device.ring->tail);
	CHECK_EQUAL(device_register_socket(&device, other.here), 0);
	net_send(other.there, (char[1]){ (char)byte_of(0) }, 1);
	CHECK_EQUAL(take(other.here, 0), 1);
}

/* The port is gone: its NIC is free, its socket an ordinary one. */
static void stream_device_closed(void)
{
	char bytes[16];
	int fd;

	open_port((struct port_spec){ 0 });
	fd = echo();
	net_send(fd, "lost", 4);
	CHECK(device_wait(&device));
	device_close(&device);
	net_send(fd, "ordinary", 8);
	CHECK_EQUAL(net_receive(fd, bytes, sizeof(bytes)), 8);
	CHECK(memcmp(bytes, "ordinary", 8) == 0);
	open_port((struct port_spec){ 0 });
	CHECK_EQUAL(device_register_socket(&device, fd), 0); /* and may come back */
	net_send(fd, (char[1]){ (char)byte_of(0) }, 1);
	CHECK_EQUAL(take(fd, 0), 1);
}

/* Data queued in slots, in flows, in the socket and on its way; then everything closes. */
static void stream_close_in_flight(void)
{
	static unsigned char bytes[FULL / 4];
	uint32_t round;
	int fds[8];
	size_t i;

	for (round = 0; round < 4; round++) {
		open_port((struct port_spec){ EXTMEM(DEVDAX), .kernel_rings = true });
		for (i = 0; i < 8; i++) {
			fds[i] = echo();
			CHECK(send(fds[i], bytes, sizeof(bytes), MSG_DONTWAIT) > 0);
		}
		CHECK(device_wait(&device));
		if (round % 2)
			device_close(&device);
		for (i = 0; i < 8; i++)
			CHECK_EQUAL(close(fds[i]), 0);
		if (round % 2 == 0)
			device_close(&device);
	}
}

const struct row rows_stream[] = {
	{ "stream_in_order", stream_in_order },
	{ "stream_into_plain_memory", stream_into_plain_memory },
	{ "stream_in_place", stream_in_place },
	{ "stream_end", stream_end },
	{ "stream_grouped", stream_grouped },
	{ "stream_turns", stream_turns },
	{ "stream_backpressure", stream_backpressure },
	{ "stream_socket_closed", stream_socket_closed },
	{ "stream_device_closed", stream_device_closed },
	{ "stream_close_in_flight", stream_close_in_flight },
	{ 0 },
};
