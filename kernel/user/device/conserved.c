/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conserved.c -- receives many packets, holds some for a while and sends the others back, then
 * takes every buffer there is.
 *
 *   conserved PORT CONNECTIONS PACKETS BYTES BATCH PLACES
 *
 * Each packet's place goes to the file PLACES. It says when a BATCH of packets has come, so that
 * the sender can stay near enough for the small pool. When it is told that everything has come
 * back (by the end of a line) it detaches the NIC, and slots
 * are given back empty while loopback brings more payload: each takes a free buffer out of the
 * pool, until none is left. A buffer that is missing then was leaked.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "device.h"
#include "net.h"

#define SPARES    320u
#define TX_SLOTS  64u
#define HELD      256u /* at once */
#define HOLD_EACH 16u  /* packet of so many */
#define FDS       1024
#define BUFFERS   (DEVICE_MEMORY / 2048)

/* As PLACES has it, in the order of this machine. */
struct place {
	uint16_t peer_port, length;
	uint32_t offset; /* in the pool's memory */
};

static struct device device;
static uint16_t peer_ports[FDS];
static uint32_t spares[BUFFERS], spare_count;
static uint32_t held[HELD], holds;
static bool mine[BUFFERS]; /* held or spare */
static uint32_t mine_count;
static uint64_t echoed; /* bytes */

static void take_over(uint32_t index)
{
	CHECK(index >= 2 && index < BUFFERS && !mine[index]); /* lent once */
	mine[index] = true;
	mine_count++;
}

/* Keeps a slot's buffer; a spare goes back in its place. */
static uint32_t hold(uint32_t index)
{
	uint32_t *place = &held[holds % HELD], spare;

	if (holds++ >= HELD)
		spares[spare_count++] = *place;
	*place = index;
	CHECK(spare_count > 0);
	spare = spares[--spare_count];
	mine[spare] = false;
	mine_count--;
	take_over(index);
	return spare;
}

/* Waits for a TX slot. */
static struct netmap_slot *tx_slot(void)
{
	struct netmap_ring *ring = device_ring(&device, TX);
	struct pollfd room = { .fd = device.fd, .events = POLLOUT };

	while (ring->head == ring->tail)
		CHECK_EQUAL(poll(&room, 1, 10000), 1);
	return &ring->slot[ring->head];
}

/* Sends a slot's payload back in its buffer; which buffer the slot has instead. */
static uint32_t echo(const struct netmap_slot *slot)
{
	struct netmap_slot *tx = tx_slot();
	uint32_t index = tx->buf_idx;

	tx->buf_idx = slot->buf_idx;
	tx->len = slot->len;
	tx->ptr = slot->ptr;
	tx->flags = NS_BUF_CHANGED;
	ring_advance(device_ring(&device, TX));
	return index;
}

/* Says how many batches have come. */
static void tell_batches(uint64_t batches)
{
	static uint64_t told;

	for (; told < batches; told++)
		printf("{\"batch\": %llu}\n", (unsigned long long)told);
}

/* Returns how many slots so many bytes filled. */
static uint32_t receive(uint64_t wanted, uint64_t batch, FILE *places)
{
	uint64_t bytes = 0;
	uint32_t slots = 0;

	for (; bytes < wanted; tell_batches(bytes / batch)) {
		CHECK(device_wait(&device));
		for (; device.ring->head != device.ring->tail; ring_advance(device.ring)) {
			struct netmap_slot *slot = &device.ring->slot[device.ring->head];
			uint32_t length;
			char *payload = device_payload(&device, slot, &length);
			struct place place = {
				.peer_port = peer_ports[slot_fd(slot)],
				.length = (uint16_t)length,
				.offset = (uint32_t)(payload - device.memory),
			};

			CHECK(length > 0 && !mine[slot->buf_idx]);
			CHECK_EQUAL(fwrite(&place, sizeof(place), 1, places), 1);
			bytes += length;
			if (slots % HOLD_EACH == 0) {
				slot->buf_idx = hold(slot->buf_idx);
			} else {
				echoed += length;
				slot->buf_idx = echo(slot);
			}
			slots++;
		}
		CHECK_EQUAL(device_txsync(&device), 0);
	}
	CHECK_EQUAL(device_rxsync(&device), 0);
	CHECK_EQUAL(device.ring->head, device.ring->tail);
	return slots;
}

static void accept_all(int listener, int connections)
{
	struct sockaddr_in peer;
	socklen_t length = sizeof(peer);
	int fd;

	while (connections-- > 0) {
		fd = accept(listener, (struct sockaddr *)&peer, &length);
		CHECK(fd >= 0 && fd < FDS);
		peer_ports[fd] = ntohs(peer.sin_port);
		CHECK_EQUAL(device_register_socket(&device, fd), 0);
	}
}

/* Keeps whatever is in slots and gives them back empty; how many bytes were in them. */
static size_t keep_all(void)
{
	size_t bytes = 0;
	uint32_t length;

	for (; device.ring->head != device.ring->tail; ring_advance(device.ring)) {
		struct netmap_slot *slot = &device.ring->slot[device.ring->head];

		device_payload(&device, slot, &length);
		take_over(slot->buf_idx);
		slot->buf_idx = 0;
		bytes += length;
	}
	return bytes;
}

/* Until payload waits that no buffer is left for. */
static void drain(void)
{
	struct pair pair = net_pair();
	size_t sent = 0, received = 0, now;

	CHECK_EQUAL(device_register_socket(&device, pair.here), 0);
	do {
		if (send(pair.there, "x", 1, MSG_DONTWAIT) == 1)
			sent++;
		device_rxsync(&device); /* EINVAL for each empty slot */
		now = keep_all();
		received += now;
	} while (now != 0 || sent == received);
	CHECK(sent > received);
}

int main(int argc, char **argv)
{
	struct port_spec spec = { EXTMEM(DEVDAX), .kernel_rings = true, .slots = 256,
				    .extra = SPARES };
	uint32_t index, slots;
	uint64_t bytes;
	FILE *places;
	int listener;

	CHECK_EQUAL(argc, 7);
	setvbuf(stdout, NULL, _IONBF, 0);
	places = fopen(argv[6], "w");
	CHECK(places);
	device = device_open();
	device_prepare_register(&device, &spec)->
		body.reg.nr_tx_slots = TX_SLOTS;
	CHECK_EQUAL(device_send(&device), 0);
	device_map(&device);
	CHECK_EQUAL(device.request.body.reg.nr_extra_bufs, SPARES);
	while ((index = device_extra(&device)) != 0) {
		take_over(index);
		spares[spare_count++] = index;
	}
	CHECK_EQUAL(device_attach(&device, "pst:eth0"), 0);
	listener = net_listen((uint16_t)atoi(argv[1]));
	printf("{\"listening\": true}\n");
	accept_all(listener, atoi(argv[2]));
	printf("{\"ready\": true}\n");
	bytes = strtoull(argv[4], NULL, 0);
	slots = receive(bytes * strtoull(argv[3], NULL, 0), bytes * strtoull(argv[5], NULL, 0),
			places);
	CHECK_EQUAL(fclose(places), 0);
	printf("{\"echoed\": %llu}\n", (unsigned long long)echoed);
	CHECK_EQUAL(getchar(), '\n');
	CHECK_EQUAL(device_txsync(&device), 0);
	CHECK_EQUAL(device_detach(&device, "pst:eth0"), 0);
	CHECK_EQUAL(mine_count, SPARES);
	drain();
	/* Everything was sent: each TX slot has a buffer. */
	mine_count += device_ring(&device, 0)->num_slots;
	printf("{\"received\": %u, \"leaked\": %u}\n", slots, BUFFERS - 2 - mine_count);
	return 0;
}
