/* SPDX-License-Identifier: BSD-2-Clause */
/* test_flow.c -- many connections, one ring: order, turns, ends, room, encoding */
#include "check.h"
#include "client.h"

#define SLOTS 16u

static void open_port(struct client *client, uint32_t initial_offset)
{
	struct port_spec spec = { .slots = SLOTS, .max_offset = initial_offset,
				  .initial_offset = initial_offset };

	client_open_attached(client, &spec);
}

static uint32_t rxsync(struct client *client)
{
	const struct netmap_ring *ring = client->ring;

	CHECK_EQUAL(client_rxsync(client), 0);
	return (ring->tail + SLOTS - ring->head) % SLOTS;
}

static void expect(struct client *client, uint32_t fd, const char *text)
{
	struct netmap_slot *slot = client_slot(client);
	uint32_t length;
	const char *payload;

	CHECK(slot != NULL);
	payload = client_payload(client, slot, &length);
	CHECK_EQUAL(slot_fd(slot), fd);
	CHECK_EQUAL(length, strlen(text));
	CHECK(memcmp(payload, text, length) == 0);
	CHECK_EQUAL(slot->flags, 0);
	ring_advance(client->ring);
}

static void send(uint32_t fd, const char *text)
{
	CHECK(fake_receive("eth0", fd, text, (uint16_t)strlen(text)));
}

static void grouped_by_connection(void)
{
	struct client client;
	uint32_t a, b, unregistered;

	open_port(&client, 0);
	a = client_socket(&client);
	b = client_socket(&client);
	unregistered = fake_socket(FAKE_CONNECTED);
	send(a, "a1");
	send(b, "b1");
	send(unregistered, "x");
	send(a, "a2");
	send(b, "b2");
	CHECK_EQUAL(rxsync(&client), 4);
	expect(&client, a, "a1");
	expect(&client, a, "a2");
	expect(&client, b, "b1");
	expect(&client, b, "b2");
	CHECK(fake_wakes() >= 4);
	fake_socket_close(unregistered);
	client_close(&client);
}

/* A connection that fills the ring comes last the next time. */
static void everybody_gets_a_turn(void)
{
	struct client client;
	uint32_t greedy, modest, i;

	open_port(&client, 0);
	greedy = client_socket(&client);
	modest = client_socket(&client);
	for (i = 0; i < 3 * SLOTS; i++)
		send(greedy, "more");
	send(modest, "please");
	CHECK_EQUAL(rxsync(&client), SLOTS - 1);
	while (client_slot(&client))
		expect(&client, greedy, "more");
	CHECK_EQUAL(rxsync(&client), SLOTS - 1);
	expect(&client, modest, "please");
	expect(&client, greedy, "more");
	client_close(&client);
}

static void end_after_payload(void)
{
	struct client client;
	uint32_t fd;

	open_port(&client, 8);
	fd = client_socket(&client);
	send(fd, "last words");
	fake_socket_peer_closed(fd);
	CHECK_EQUAL(rxsync(&client), 2);
	expect(&client, fd, "last words");
	expect(&client, fd, "");
	CHECK_EQUAL(rxsync(&client), 0);
	client_check_conservation(&client);
	client_close(&client);
}

/* The ring ends exactly before the end of the stream: it comes with the next sync. */
static void end_in_the_next_batch(void)
{
	struct client client;
	uint32_t fd, i;

	open_port(&client, 0);
	fd = client_socket(&client);
	for (i = 0; i < SLOTS - 1; i++)
		send(fd, "full");
	fake_socket_peer_closed(fd);
	CHECK_EQUAL(rxsync(&client), SLOTS - 1);
	CHECK(paste_flow_pending(&client.desc.port->flows));
	for (i = 0; i < SLOTS - 1; i++)
		expect(&client, fd, "full");
	CHECK_EQUAL(rxsync(&client), 1);
	CHECK(!paste_flow_pending(&client.desc.port->flows));
	expect(&client, fd, "");
	client_close(&client);
}

/* What does not fit waits in the socket and follows in order. */
static void backpressure(void)
{
	struct client client;
	struct paste_flow_queue *flows;
	char text[16];
	uint32_t fd, i;

	open_port(&client, 0);
	flows = &client.desc.port->flows;
	flows->limit = 20;
	fd = client_socket(&client);
	for (i = 0; i < 100; i++) {
		snprintf(text, sizeof(text), "%u", i);
		send(fd, text);
	}
	fake_socket_peer_closed(fd);
	CHECK_EQUAL(flows->queued, 20);
	CHECK(!fake_socket_copy(fd, "no room", 7));
	for (i = 0; i < 100;) {
		CHECK(rxsync(&client) > 0);
		for (; client_slot(&client) && i < 100; i++) {
			snprintf(text, sizeof(text), "%u", i);
			expect(&client, fd, text);
		}
	}
	rxsync(&client);
	expect(&client, fd, "");
	client_check_conservation(&client);
	client_close(&client);
}

/* Data that came before registration, and data that had to be copied. */
static void early_and_copied(void)
{
	struct client client;
	uint32_t fd;

	open_port(&client, 200);
	fd = fake_socket(FAKE_CONNECTED);
	send(fd, "early");
	CHECK_EQUAL(client_register_socket(&client, fd), 0);
	CHECK(fake_socket_copy(fd, "loopback", 8));
	CHECK_EQUAL(rxsync(&client), 2);
	CHECK_EQUAL(client_slot(&client)->ptr & PST_OFFSET_MASK, 200);
	CHECK_EQUAL(client_slot(&client)->ptr >> PST_DOFF_SHIFT, FAKE_HEADERS);
	expect(&client, fd, "early");
	expect(&client, fd, "loopback");
	client_close(&client);
}

static void closed_while_waiting(void)
{
	struct client client;
	uint32_t a, b, c;

	open_port(&client, 0);
	a = client_socket(&client);
	b = client_socket(&client);
	c = client_socket(&client);
	send(a, "a");
	send(b, "b");
	send(c, "c");
	fake_socket_close(b);
	fake_socket_close(a);
	CHECK_EQUAL(rxsync(&client), 1);
	expect(&client, c, "c");
	send(c, "again");
	fake_socket_close(c);
	CHECK_EQUAL(rxsync(&client), 0);
	client_check_conservation(&client);
	client_close(&client);
}

/* Every start that the 8 + 10 bits can express, under every offset. */
static void encoding(void)
{
	static const uint32_t offsets[] = { 0, 1, 64, 255 };
	static const uint32_t starts[] = { 0, 54, 66, 255, 1023, 1024, 1277,
					   PASTE_PAYLOAD_START_MAX };
	struct paste_flow flow;
	struct client client;
	uint32_t i, j, index, length;

	for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		open_port(&client, offsets[i]);
		for (j = 0; j < sizeof(starts) / sizeof(starts[0]); j++) {
			flow = (struct paste_flow){ .fd = 0xfffffffe };
			index = paste_pool_take(client.desc.port->pool, PASTE_QUEUED);
			paste_flow_push(&client.desc.port->flows, &flow, index,
					(uint16_t)starts[j], (uint16_t)(2048 - starts[j]));
			CHECK_EQUAL(rxsync(&client), 1);
			CHECK(client_payload(&client, client_slot(&client), &length) ==
			      client_buffer(&client, index) + starts[j]);
			CHECK_EQUAL(length, 2048 - starts[j]);
			CHECK_EQUAL(slot_fd(client_slot(&client)), 0xfffffffe);
			CHECK(starts[j] < offsets[i] || starts[j] > 1023 ||
			      (client_slot(&client)->ptr & PST_OFFSET_MASK) == offsets[i]);
			ring_advance(client.ring);
		}
		client_close(&client);
	}
	fake_reset();
}

int main(void)
{
	grouped_by_connection();
	everybody_gets_a_turn();
	end_after_payload();
	end_in_the_next_batch();
	backpressure();
	early_and_copied();
	closed_while_waiting();
	encoding();
	return 0;
}
