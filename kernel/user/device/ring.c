/* SPDX-License-Identifier: BSD-2-Clause */
/* ring.c -- rows: the RX ring of a pst port, with payload from loopback */
#include "device.h"
#include "net.h"
#include "rows.h"

#define SLOTS 16u

static struct device device;
static struct pair pair;
static uint64_t sent; /* bytes, to pair.here */

static void open_ring(void)
{
	pair = net_pair();
	sent = 0;
	device_bind(&device, (struct port_spec){ .slots = SLOTS, .extra = 8 });
	CHECK_EQUAL(device_register_socket(&device, pair.here), 0);
}

static int rxsync(void)
{
	return device_rxsync(&device);
}

static uint32_t held(void)
{
	return (device.ring->tail + SLOTS - device.ring->head) % SLOTS;
}

/* Payload for so many slots, in the port when this returns. */
static void receive(uint32_t slots)
{
	char payload[64];
	uint32_t i;

	for (i = 0; i < slots; i++) {
		memset(payload, 'a' + (int)(i % 26), sizeof(payload));
		net_send(pair.there, payload, sizeof(payload));
		sent += sizeof(payload);
	}
	net_arrived(pair.here, sent);
}

static struct netmap_slot *first(void)
{
	CHECK(device.ring->head != device.ring->tail);
	return &device.ring->slot[device.ring->head];
}

/* All slots but one; the rest waits and follows in order. */
static void ring_full(void)
{
	uint32_t length, i;

	open_ring();
	receive(40);
	CHECK_EQUAL(rxsync(), 0);
	CHECK_EQUAL(held(), SLOTS - 1);
	for (i = 0; i < 40; i++) {
		char *payload = device_payload(&device, first(), &length);

		CHECK(length == 64 && payload[0] == (char)('a' + (int)(i % 26)));
		ring_advance(device.ring);
		if (i % 5 == 0)
			CHECK_EQUAL(rxsync(), 0);
		if (held() == 0)
			CHECK_EQUAL(rxsync(), 0);
	}
	CHECK_EQUAL(rxsync(), 0);
	CHECK_EQUAL(held(), 0);
}

static void ring_cur_ahead(void)
{
	open_ring();
	receive(3);
	CHECK_EQUAL(rxsync(), 0);
	CHECK_EQUAL(held(), 3);
	device.ring->cur = device.ring->tail;
	CHECK_EQUAL(device_poll(&device, POLLIN), 0);
	receive(1);
	CHECK_EQUAL(device_poll(&device, POLLIN), POLLIN);
	CHECK_EQUAL(held(), 4);
	CHECK_EQUAL(device.ring->head, 0);
}

static void spoil(uint32_t head, uint32_t cur)
{
	device.ring->head = head;
	device.ring->cur = cur;
	CHECK_EQUAL(rxsync(), EINVAL);
	CHECK_EQUAL(device.ring->head, 1);
	CHECK_EQUAL(device.ring->cur, 1);
	CHECK_EQUAL(device.ring->tail, 4);
}

static void ring_out_of_bounds(void)
{
	open_ring();
	receive(4);
	CHECK_EQUAL(rxsync(), 0);
	ring_advance(device.ring);
	CHECK_EQUAL(rxsync(), 0);
	spoil(5, 5);
	spoil(0, 0);
	spoil(SLOTS, SLOTS);
	spoil(0xffffffff, 2);
	spoil(2, 1);
	spoil(2, 5);
	first()->buf_idx = 0xffffffff;
	device.ring->slot[2].len = 0xffff;
	spoil(SLOTS, SLOTS);
	CHECK(first()->buf_idx == 0 && first()->ptr == 0);
	CHECK_EQUAL(device.ring->slot[2].len, 0);
}

static void ring_tail(void)
{
	open_ring();
	receive(2);
	CHECK_EQUAL(rxsync(), 0);
	device.ring->tail = 0xffffffff;
	CHECK_EQUAL(rxsync(), 0);
	CHECK_EQUAL(device.ring->tail, 2);
	device.ring->num_slots = 7;
	device.ring->nr_buf_size = 1;
	device.ring->buf_ofs = -1;
	device.nifp->ring_ofs[0] = 1;
	receive(1);
	CHECK_EQUAL(rxsync(), 0);
	CHECK_EQUAL(device.ring->tail, 3);
}

static void forge(uint32_t index)
{
	uint32_t i = device.ring->head;

	first()->buf_idx = index;
	ring_advance(device.ring);
	CHECK_EQUAL(rxsync(), EINVAL);
	CHECK_EQUAL(device.ring->slot[i].buf_idx, 0);
	CHECK_EQUAL(device.ring->head, (i + 1) % SLOTS);
}

/* A slot comes back with a buffer that is not the application's to give. */
static void ring_forged(void)
{
	uint32_t given;

	open_ring();
	receive(10);
	CHECK_EQUAL(rxsync(), 0);
	forge(0);
	forge(1);
	forge(0xffffffff);
	forge(device.ring->slot[SLOTS - 1].buf_idx); /* the kernel's */
	given = first()->buf_idx;
	ring_advance(device.ring);
	CHECK_EQUAL(rxsync(), 0);
	forge(given); /* given back already */
	receive(SLOTS);
	CHECK_EQUAL(rxsync(), 0);
	CHECK_EQUAL(held(), SLOTS - 1); /* slots without a buffer are filled again */
}

/* The index alone counts, with NS_BUF_CHANGED and without. */
static void ring_swap(void)
{
	uint32_t kept[4], i, round;

	open_ring();
	receive(4);
	CHECK_EQUAL(rxsync(), 0);
	for (i = 0; i < 4; i++) {
		kept[i] = first()->buf_idx;
		first()->buf_idx = device_extra(&device);
		CHECK(first()->buf_idx != 0);
		first()->flags = i % 2 ? NS_BUF_CHANGED : 0;
		ring_advance(device.ring);
	}
	CHECK_EQUAL(rxsync(), 0);
	for (round = 0; round < 500; round++) {
		receive(8);
		CHECK_EQUAL(rxsync(), 0);
		for (; held() != 0; ring_advance(device.ring))
			for (i = 0; i < 4; i++)
				CHECK(first()->buf_idx != kept[i]);
	}
	for (i = 0; i < 4; i++)
		CHECK_EQUAL(device_buffer(&device, kept[i])[66], (char)('a' + (int)i));
}

static void sync_without_tx(void)
{
	open_ring();
	CHECK_EQUAL(device_txsync(&device), 0);
}

static void sync_unbound(void)
{
	device = device_open();
	CHECK_EQUAL(rxsync(), ENXIO);
	CHECK_EQUAL(device_txsync(&device), ENXIO);
}

const struct row rows_ring[] = {
	{ "ring_full", ring_full },
	{ "ring_cur_ahead", ring_cur_ahead },
	{ "ring_out_of_bounds", ring_out_of_bounds },
	{ "ring_tail", ring_tail },
	{ "ring_forged", ring_forged },
	{ "ring_swap", ring_swap },
	{ "sync_without_tx", sync_without_tx },
	{ "sync_unbound", sync_unbound },
	{ 0 },
};
