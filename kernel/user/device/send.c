/* SPDX-License-Identifier: BSD-2-Clause */
/* send.c -- rows: what TX slots gave to a connection that ends before TCP has room for it */
#include <sys/socket.h>
#include <unistd.h>

#include "device.h"
#include "net.h"
#include "rows.h"

#define SLOTS   64u
#define PIECE   2000u /* bytes of one slot */
#define WHOLE   ((SLOTS - 1) * PIECE)
#define HEADERS 32u

static struct device device;
static char received[WHOLE];

static char byte_of(uint32_t slot)
{
	return (char)('0' + slot);
}

static void put(int fd, uint32_t length)
{
	struct netmap_ring *ring = device_ring(&device, TX);
	struct netmap_slot *slot = &ring->slot[ring->head];

	CHECK(ring->head != ring->tail);
	memset(device_buffer(&device, slot->buf_idx) + HEADERS, byte_of(ring->head), length);
	slot->len = (uint16_t)(HEADERS + length);
	slot->ptr = (uint64_t)fd << PST_FD_SHIFT | (uint64_t)HEADERS << PST_DOFF_SHIFT;
	slot->flags = 0;
	ring_advance(ring);
}

/* All slots are taken for a socket whose peer reads nothing, and most of them wait. */
static struct pair full_connection(void)
{
	struct pair pair = net_pair();
	int least = 1;
	uint32_t i;

	device_bind(&device, (struct port_spec){ .slots = SLOTS, .flags = PASTE_NR_EVENTS });
	CHECK_EQUAL(setsockopt(pair.here, SOL_SOCKET, SO_SNDBUF, &least, sizeof(least)), 0);
	CHECK_EQUAL(device_register_socket(&device, pair.here), 0);
	for (i = 0; i < SLOTS - 1; i++)
		put(pair.here, PIECE);
	CHECK_EQUAL(device_txsync(&device), 0);
	CHECK_EQUAL(device_ring(&device, TX)->tail, SLOTS - 2); /* every slot came back */
	CHECK_EQUAL(device_unregister_socket(&device, pair.here), EBUSY);
	return pair;
}

static void expect_whole(int fd)
{
	size_t length, some, i;

	for (length = 0; length < WHOLE; length += some) {
		some = net_receive(fd, received + length, WHOLE - length);
		CHECK(some > 0);
	}
	for (i = 0; i < WHOLE; i++)
		CHECK_EQUAL(received[i], byte_of((uint32_t)(i / PIECE)));
}

static void expect_end(int fd)
{
	net_await(fd, POLLIN);
	CHECK_EQUAL(recv(fd, received, 1, 0), 0);
}

static void send_closed(void)
{
	struct pair pair = full_connection();

	CHECK_EQUAL(close(pair.here), 0);
	expect_whole(pair.there);
	expect_end(pair.there);
}

/* The same, and the other direction goes on. */
static void send_shut_down(void)
{
	struct pair pair = full_connection();
	struct netmap_slot *slot;
	uint32_t length;
	char *payload;

	CHECK_EQUAL(shutdown(pair.here, SHUT_WR), 0);
	expect_whole(pair.there);
	expect_end(pair.there);
	net_send(pair.there, "answer", 6);
	CHECK(device_wait(&device));
	payload = device_payload(&device, &device.ring->slot[device.ring->head], &length);
	CHECK(length == 6 && memcmp(payload, "answer", 6) == 0);
	ring_advance(device.ring);
	put(pair.here, 1);
	CHECK_EQUAL(device_txsync(&device), 0);
	CHECK(device_wait(&device));
	slot = &device.ring->slot[device.ring->head];
	CHECK_EQUAL(slot->flags, PST_EVENT_SEND_FAILED << PST_EVENT_SHIFT);
	CHECK_EQUAL(slot->ptr >> PST_ERRNO_SHIFT, EPIPE);
}

/* The port goes, and the stream goes on where the slots left it. */
static void send_port_ends(void)
{
	struct pair pair = full_connection();

	device_close(&device);
	expect_whole(pair.there);
	net_send(pair.here, "as before", 9);
	CHECK_EQUAL(net_receive(pair.there, received, sizeof(received)), 9);
	CHECK(memcmp(received, "as before", 9) == 0);
}

const struct row rows_send[] = {
	{ "send_closed", send_closed },
	{ "send_shut_down", send_shut_down },
	{ "send_port_ends", send_port_ends },
	{ 0 },
};
