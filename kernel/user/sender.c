/* SPDX-License-Identifier: BSD-2-Clause */
/* sender.c -- a client's TX ring */
#include "check.h"
#include "sender.h"

void sender_open(struct client *client, uint64_t flags)
{
	struct port_spec spec = { .slots = SENDER_SLOTS, .extra = 8, .flags = flags };

	client_open_attached(client, &spec);
}

void sender_put_as_is(struct client *client, uint32_t fd, uint32_t length, uint16_t flags)
{
	struct netmap_slot *slot = &client->tx->slot[client->tx->head];

	CHECK(client->tx->head != client->tx->tail);
	slot->len = (uint16_t)(FAKE_HEADERS + length);
	slot->ptr = (uint64_t)fd << PST_FD_SHIFT | (uint64_t)FAKE_HEADERS << PST_DOFF_SHIFT;
	slot->flags = flags;
	ring_advance(client->tx);
}

uint32_t sender_put(struct client *client, uint32_t fd, const char *text, uint16_t flags)
{
	uint32_t index = client->tx->slot[client->tx->head].buf_idx;

	CHECK(index >= 2);
	memcpy(client_buffer(client, index) + FAKE_HEADERS, text, strlen(text));
	sender_put_as_is(client, fd, (uint32_t)strlen(text), flags);
	return index;
}

bool sender_all_sent(const struct client *client)
{
	const struct netmap_ring *ring = client->tx;

	return ring->head == (ring->tail + 1 == ring->num_slots ? 0 : ring->tail + 1);
}

void sender_fill_rx(struct client *client, uint32_t fd)
{
	uint32_t i;

	for (i = 0; i < client->ring->num_slots; i++) {
		CHECK(fake_receive("eth0", fd, "fill", 4));
		CHECK_EQUAL(client_rxsync(client), 0);
		ring_advance(client->ring);
	}
	CHECK_EQUAL(client_rxsync(client), 0);
}
