/* SPDX-License-Identifier: BSD-2-Clause */
/* test_transmit.c -- sending through slots: swap, keep, order, room, failures, hostile users */
#include "check.h"
#include "client.h"
#include "sender.h"

static struct client client;
static char stream[1 << 20];

static struct paste_pool *pool(void)
{
	return client.desc.port->pool;
}

static void expect_acked(uint32_t fd, const char *text)
{
	uint32_t length = fake_socket_acked(fd, stream, sizeof(stream));

	CHECK_EQUAL(length, strlen(text));
	CHECK(memcmp(stream, text, length) == 0);
}

/* The buffer goes with the payload and comes back with the ACK; the slot has another one. */
static void swap(void)
{
	uint32_t fd, index, free_before;
	unsigned int kicks;

	sender_open(&client, 0);
	fd = client_socket(&client);
	kicks = fake_kicks("eth0");
	free_before = paste_pool_count(pool(), PASTE_FREE);
	index = sender_put(&client, fd, "one", 0);
	sender_put(&client, fd, " two", 0);
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK_EQUAL(fake_kicks("eth0"), kicks + 1);
	CHECK(sender_all_sent(&client));
	CHECK(client.tx->slot[0].buf_idx != index && client.tx->slot[0].buf_idx >= 2);
	CHECK_EQUAL(client.tx->slot[0].flags, 0);
	CHECK_EQUAL(paste_pool_count(pool(), PASTE_NONE), 2);
	CHECK_EQUAL(paste_pool_count(pool(), PASTE_FREE), free_before - 2);
	/* The buffer on its way is nobody's to use. */
	client.tx->slot[client.tx->head].buf_idx = index;
	sender_put_as_is(&client, fd, 5, 0);
	CHECK_EQUAL(client_txsync(&client), EINVAL);
	expect_acked(fd, "one two");
	CHECK_EQUAL(paste_pool_count(pool(), PASTE_NONE), 0);
	client_finish(&client);
}

/* Stored data: sent as often as one likes, always the application's. */
static void keep(void)
{
	uint32_t fds[3], stored, i, app;
	char *data;

	sender_open(&client, 0);
	for (i = 0; i < 3; i++)
		fds[i] = client_socket(&client);
	stored = client_extra_take(&client);
	data = client_buffer(&client, stored);
	memcpy(data + FAKE_HEADERS, "stored", 6);
	app = paste_pool_count(pool(), PASTE_APP);
	for (i = 0; i < 6; i++) {
		client.tx->slot[client.tx->head].buf_idx = stored;
		sender_put_as_is(&client, fds[i % 3], 6, NS_PST_KEEP);
	}
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK(sender_all_sent(&client));
	for (i = 0; i < 6; i++)
		CHECK_EQUAL(client.tx->slot[i].buf_idx, stored);
	/* And the buffer of the kernel's own slot, which now is a kept one. */
	CHECK_EQUAL(paste_pool_count(pool(), PASTE_APP), app + 1);
	expect_acked(fds[0], "storedstored");
	/* Given back while the stack may send it again: free only after the last ACK. */
	CHECK(fake_receive("eth0", fds[0], "x", 1));
	CHECK_EQUAL(client_rxsync(&client), 0);
	client_slot(&client)->buf_idx = stored;
	ring_advance(client.ring);
	CHECK_EQUAL(client_rxsync(&client), 0);
	sender_fill_rx(&client, fds[0]);
	CHECK_EQUAL(pool()->buffers[stored].owner, PASTE_NONE);
	expect_acked(fds[1], "storedstored");
	CHECK_EQUAL(pool()->buffers[stored].owner, PASTE_NONE);
	expect_acked(fds[2], "storedstored");
	CHECK_EQUAL(pool()->buffers[stored].owner, PASTE_FREE);
	client_finish(&client);
}

/* What TCP does not take waits with its flow and goes on by itself. */
static void partial_sends(void)
{
	uint32_t fd, i;

	sender_open(&client, 0);
	fd = client_socket(&client);
	fake_socket_room(fd, 4);
	sender_put(&client, fd, "abcdef", 0);
	sender_put(&client, fd, "ghi", NS_BUF_CHANGED);
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK(sender_all_sent(&client));
	expect_acked(fd, "abcd");
	for (i = 0; i < 5; i++)
		fake_socket_room(fd, 1);
	expect_acked(fd, "efghi");
	CHECK_EQUAL(client.desc.port->transmit.entries_used, 0);
	client_finish(&client);
}

/* One that is full holds nobody else up, and its own slots stay in order. */
static void slow_connection(void)
{
	uint32_t slow, quick, i;
	char text[4];

	sender_open(&client, 0);
	slow = client_socket(&client);
	quick = client_socket(&client);
	fake_socket_room(slow, 0);
	client.desc.port->transmit.flow_limit = 4;
	for (i = 0; i < 7; i++) {
		snprintf(text, sizeof(text), "%u", i);
		sender_put(&client, slow, text, 0);
	}
	sender_put(&client, quick, "quick", 0);
	CHECK_EQUAL(client_txsync(&client), 0);
	expect_acked(quick, "quick");
	/* Four wait with the flow, three in their slots, and the ring's tail before them. */
	CHECK_EQUAL(client.tx->tail, 3);
	CHECK_EQUAL(client.desc.port->tx.hwcur, 4);
	client_check_conservation(&client);
	sender_put(&client, quick, "again", 0);
	CHECK_EQUAL(client_txsync(&client), 0);
	expect_acked(quick, "again");
	fake_socket_room(slow, 1);
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK_EQUAL(client.tx->tail, 4);
	fake_socket_room(slow, UINT32_MAX);
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK(sender_all_sent(&client));
	expect_acked(slow, "0123456");
	client_finish(&client);
}

/* A flood through a small hole arrives whole; the ring may be full meanwhile. */
static void flood(struct check_random *random)
{
	uint32_t fd, sent = 0, got = 0, length;
	char text[16];

	sender_open(&client, 0);
	fd = client_socket(&client);
	client.desc.port->transmit.flow_limit = 3;
	while (got < 200000) {
		while (client.tx->head != client.tx->tail && sent < 200000 / 8) {
			snprintf(text, sizeof(text), "%08x", sent++);
			sender_put(&client, fd, text, 0);
		}
		CHECK_EQUAL(client_txsync(&client), 0);
		fake_socket_room(fd, check_below(random, 100));
		length = fake_socket_acked(fd, stream + got, sizeof(stream) - got);
		got += length;
		client_check_conservation(&client);
	}
	for (sent = 0; sent < got / 8; sent++) {
		snprintf(text, sizeof(text), "%08x", sent);
		CHECK(memcmp(stream + 8 * sent, text, 8) == 0);
	}
	client_finish(&client);
}

/* The pool is empty: slots wait, what is kept passes. */
static void no_buffers(void)
{
	uint32_t fd, other, taken[4096], count = 0;

	sender_open(&client, 0);
	fd = client_socket(&client);
	other = client_socket(&client);
	while ((taken[count] = paste_pool_take(pool(), PASTE_QUEUED)) != 0)
		count++;
	sender_put(&client, fd, "waits", 0);
	sender_put(&client, other, "passes", NS_PST_KEEP);
	sender_put(&client, fd, "too", NS_PST_KEEP);
	CHECK_EQUAL(client_txsync(&client), 0);
	expect_acked(fd, "");
	expect_acked(other, "passes");
	while (count > 0)
		CHECK(paste_pool_release(pool(), taken[--count], PASTE_QUEUED));
	CHECK_EQUAL(client_txsync(&client), 0);
	expect_acked(fd, "waitstoo");
	CHECK(sender_all_sent(&client));
	client_finish(&client);
}

static void refused(uint16_t len, uint16_t flags, uint64_t ptr, uint32_t index)
{
	struct netmap_slot *slot = &client.tx->slot[client.tx->head];

	if (index != 1)
		slot->buf_idx = index;
	slot->len = len;
	slot->flags = flags;
	slot->ptr = ptr;
	ring_advance(client.tx);
	CHECK_EQUAL(client_txsync(&client), EINVAL);
	client_check_conservation(&client);
}

static void refused_slots(void)
{
	uint64_t fd, doff = 66ull << PST_DOFF_SHIFT;
	uint32_t i;

	sender_open(&client, PASTE_NR_EVENTS);
	fd = (uint64_t)client_socket(&client) << PST_FD_SHIFT;
	refused(66, 0, fd | doff, 1);
	refused(0, 0, fd | doff, 1);
	refused(2049, 0, fd | doff, 1);
	refused(2048, 0, fd | doff | 1, 1);
	refused(0xffff, 0, fd | doff | 0xff, 1);
	refused(70, NS_INDIRECT, fd | doff, 1);
	refused(70, NS_MOREFRAG, fd | doff, 1);
	refused(70, 0, fd | doff, 0);
	refused(70, NS_PST_KEEP, fd | doff, 0xffffffff);
	refused(70, 0, fd | doff, client.ring->slot[3].buf_idx);
	CHECK_EQUAL(fake_socket_in_flight((uint32_t)(fd >> PST_FD_SHIFT)), 0);
	CHECK(sender_all_sent(&client));
	for (i = 0; i < SENDER_SLOTS; i++)
		CHECK(client.tx->slot[i].buf_idx >= 2 || i == client.tx->tail);
	/* The longest that is sound. */
	client.tx->slot[client.tx->head].len = 2048;
	client.tx->slot[client.tx->head].ptr = fd | doff;
	client.tx->slot[client.tx->head].flags = 0;
	ring_advance(client.tx);
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK_EQUAL(fake_socket_in_flight((uint32_t)(fd >> PST_FD_SHIFT)), 2048 - 66);
	client.tx->head = SENDER_SLOTS;
	CHECK_EQUAL(client_txsync(&client), EINVAL);
	fake_socket_acked((uint32_t)(fd >> PST_FD_SHIFT), NULL, 0);
	client_finish(&client);
}

/* Closed with slots waiting, entries waiting, and data in flight. */
static void close_in_flight(void)
{
	uint32_t fd, i;

	sender_open(&client, 0);
	fd = client_socket(&client);
	client.desc.port->transmit.flow_limit = 4;
	fake_socket_room(fd, 5);
	for (i = 0; i < 10; i++)
		sender_put(&client, fd, "abc", i % 2 ? NS_PST_KEEP : 0);
	CHECK_EQUAL(client_txsync(&client), 0);
	client_check_conservation(&client);
	client_close(&client);
	fake_run_deferred();
	CHECK(fake_live() != 0); /* TCP may send it again */
	expect_acked(fd, "abcabcabcabcabc"); /* all that was accepted */
	fake_run_deferred();
	CHECK_EQUAL(fake_live(), 0);
}

/* What was accepted is TCP's when the socket is closed, however full that is. */
static void closed_while_full(void)
{
	uint32_t fd, other, i, length;

	sender_open(&client, PASTE_NR_EVENTS);
	fd = client_socket(&client);
	other = client_socket(&client);
	client.desc.port->transmit.flow_limit = 4;
	fake_socket_room(fd, 4);
	for (i = 0; i < 6; i++)
		sender_put(&client, fd, "abc", i % 2 ? NS_PST_KEEP : 0);
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK_EQUAL(fake_socket_in_flight(fd), 4);
	CHECK(!sender_all_sent(&client));
	length = fake_socket_last(fd, stream, sizeof(stream));
	CHECK_EQUAL(length, 15); /* four and, when the first of them was sent, a fifth */
	CHECK(memcmp(stream, "abcabcabcabcabc", 15) == 0);
	CHECK_EQUAL(client.desc.port->transmit.entries_used, 0);
	/* What was not accepted comes back, and is told. */
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK(sender_all_sent(&client));
	sender_put(&client, other, "next", 0);
	CHECK_EQUAL(client_txsync(&client), 0);
	expect_acked(other, "next");
	client_finish(&client);
}

int main(int argc, char **argv)
{
	struct check_random random = check_seed(argc, argv);

	swap();
	keep();
	partial_sends();
	slow_connection();
	flood(&random);
	no_buffers();
	refused_slots();
	close_in_flight();
	closed_while_full();
	return 0;
}
