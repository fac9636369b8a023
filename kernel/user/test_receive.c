/* SPDX-License-Identifier: BSD-2-Clause */
/* test_receive.c -- payload from the NIC to the application: order, places, accounts */
#include "check.h"
#include "client.h"

#define CONNECTIONS 64u
#define PACKETS     120000u
#define EXTRA       64u

struct stream {
	uint32_t fd;
	uint32_t sent, received; /* packets */
};

static struct stream streams[CONNECTIONS];
static uint32_t kept[EXTRA];
static uint32_t kept_count;

static void register_streams(struct client *client)
{
	uint32_t i;

	for (i = 0; i < CONNECTIONS; i++) {
		streams[i] = (struct stream){ .fd = fake_socket(FAKE_CONNECTED) };
		CHECK_EQUAL(client_register_socket(client, streams[i].fd), 0);
	}
}

/* Swap a slot's buffer for a spare, and give an older one back later: what a log does. */
static void keep(struct client *client, struct netmap_slot *slot, struct check_random *random)
{
	uint32_t spare = client_extra_take(client);

	if (spare == 0) {
		spare = kept[check_below(random, kept_count)];
		for (uint32_t i = 0; i < kept_count; i++)
			if (kept[i] == spare)
				kept[i] = slot->buf_idx;
	} else {
		kept[kept_count++] = slot->buf_idx;
	}
	slot->buf_idx = spare;
	slot->flags = NS_BUF_CHANGED;
}

static uint32_t consume(struct client *client, struct check_random *random, bool *seen)
{
	struct netmap_slot *slot;
	uint32_t length, count = 0, last_fd = 0;
	uint32_t message[2];

	memset(seen, 0, CONNECTIONS);
	for (; (slot = client_slot(client)); ring_advance(client->ring), count++) {
		const char *payload = client_payload(client, slot, &length);
		struct stream *stream;

		memcpy(message, payload, sizeof(message));
		CHECK(message[0] < CONNECTIONS);
		stream = &streams[message[0]];
		CHECK_EQUAL(slot_fd(slot), stream->fd);
		CHECK_EQUAL(message[1], stream->received);
		CHECK_EQUAL(length, sizeof(message) + message[1] % 1024);
		stream->received++;
		/* Slots of one connection lie together in a batch. */
		CHECK(stream->fd == last_fd || !seen[message[0]]);
		seen[message[0]] = true;
		last_fd = stream->fd;
		if (check_below(random, 3) == 0)
			keep(client, slot, random);
	}
	return count;
}

static void send_one(uint32_t i)
{
	static char payload[2048];
	uint32_t message[2] = { i, streams[i].sent };

	memcpy(payload, message, sizeof(message));
	if (fake_receive("eth0", streams[i].fd, payload,
			 (uint16_t)(sizeof(message) + message[1] % 1024)))
		streams[i].sent++;
}

static void receive(const struct port_spec *spec, struct check_random *random)
{
	struct client client;
	uint32_t sent = 0, received = 0, held, burst, i;
	bool seen[CONNECTIONS];

	fake_reset();
	kept_count = 0;
	CHECK_EQUAL(client_open(&client, spec), 0);
	CHECK_EQUAL(client_extra_count(&client), EXTRA);
	CHECK_EQUAL(client_attach(&client, "pst:eth0"), 0);
	register_streams(&client);
	while (received < PACKETS) {
		burst = check_below(random, FAKE_POSTED);
		for (i = 0; i < burst; i++)
			send_one(check_below(random, CONNECTIONS));
		fake_stack_hold(check_below(random, 8) == 0);
		CHECK_EQUAL(client_rxsync(&client), 0);
		received += consume(&client, random, seen);
		fake_stack_let_go();
	}
	fake_stack_hold(false);
	CHECK_EQUAL(client_rxsync(&client), 0);
	received += consume(&client, random, seen);
	CHECK_EQUAL(client_rxsync(&client), 0);
	client_check_conservation(&client);
	for (i = 0; i < CONNECTIONS; i++)
		sent += streams[i].sent;
	CHECK_EQUAL(sent, received);
	/* received == returned + held: the application has extra buffers and TX slots. */
	held = paste_pool_count(client.desc.port->pool, PASTE_APP);
	CHECK_EQUAL(held, EXTRA + client_tx_buffers(&client));
	client_close(&client);
	fake_reset();
}

int main(int argc, char **argv)
{
	struct check_random random = check_seed(argc, argv);
	struct port_spec plain = { .extra = EXTRA, .slots = 256 };
	struct port_spec extmem = { .extra = EXTRA, .extmem = 4 << 20, .slots = 512 };
	struct port_spec persistent = { .extra = EXTRA, .extmem = 8 << 20, .buf_size = 4096,
					  .kernel_rings = true, .slots = 512,
					  .max_offset = 32, .initial_offset = 32 };

	receive(&plain, &random);
	receive(&extmem, &random);
	receive(&persistent, &random);
	return 0;
}
