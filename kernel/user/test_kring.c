/* SPDX-License-Identifier: BSD-2-Clause */
/* test_kring.c -- a ring whose user lies: indices, buffers, lengths, also while a sync runs */
#include <pthread.h>

#include "check.h"
#include "client.h"

#define ROUNDS 30000u
#define SLOTS  16u
#define EXTRA  8u

static uint32_t fd;

static void open_ring(struct client *client, uint32_t slots)
{
	struct port_spec spec = { .slots = slots, .extra = EXTRA };

	client_open_attached(client, &spec);
	fd = fake_socket(FAKE_CONNECTED);
	CHECK_EQUAL(client_register_socket(client, fd), 0);
}

static void receive(uint32_t packets)
{
	while (packets-- > 0)
		fake_receive("eth0", fd, "payload", 8);
}

static void fresh_ring(void)
{
	struct client client;
	uint32_t i;

	open_ring(&client, SLOTS);
	CHECK_EQUAL(client.ring->num_slots, SLOTS);
	CHECK_EQUAL(client.ring->nr_buf_size, 2048);
	CHECK_EQUAL(client.ring->dir, 1);
	CHECK_EQUAL(client.ring->ringid, 0);
	CHECK(client.ring->head == 0 && client.ring->cur == 0 && client.ring->tail == 0);
	for (i = 0; i < SLOTS; i++)
		CHECK(client.ring->slot[i].buf_idx >= 2);
	CHECK(!paste_port_readable(client.desc.port));
	client_close(&client);
}

/* One slot stays the kernel's; the rest waits and follows in order. */
static void full_ring(void)
{
	struct client client;
	uint32_t count = 0;

	open_ring(&client, SLOTS);
	receive(40);
	while (count < 40) {
		CHECK_EQUAL(client_rxsync(&client), 0);
		CHECK(paste_port_readable(client.desc.port));
		CHECK(count != 0 || client.ring->tail == SLOTS - 1);
		for (; client_slot(&client); ring_advance(client.ring))
			count++;
	}
	CHECK_EQUAL(client_rxsync(&client), 0);
	CHECK(!paste_port_readable(client.desc.port));
	client_check_conservation(&client);
	client_close(&client);
}

/* cur may run ahead of head: wait for more, release nothing. */
static void cur_ahead_of_head(void)
{
	struct client client;

	open_ring(&client, SLOTS);
	receive(4);
	CHECK_EQUAL(client_rxsync(&client), 0);
	client.ring->cur = client.ring->tail;
	CHECK_EQUAL(client_rxsync(&client), 0);
	CHECK(!paste_port_readable(client.desc.port));
	CHECK_EQUAL(paste_pool_count(client.desc.port->pool, PASTE_APP),
		    EXTRA + client_tx_buffers(&client) + 4);
	receive(1);
	CHECK_EQUAL(client_rxsync(&client), 0);
	CHECK(paste_port_readable(client.desc.port));
	client_close(&client);
}

static void refused(struct client *client, uint32_t head, uint32_t cur)
{
	uint32_t tail = client->desc.port->rx.hwtail;

	client->ring->head = head;
	client->ring->cur = cur;
	client->ring->tail = 0xffffffff;
	CHECK_EQUAL(client_rxsync(client), EINVAL);
	CHECK_EQUAL(client->ring->head, client->desc.port->rx.hwcur);
	CHECK_EQUAL(client->ring->cur, client->desc.port->rx.hwcur);
	CHECK_EQUAL(client->ring->tail, tail);
	client_check_conservation(client);
}

static void indices_out_of_bounds(void)
{
	struct client client;

	open_ring(&client, SLOTS);
	receive(4);
	CHECK_EQUAL(client_rxsync(&client), 0); /* the user holds [0, 4) */
	refused(&client, 5, 5);
	refused(&client, SLOTS, SLOTS);
	refused(&client, 0xffffffff, 0);
	refused(&client, 0, 5);
	refused(&client, 2, 1);
	refused(&client, SLOTS - 1, 4);
	CHECK_EQUAL(client.desc.port->rx.bad_rings, 6);
	/* An overwritten tail alone is restored silently. */
	client.ring->tail = 77;
	CHECK_EQUAL(client_rxsync(&client), 0);
	CHECK_EQUAL(client.ring->tail, 4);
	client_close(&client);
}

/* After a refused sync nonsense in the user's slots is cleared, as in netmap. */
static void slots_set_straight(void)
{
	struct client client;

	open_ring(&client, SLOTS);
	receive(3);
	CHECK_EQUAL(client_rxsync(&client), 0);
	client.ring->slot[0].buf_idx = 1;
	client.ring->slot[1].len = 2049;
	refused(&client, SLOTS, 0);
	CHECK_EQUAL(client.ring->slot[0].buf_idx, 0);
	CHECK_EQUAL(client.ring->slot[0].len, 0);
	CHECK_EQUAL(client.ring->slot[1].len, 0);
	CHECK(client.ring->slot[2].buf_idx >= 2 && client.ring->slot[2].len != 0);
	client_close(&client);
}

/* Duplicate, foreign and impossible buffers are refused, counted, and cost only their slot. */
static void forged_buffers(void)
{
	struct client client;
	struct paste_pool *pool;
	uint32_t free_index, total;

	open_ring(&client, SLOTS);
	pool = client.desc.port->pool;
	total = pool->total;
	receive(6);
	CHECK_EQUAL(client_rxsync(&client), 0);
	for (free_index = 2; pool->buffers[free_index].owner != PASTE_FREE; free_index++)
		;
	client.ring->slot[0].buf_idx = client.ring->slot[1].buf_idx;
	client.ring->slot[2].buf_idx = free_index;
	client.ring->slot[3].buf_idx = total;
	client.ring->slot[4].buf_idx = 0;
	client.ring->head = client.ring->cur = 6;
	CHECK_EQUAL(client_rxsync(&client), EINVAL);
	/* 0 was first with its claim; 1 came second. */
	CHECK_EQUAL(client.desc.port->rx.bad_slots, 4);
	CHECK_EQUAL(client.ring->slot[1].buf_idx, 0);
	CHECK(client.ring->slot[0].buf_idx != 0 && client.ring->slot[5].buf_idx != 0);
	client_check_conservation(&client);
	/* The ring works on; slots without a buffer get one. */
	receive(SLOTS - 1);
	CHECK_EQUAL(client_rxsync(&client), 0);
	for (; client_slot(&client); ring_advance(client.ring))
		CHECK(client_slot(&client)->buf_idx >= 2);
	CHECK_EQUAL(client_rxsync(&client), 0);
	/* The end of a stream needs a slot's own buffer. */
	client.desc.port->rx.slot_buf[client.desc.port->rx.hwtail] = 0;
	fake_socket_peer_closed(fd);
	CHECK_EQUAL(client_rxsync(&client), 0);
	CHECK(client_slot(&client)->buf_idx >= 2);
	client_close(&client);
	fake_run_deferred();
}

/* Anything may be written anywhere between syncs. */
static void random_user(struct check_random *random)
{
	struct client client;
	struct netmap_slot *slot;
	uint32_t i;

	open_ring(&client, SLOTS);
	for (i = 0; i < ROUNDS; i++) {
		receive(check_below(random, 8));
		slot = &client.ring->slot[check_below(random, SLOTS)];
		if (check_below(random, 4) == 0)
			slot->buf_idx = check_below(random, 64);
		slot->len = (uint16_t)check_random(random);
		slot->ptr = check_random(random);
		client.ring->head = check_below(random, SLOTS + 1);
		client.ring->cur = check_below(random, 2) ? client.ring->head :
							    check_below(random, SLOTS);
		if (check_below(random, 16) == 0)
			client.ring->num_slots = (uint32_t)check_random(random);
		client_rxsync(&client);
		client_check_conservation(&client);
	}
	client_close(&client);
	fake_socket_close(fd); /* what still waits there keeps the pool */
	fake_reset();
}

struct scribbler {
	struct netmap_ring *ring;
	uint64_t seed;
	bool stop;
};

static void *scribble(void *argument)
{
	struct scribbler *scribbler = argument;
	struct check_random random = { scribbler->seed };
	struct netmap_ring *ring = scribbler->ring;
	struct netmap_slot *slot;

	while (!__atomic_load_n(&scribbler->stop, __ATOMIC_RELAXED)) {
		slot = &ring->slot[check_below(&random, SLOTS)];
		PASTE_WRITE_ONCE(slot->buf_idx, check_below(&random, 3000));
		PASTE_WRITE_ONCE(slot->len, (uint16_t)check_random(&random));
		PASTE_WRITE_ONCE(ring->head, check_below(&random, SLOTS));
		PASTE_WRITE_ONCE(ring->cur, check_below(&random, SLOTS));
		PASTE_WRITE_ONCE(ring->tail, (uint32_t)check_random(&random));
	}
	return NULL;
}

/* ... and during them. */
static void second_thread(struct check_random *random)
{
	struct scribbler scribbler = { .seed = check_random(random) };
	struct client client;
	pthread_t thread;
	uint32_t i;

	open_ring(&client, SLOTS);
	scribbler.ring = client.ring;
	CHECK_EQUAL(pthread_create(&thread, NULL, scribble, &scribbler), 0);
	for (i = 0; i < ROUNDS / 10; i++) {
		receive(4);
		client_rxsync(&client);
		client_check_conservation(&client);
	}
	__atomic_store_n(&scribbler.stop, true, __ATOMIC_RELAXED);
	CHECK_EQUAL(pthread_join(thread, NULL), 0);
	client_close(&client);
	fake_socket_close(fd); /* what still waits there keeps the pool */
	fake_reset();
}

int main(int argc, char **argv)
{
	struct check_random random = check_seed(argc, argv);

	fresh_ring();
	full_ring();
	cur_ahead_of_head();
	indices_out_of_bounds();
	slots_set_straight();
	forged_buffers();
	random_user(&random);
	second_thread(&random);
	return 0;
}
