/* SPDX-License-Identifier: BSD-2-Clause */
/* poll.c -- rows: poll */
#include <fcntl.h>
#include <sys/socket.h>
#include <time.h>

#include "device.h"
#include "frames.h"
#include "net.h"
#include "rows.h"

#define SLEEP_MS 200

static struct device device;

static void poll_unbound(void)
{
	device = device_open();
	CHECK_EQUAL(device_poll(&device, POLLIN | POLLOUT), POLLERR);
	CHECK_EQUAL(device_poll(&device, 0), POLLERR);
}

/* Syncs, and says whether there is something at cur. */
static void poll_in(void)
{
	struct pair pair = net_pair();

	device_bind(&device, (struct port_spec){ 0 });
	CHECK_EQUAL(device_register_socket(&device, pair.here), 0);
	CHECK_EQUAL(device_poll(&device, POLLIN), 0);
	net_send(pair.there, "payload", 7);
	CHECK_EQUAL(device.ring->tail, 0);
	CHECK_EQUAL(device_poll(&device, POLLIN), POLLIN);
	CHECK_EQUAL(device.ring->tail, 1);
	CHECK_EQUAL(device_poll(&device, POLLIN | POLLRDNORM), POLLIN | POLLRDNORM);
	ring_advance(device.ring);
	CHECK_EQUAL(device_poll(&device, POLLIN), 0);
}

static void poll_in_failed(void)
{
	device_bind(&device, (struct port_spec){ 0 });
	device.ring->head = 1000;
	CHECK_EQUAL(device_poll(&device, POLLIN), POLLERR);
	CHECK_EQUAL(device.ring->head, 0);
	CHECK_EQUAL(device_poll(&device, POLLIN), 0);
}

/* Sends what is in TX rings; writable until they are full. */
static void poll_out(void)
{
	struct netmap_ring *tx;

	device_bind(&device, (struct port_spec){ .name = "eth0" });
	tx = device_ring(&device, TX);
	CHECK_EQUAL(device_poll(&device, POLLOUT), POLLOUT);
	frames_put_question(&device, TX);
	CHECK_EQUAL(device_poll(&device, POLLIN) & POLLOUT, 0); /* sent all the same */
	frames_expect_answer(&device);
	CHECK_EQUAL(device_poll(&device, POLLOUT), POLLOUT);
	CHECK_EQUAL(tx->head, ring_next(tx, tx->tail));
	tx->cur = tx->tail;
	CHECK_EQUAL(device_poll(&device, POLLOUT), 0);
	tx->head = 1000;
	CHECK_EQUAL(device_poll(&device, POLLOUT) & POLLERR, POLLERR);
}

static void poll_without_tx(void)
{
	struct netmap_ring *tx;

	device_bind(&device, (struct port_spec){ .name = "eth0", .flags = NR_NO_TX_POLL });
	tx = device_ring(&device, TX);
	frames_put_question(&device, TX);
	CHECK_EQUAL(device_poll(&device, POLLIN) & POLLOUT, 0);
	CHECK_EQUAL(device_poll(&device, 0), 0);
	CHECK(tx->head != ring_next(tx, tx->tail));
	CHECK_EQUAL(device_poll(&device, POLLOUT), POLLOUT);
	frames_expect_answer(&device);
}

/* RX rings are left alone, unless the descriptor was registered for it. */
static void poll_without_in(void)
{
	struct pair pair = net_pair();

	device_bind(&device, (struct port_spec){ 0 });
	CHECK_EQUAL(device_register_socket(&device, pair.here), 0);
	net_send(pair.there, "payload", 7);
	CHECK_EQUAL(device_poll(&device, 0), 0);
	CHECK_EQUAL(device_poll(&device, POLLOUT), POLLOUT);
	CHECK_EQUAL(device.ring->tail, 0);
	device_close(&device);
	pair = net_pair();
	device_bind(&device, (struct port_spec){ .flags = NR_DO_RX_POLL });
	CHECK_EQUAL(device_register_socket(&device, pair.here), 0);
	net_send(pair.there, "payload", 7);
	CHECK_EQUAL(device_poll(&device, 0), 0);
	CHECK_EQUAL(device.ring->tail, 1);
}

/* Milliseconds of processor time that this thread has had. */
static long used_ms(void)
{
	struct timespec used;

	CHECK_EQUAL(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used), 0);
	return used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

/* A sender has filled the pool: there is something to sync, and no room for it. */
static void fill_pool(void)
{
	static const char bytes[65536];
	struct pair pair = net_pair();

	device_bind(&device, (struct port_spec){ EXTMEM(ANONYMOUS), .kernel_rings = true });
	CHECK_EQUAL(device_register_socket(&device, pair.here), 0);
	CHECK_EQUAL(fcntl(pair.there, F_SETFL, O_NONBLOCK), 0);
	while (send(pair.there, bytes, sizeof(bytes), 0) > 0)
		;
	CHECK(errno == EAGAIN);
	CHECK_EQUAL(device_rxsync(&device), 0);
}

/*
 * Its own sync must not wake it. Whoever takes the processor away meanwhile seems to use it here,
 * so one attempt of a few says enough.
 */
static void poll_without_room(void)
{
	struct pollfd poll_fd = { .events = POLLIN };
	long before, used = SLEEP_MS;
	int attempt;

	fill_pool();
	poll_fd.fd = device.fd;
	device.ring->cur = device.ring->tail;
	for (attempt = 0; attempt < 5 && used >= SLEEP_MS / 2; attempt++) {
		before = used_ms();
		CHECK_EQUAL(poll(&poll_fd, 1, SLEEP_MS), 0);
		used = used_ms() - before;
	}
	CHECK(used < SLEEP_MS / 2);
	device.ring->head = ring_next(device.ring, device.ring->head);
	CHECK(device_wait(&device));
}

const struct row rows_poll[] = {
	{ "poll_unbound", poll_unbound },
	{ "poll_in", poll_in },
	{ "poll_in_failed", poll_in_failed },
	{ "poll_out", poll_out },
	{ "poll_without_tx", poll_without_tx },
	{ "poll_without_in", poll_without_in },
	{ "poll_without_room", poll_without_room },
	{ 0 },
};
