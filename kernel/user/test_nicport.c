/* SPDX-License-Identifier: BSD-2-Clause */
/* test_nicport.c -- netmap's own ports: frames of a NIC and of the stack, both directions */
#include "check.h"
#include "client.h"

#define SLOTS CLIENT_NIC_SLOTS

static struct client client;

static struct netmap_ring *ring(uint32_t number)
{
	return ring_number(client.nifp, number);
}

static char *buffer(struct netmap_ring *r, const struct netmap_slot *slot)
{
	return (char *)r + r->buf_ofs + (size_t)slot->buf_idx * r->nr_buf_size +
	       (slot->ptr & r->offset_mask);
}

static uint32_t after(uint32_t i)
{
	return (i + 1) % SLOTS;
}

static void expect_frame(uint32_t i, const char *text)
{
	struct netmap_ring *r = ring(i);
	struct netmap_slot *slot = &r->slot[r->head];

	CHECK(r->head != r->tail);
	CHECK_EQUAL(slot->len, strlen(text));
	CHECK(memcmp(buffer(r, slot), text, slot->len) == 0);
	r->head = r->cur = after(r->head);
}

static bool put_frame(uint32_t i, const char *text)
{
	struct netmap_ring *r = ring(i);
	struct netmap_slot *slot = &r->slot[r->head];

	if (r->head == r->tail)
		return false;
	slot->len = (uint16_t)strlen(text);
	memcpy(buffer(r, slot), text, slot->len);
	r->head = r->cur = after(r->head);
	return true;
}

static void expect_sent(const char *text)
{
	uint16_t length;
	const char *frame = fake_sent("eth0", &length);

	CHECK(frame != NULL);
	CHECK_EQUAL(length, strlen(text));
	CHECK(memcmp(frame, text, length) == 0);
}

static void receive(void)
{
	uint32_t i;

	client_open_nic(&client, NR_REG_ALL_NIC, 100);
	CHECK(fake_receive("eth0", 0, "one", 3) && fake_receive("eth0", 0, "three", 5));
	CHECK_EQUAL(client_rxsync(&client), 0);
	CHECK(paste_port_readable(client.desc.port));
	CHECK_EQUAL(ring(RX)->slot[0].ptr, 100);
	expect_frame(RX, "one");
	expect_frame(RX, "three");
	/* Nobody reads: frames are dropped before the NIC runs dry. */
	for (i = 0; i < 10000; i++)
		fake_receive("eth0", 0, "flood", 5);
	CHECK_EQUAL(fake_nic_posted("eth0"), FAKE_POSTED);
	CHECK_EQUAL(client_rxsync(&client), 0);
	client_check_conservation(&client);
	for (i = 0; i < SLOTS - 1; i++)
		expect_frame(RX, "flood");
	CHECK_EQUAL(client_rxsync(&client), 0);
	client_finish(&client);
}

/* head == tail + 1 says that everything is sent, not earlier. */
static void send(void)
{
	struct netmap_ring *r;
	uint32_t i;

	client_open_nic(&client, NR_REG_ALL_NIC, 0);
	r = ring(TX);
	CHECK(paste_port_writable(client.desc.port));
	CHECK(put_frame(TX, "first") && put_frame(TX, "second"));
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK_EQUAL(r->tail, SLOTS - 1);
	expect_sent("first");
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK_EQUAL(r->tail, 0);
	expect_sent("second");
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK_EQUAL(r->head, after(r->tail));
	/* More than the NIC takes at once: the rest waits its turn. */
	for (i = 0; put_frame(TX, "many"); i++)
		;
	CHECK_EQUAL(i, SLOTS - 1);
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK(!paste_port_writable(client.desc.port));
	client_check_conservation(&client);
	while (i > 0) {
		expect_sent("many");
		CHECK_EQUAL(client_txsync(&client), 0);
		i--;
	}
	CHECK_EQUAL(r->head, after(r->tail));
	client_finish(&client);
}

static void bad_slot(uint32_t index, uint16_t length, uint16_t flags)
{
	struct netmap_ring *r = ring(TX);
	struct netmap_slot *slot = &r->slot[r->head];
	uint16_t sent;

	if (index != 1)
		slot->buf_idx = index;
	slot->len = length;
	slot->flags = flags;
	r->head = r->cur = after(r->head);
	CHECK_EQUAL(client_txsync(&client), EINVAL);
	CHECK(fake_sent("eth0", &sent) == NULL);
	client_check_conservation(&client);
}

/* A frame is sent from where the slot says, if that is inside the buffer. */
static void send_from_offset(void)
{
	struct netmap_ring *r;

	client_open_nic(&client, NR_REG_ALL_NIC, 100);
	r = ring(TX);
	r->slot[r->head].ptr = ~r->offset_mask | 200; /* other bits are the user's own */
	CHECK(put_frame(TX, "from 200"));
	CHECK_EQUAL(client_txsync(&client), 0);
	expect_sent("from 200");
	r->slot[r->head].ptr = 255;
	bad_slot(1, 1794, 0);
	client_finish(&client);
}

static void refused_slots(void)
{
	struct netmap_ring *r;
	uint32_t i;

	client_open_nic(&client, NR_REG_ALL_NIC, 0);
	r = ring(TX);
	bad_slot(1, 0, 0);
	bad_slot(1, 2049, 0);
	bad_slot(1, 60, NS_INDIRECT);
	bad_slot(1, 60, NS_MOREFRAG);
	bad_slot(0, 60, 0);
	bad_slot(0xffffffff, 60, 0);
	bad_slot(ring(RX)->slot[0].buf_idx, 60, 0);
	/* Every slot comes back, with a buffer. */
	CHECK_EQUAL(r->head, after(r->tail));
	for (i = 0; i < SLOTS; i++)
		CHECK(r->slot[i].buf_idx >= 2 || i == r->tail);
	/* Too long for the wire: dropped and counted, the slot is free. */
	r->slot[r->head].len = 1600;
	r->head = r->cur = after(r->head);
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK_EQUAL(client.desc.port->tx.dropped, 1);
	CHECK_EQUAL(r->head, after(r->tail));
	r->head = SLOTS;
	CHECK_EQUAL(client_txsync(&client), EINVAL);
	CHECK_EQUAL(r->head, after(r->tail));
	client_finish(&client);
}

static void host_rings(void)
{
	struct netmap_ring *host_tx;
	uint16_t length;
	const char *frame;

	client_open_nic(&client, NR_REG_NIC_SW, 0);
	CHECK(fake_stack_send("eth0", "from the stack", 14));
	CHECK_EQUAL(client_rxsync(&client), 0);
	expect_frame(HOST_RX, "from the stack");
	CHECK(put_frame(HOST_TX, "to the stack"));
	CHECK_EQUAL(client_txsync(&client), 0);
	frame = fake_injected("eth0", &length);
	CHECK(length == 12 && memcmp(frame, "to the stack", 12) == 0);
	host_tx = ring(HOST_TX);
	CHECK_EQUAL(host_tx->head, after(host_tx->tail));
	for (length = 0; fake_stack_send("eth0", "flood", 5); length++)
		;
	CHECK_EQUAL(length, SLOTS);
	CHECK_EQUAL(client_rxsync(&client), 0);
	client_finish(&client);
	client_open_nic(&client, NR_REG_ALL_NIC, 0);
	CHECK(!fake_stack_send("eth0", "nobody listens", 14));
	client_finish(&client);
}

/* Swap between rings is zero copy: a received buffer goes out, whole. */
static void forward_by_swap(void)
{
	struct netmap_ring *rx, *tx;
	uint32_t index, i;

	client_open_nic(&client, NR_REG_ALL_NIC, 0);
	rx = ring(RX);
	tx = ring(TX);
	for (i = 0; i < 1000; i++) {
		CHECK(fake_receive("eth0", 0, "forward", 7));
		CHECK_EQUAL(client_rxsync(&client), 0);
		index = tx->slot[tx->head].buf_idx;
		tx->slot[tx->head].buf_idx = rx->slot[rx->head].buf_idx;
		tx->slot[tx->head].len = rx->slot[rx->head].len;
		rx->slot[rx->head].buf_idx = index;
		rx->head = rx->cur = after(rx->head);
		tx->head = tx->cur = after(tx->head);
		CHECK_EQUAL(client_txsync(&client), 0);
		expect_sent("forward");
		CHECK_EQUAL(client_txsync(&client), 0);
	}
	CHECK_EQUAL(client_rxsync(&client), 0);
	CHECK_EQUAL(paste_pool_count(client.desc.port->pool, PASTE_APP), SLOTS - 1);
	client_finish(&client);
}

static void poll_as_netmap(void)
{
	unsigned int ready;

	client_open_nic(&client, NR_REG_ALL_NIC, 0);
	CHECK(fake_receive("eth0", 0, "frame", 5) && put_frame(TX, "frame"));
	/* Without wishes TX is pushed, RX is not touched. */
	CHECK_EQUAL(paste_desc_poll(&client.desc, 0, &ready), 0);
	CHECK(ready == 0 && ring(RX)->tail == 0);
	expect_sent("frame");
	CHECK_EQUAL(paste_desc_poll(&client.desc, PASTE_POLL_IN | PASTE_POLL_OUT, &ready), 0);
	CHECK_EQUAL(ready, PASTE_POLL_IN | PASTE_POLL_OUT);
	expect_frame(RX, "frame");
	client.desc.flags = NR_NO_TX_POLL | NR_DO_RX_POLL;
	CHECK(fake_receive("eth0", 0, "frame", 5) && put_frame(TX, "frame"));
	CHECK_EQUAL(paste_desc_poll(&client.desc, 0, &ready), 0);
	CHECK(ready == 0 && ring(RX)->tail == 2);
	CHECK_EQUAL(fake_nic_posted("eth0"), FAKE_POSTED);
	CHECK_EQUAL(paste_desc_poll(&client.desc, PASTE_POLL_OUT, &ready), 0);
	CHECK_EQUAL(ready, PASTE_POLL_OUT);
	expect_sent("frame");
	ring(RX)->head = SLOTS;
	CHECK_EQUAL(paste_desc_poll(&client.desc, PASTE_POLL_IN, &ready), EINVAL);
	client_finish(&client);
	CHECK_EQUAL(paste_desc_poll(&client.desc, PASTE_POLL_IN, &ready), ENXIO);
}

/* Closed with frames everywhere: waiting, in slots, being sent. */
static void close_in_flight(void)
{
	client_open_nic(&client, NR_REG_NIC_SW, 0);
	CHECK(put_frame(TX, "being sent") && put_frame(HOST_TX, "not yet"));
	CHECK(fake_stack_send("eth0", "waits", 5) && fake_receive("eth0", 0, "in a slot", 9));
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK_EQUAL(client_rxsync(&client), 0);
	CHECK(fake_receive("eth0", 0, "waits", 5) && fake_stack_send("eth0", "waits", 5));
	client_finish(&client);
}

static void random_user(struct check_random *random)
{
	struct netmap_ring *r;
	uint32_t i, which;
	uint16_t length;

	client_open_nic(&client, NR_REG_NIC_SW, 0);
	for (i = 0; i < 20000; i++) {
		which = check_below(random, 4);
		r = ring(which);
		r->slot[check_below(random, SLOTS)] = (struct netmap_slot){
			.buf_idx = check_below(random, 128),
			.len = (uint16_t)(check_below(random, 4) ? check_below(random, 1500) :
								   check_random(random)),
			.flags = (uint16_t)(check_below(random, 8) ? 0 : check_random(random)),
		};
		r->head = check_below(random, SLOTS);
		r->cur = check_below(random, 4) ? r->head : check_below(random, SLOTS);
		fake_receive("eth0", 0, "frame", 5);
		fake_stack_send("eth0", "frame", 5);
		client_rxsync(&client);
		client_txsync(&client);
		if (check_below(random, 2))
			fake_sent("eth0", &length);
		client_check_conservation(&client);
	}
	client_finish(&client);
}

int main(int argc, char **argv)
{
	struct check_random random = check_seed(argc, argv);

	receive();
	send();
	send_from_offset();
	refused_slots();
	host_rings();
	forward_by_swap();
	poll_as_netmap();
	close_in_flight();
	random_user(&random);
	return 0;
}
