/* SPDX-License-Identifier: BSD-2-Clause */
/* test_events.c -- ends, resets, failed sends, unregistration; and users who do everything wrong */
#include "check.h"
#include "client.h"
#include "sender.h"

static struct client client;

static void expect_event(uint32_t fd, uint32_t code, uint32_t error)
{
	struct netmap_slot *slot = client_slot(&client);
	uint32_t length;

	CHECK(slot != NULL);
	client_payload(&client, slot, &length);
	CHECK_EQUAL(length, 0);
	CHECK_EQUAL(slot_fd(slot), fd);
	CHECK_EQUAL(slot->flags, code << PST_EVENT_SHIFT);
	CHECK_EQUAL(slot->ptr >> PST_ERRNO_SHIFT, error);
	ring_advance(client.ring);
}

static void expect_nothing(void)
{
	CHECK_EQUAL(client_rxsync(&client), 0);
	CHECK(client_slot(&client) == NULL);
}

static void end_and_reset(void)
{
	uint32_t fd, other;

	sender_open(&client, PASTE_NR_EVENTS);
	fd = client_socket(&client);
	other = client_socket(&client);
	CHECK(fake_receive("eth0", fd, "last", 4));
	fake_socket_peer_closed(fd);
	CHECK_EQUAL(client_rxsync(&client), 0);
	ring_advance(client.ring);
	expect_event(fd, PST_EVENT_END, 0);
	fake_socket_peer_reset(fd, EPIPE);
	fake_socket_peer_reset(other, ECONNRESET);
	CHECK_EQUAL(client_rxsync(&client), 0);
	expect_event(fd, PST_EVENT_RESET, EPIPE);
	expect_event(other, PST_EVENT_RESET, ECONNRESET);
	expect_nothing();
	client_finish(&client);
}

/* Who did not opt in sees one end per connection, without codes. */
static void without_events(void)
{
	uint32_t fd, other;

	sender_open(&client, 0);
	fd = client_socket(&client);
	other = client_socket(&client);
	fake_socket_peer_closed(fd);
	CHECK_EQUAL(client_rxsync(&client), 0);
	expect_event(fd, 0, 0);
	sender_put(&client, fd, "answer", 0);
	fake_socket_room(fd, 0);
	CHECK_EQUAL(client_txsync(&client), 0);
	fake_socket_peer_reset(fd, ECONNRESET);
	fake_socket_peer_reset(other, ECONNRESET);
	sender_put(&client, 200, "nobody", 0);
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK(sender_all_sent(&client));
	CHECK_EQUAL(client_rxsync(&client), 0);
	expect_event(other, 0, 0);
	expect_nothing();
	CHECK_EQUAL(client.desc.port->transmit.lost, 2);
	client_finish(&client);
}

static void send_failed(void)
{
	uint32_t fd, i;

	sender_open(&client, PASTE_NR_EVENTS);
	fd = client_socket(&client);
	fake_socket_room(fd, 3);
	for (i = 0; i < 5; i++)
		sender_put(&client, fd, "data", i == 2 ? NS_PST_KEEP : 0);
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK(sender_all_sent(&client));
	expect_nothing();
	CHECK(fake_receive("eth0", fd, "question", 8));
	fake_socket_peer_reset(fd, ECONNRESET);
	CHECK_EQUAL(client_rxsync(&client), 0);
	ring_advance(client.ring);
	expect_event(fd, PST_EVENT_SEND_FAILED, EPIPE);
	expect_event(fd, PST_EVENT_RESET, ECONNRESET);
	/* Whatever is sent to it now fails, too; the slot comes back. */
	sender_put(&client, fd, "more", 0);
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK(sender_all_sent(&client));
	CHECK_EQUAL(client_rxsync(&client), 0);
	expect_event(fd, PST_EVENT_SEND_FAILED, EPIPE);
	CHECK_EQUAL(fake_socket_acked(fd, NULL, 0), 3);
	CHECK_EQUAL(paste_pool_count(client.desc.port->pool, PASTE_NONE), 0);
	client_finish(&client);
}

/* Slots that name no registered socket come back as they are, and are told one by one. */
static void no_such_socket(void)
{
	uint32_t fd, index, i, told = 0;

	sender_open(&client, PASTE_NR_EVENTS);
	fd = client_socket(&client);
	fake_socket_close(fd);
	index = sender_put(&client, fd, "too late", 0);
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK_EQUAL(client.tx->slot[0].buf_idx, index);
	CHECK(sender_all_sent(&client));
	CHECK_EQUAL(client_rxsync(&client), 0);
	expect_event(fd, PST_EVENT_SEND_FAILED, ENOTCONN);
	/* Nobody reads events: slots wait, nothing is lost. */
	for (i = 0; i < 200; i++) {
		if (client.tx->head != client.tx->tail)
			sender_put(&client, 100, "x", 0);
		CHECK_EQUAL(client_txsync(&client), 0);
	}
	CHECK_EQUAL(client.desc.port->flows.lost_count, PASTE_LOST_MAX);
	CHECK(client.tx->head == client.tx->tail);
	while (!sender_all_sent(&client) || told < PASTE_LOST_MAX + SENDER_SLOTS - 1) {
		CHECK_EQUAL(client_rxsync(&client), 0);
		for (; client_slot(&client); told++)
			expect_event(100, PST_EVENT_SEND_FAILED, ENOTCONN);
		CHECK_EQUAL(client_txsync(&client), 0);
	}
	expect_nothing();
	client_finish(&client);
}

static void unregister(void)
{
	uint32_t fd, other;

	sender_open(&client, PASTE_NR_EVENTS);
	fd = client_socket(&client);
	other = fake_socket(FAKE_CONNECTED);
	CHECK_EQUAL(client_unregister_socket(&client, 200), EBADF);
	CHECK_EQUAL(client_unregister_socket(&client, fake_socket(FAKE_UDP)), EOPNOTSUPP);
	CHECK_EQUAL(client_unregister_socket(&client, other), EINVAL);
	fake_socket_room(fd, 2);
	sender_put(&client, fd, "rest", 0);
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK_EQUAL(client_unregister_socket(&client, fd), EBUSY);
	CHECK(fake_receive("eth0", fd, "still here", 10));
	fake_socket_room(fd, 2);
	CHECK_EQUAL(client_rxsync(&client), 0);
	CHECK(client_slot(&client) != NULL);
	ring_advance(client.ring);
	CHECK(fake_receive("eth0", fd, "not in a slot yet", 17));
	CHECK_EQUAL(client_unregister_socket(&client, fd), EBUSY);
	CHECK(fake_receive("eth0", fd, "stays in the socket", 19));
	CHECK_EQUAL(client_rxsync(&client), 0);
	CHECK_EQUAL(client_slot(&client)->len, FAKE_HEADERS + 17);
	ring_advance(client.ring);
	CHECK(client_slot(&client) == NULL);
	CHECK_EQUAL(client_unregister_socket(&client, fd), 0);
	CHECK_EQUAL(client_unregister_socket(&client, fd), EINVAL);
	CHECK_EQUAL(fake_socket_acked(fd, NULL, 0), 4);
	fake_socket_peer_closed(fd);
	expect_nothing();
	/* And back again. */
	CHECK_EQUAL(client_register_socket(&client, fd), 0);
	CHECK_EQUAL(client_rxsync(&client), 0);
	CHECK_EQUAL(client_slot(&client)->len, FAKE_HEADERS + 19);
	ring_advance(client.ring);
	expect_event(fd, PST_EVENT_END, 0);
	fake_socket_close(fd);
	client_finish(&client);
}

/* A descriptor number that means another socket by now. */
static void number_used_again(void)
{
	struct paste_flow lingers;
	uint32_t fd;

	sender_open(&client, PASTE_NR_EVENTS);
	fd = client_socket(&client);
	fake_socket_close(fd);
	/* Closed by the application, but TCP is not through with it. */
	paste_port_join(client.desc.port, &lingers, fd);
	CHECK_EQUAL(client_socket(&client), fd);
	sender_put(&client, fd, "to the new one", 0);
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK_EQUAL(fake_socket_acked(fd, NULL, 0), 14);
	paste_port_leave(client.desc.port, &lingers);
	sender_put(&client, fd, "still", 0);
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK_EQUAL(fake_socket_acked(fd, NULL, 0), 5);
	client_finish(&client);
}

static void scribble(struct check_random *random, struct netmap_ring *ring)
{
	struct netmap_slot *slot = &ring->slot[check_below(random, SENDER_SLOTS)];

	if (check_below(random, 3)) {
		slot->buf_idx = check_below(random, 128);
		slot->len = (uint16_t)(check_below(random, 4) ? check_below(random, 1500) :
								check_random(random));
		slot->ptr = check_below(random, 4) ?
			(uint64_t)(3 + check_below(random, 8)) << PST_FD_SHIFT :
			check_random(random);
		slot->flags = (uint16_t)(check_below(random, 2) ? NS_PST_KEEP :
								  check_random(random));
	}
	ring->head = check_below(random, 3) ? ring_next(ring, ring->head) % SENDER_SLOTS :
					      check_below(random, SENDER_SLOTS);
	ring->cur = check_below(random, 8) ? ring->head : check_below(random, SENDER_SLOTS);
}

/* Anything in the rings, sockets that come, go, stall and die: accounts stay right. */
static void random_user(struct check_random *random)
{
	uint32_t fds[8], i, which;

	sender_open(&client, PASTE_NR_EVENTS);
	client.desc.port->transmit.flow_limit = 5;
	for (i = 0; i < 8; i++)
		fds[i] = client_socket(&client);
	for (i = 0; i < 40000; i++) {
		which = check_below(random, 8);
		scribble(random, check_below(random, 2) ? client.tx : client.ring);
		if (check_below(random, 2))
			fake_receive("eth0", fds[which], "frame", 5);
		fake_socket_room(fds[which], check_below(random, 2000));
		client_rxsync(&client);
		client_txsync(&client);
		if (check_below(random, 2))
			fake_socket_acked(fds[which], NULL, 0);
		if (check_below(random, 50) == 0)
			fake_socket_peer_reset(fds[which], ECONNRESET);
		if (check_below(random, 50) == 0) {
			fake_socket_close(fds[which]);
			fds[which] = client_socket(&client);
		}
		client_check_conservation(&client);
	}
	client_close(&client);
	for (i = 0; i < 8; i++)
		fake_socket_acked(fds[i], NULL, 0);
	fake_reset();
}

int main(int argc, char **argv)
{
	struct check_random random = check_seed(argc, argv);

	end_and_reset();
	without_events();
	send_failed();
	no_such_socket();
	unregister();
	number_used_again();
	random_user(&random);
	return 0;
}
