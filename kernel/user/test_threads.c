/* SPDX-License-Identifier: BSD-2-Clause */
/* test_threads.c -- NIC, stack and application at once, on one pool and one ring */
#include <pthread.h>

#include "check.h"
#include "client.h"

#define PRODUCERS 3u
#define PACKETS   20000u /* of each */
#define SLOTS     64u

struct producer {
	struct paste_port *port;
	struct paste_flow flow;
	uint64_t seed;
	pthread_t thread;
};

static void fill(struct paste_pool *pool, uint32_t index, uint32_t number)
{
	memcpy((char *)paste_pool_address(pool, index) + FAKE_HEADERS, &number, sizeof(number));
}

/* One connection: frames arrive, are captured, and the stack lets go before or after. */
static void *produce(void *argument)
{
	struct producer *producer = argument;
	struct paste_flow_queue *flows = &producer->port->flows;
	struct paste_pool *pool = producer->port->pool;
	struct check_random random = { producer->seed };
	uint32_t number = 0, index, late = 0;

	while (number < PACKETS) {
		if (!paste_flow_has_room(flows))
			continue;
		index = paste_pool_take(pool, PASTE_DEVICE);
		if (index == 0)
			continue;
		fill(pool, index, number);
		CHECK(paste_pool_lend(pool, index));
		if (check_below(&random, 10) == 0) { /* not for us */
			paste_pool_stack_put(pool, index);
			continue;
		}
		CHECK(paste_pool_capture(pool, index));
		paste_flow_push(flows, &producer->flow, index, FAKE_HEADERS, sizeof(number));
		number++;
		if (late != 0)
			paste_pool_stack_put(pool, late);
		late = index;
	}
	paste_pool_stack_put(pool, late);
	paste_flow_end(flows, &producer->flow, 0);
	return NULL;
}

static void consume(struct client *client)
{
	uint32_t expected[PRODUCERS] = { 0 };
	uint32_t ended = 0, length, number, fd;
	struct netmap_slot *slot;
	const char *payload;

	while (ended < PRODUCERS) {
		CHECK_EQUAL(client_rxsync(client), 0);
		for (; (slot = client_slot(client)); ring_advance(client->ring)) {
			payload = client_payload(client, slot, &length);
			fd = slot_fd(slot);
			if (length == 0) {
				CHECK_EQUAL(expected[fd], PACKETS);
				ended++;
				continue;
			}
			memcpy(&number, payload, sizeof(number));
			CHECK_EQUAL(number, expected[fd]);
			expected[fd]++;
		}
	}
}

int main(int argc, char **argv)
{
	struct port_spec spec = { .extmem = 1 << 20, .slots = SLOTS };
	struct check_random random = check_seed(argc, argv);
	struct producer producers[PRODUCERS];
	struct client client;
	uint32_t i;

	fake_reset();
	CHECK_EQUAL(client_open(&client, &spec), 0);
	for (i = 0; i < PRODUCERS; i++) {
		producers[i] = (struct producer){ .port = client.desc.port, .flow.fd = i,
						  .seed = check_random(&random) };
		CHECK_EQUAL(pthread_create(&producers[i].thread, NULL, produce, &producers[i]),
			    0);
	}
	consume(&client);
	for (i = 0; i < PRODUCERS; i++)
		CHECK_EQUAL(pthread_join(producers[i].thread, NULL), 0);
	CHECK_EQUAL(client_rxsync(&client), 0);
	client_check_conservation(&client);
	CHECK_EQUAL(paste_pool_count(client.desc.port->pool, PASTE_APP),
		    client_tx_buffers(&client));
	client_close(&client);
	fake_reset();
	return 0;
}
