/* SPDX-License-Identifier: BSD-2-Clause */
/* poll.c -- rows: poll */
#include "device.h"
#include "frames.h"
#include "net.h"
#include "rows.h"

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

	device_bind(&device, (struct device_spec){ 0 });
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
	device_bind(&device, (struct device_spec){ 0 });
	device.ring->head = 1000;
	CHECK_EQUAL(device_poll(&device, POLLIN), POLLERR);
	CHECK_EQUAL(device.ring->head, 0);
	CHECK_EQUAL(device_poll(&device, POLLIN), 0);
}

/* Sends what is in TX rings; writable until they are full. */
static void poll_out(void)
{
	struct netmap_ring *tx;

	device_bind(&device, (struct device_spec){ .name = "eth0" });
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

	device_bind(&device, (struct device_spec){ .name = "eth0", .flags = NR_NO_TX_POLL });
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

	device_bind(&device, (struct device_spec){ 0 });
	CHECK_EQUAL(device_register_socket(&device, pair.here), 0);
	net_send(pair.there, "payload", 7);
	CHECK_EQUAL(device_poll(&device, 0), 0);
	CHECK_EQUAL(device_poll(&device, POLLOUT), POLLOUT);
	CHECK_EQUAL(device.ring->tail, 0);
	device_close(&device);
	pair = net_pair();
	device_bind(&device, (struct device_spec){ .flags = NR_DO_RX_POLL });
	CHECK_EQUAL(device_register_socket(&device, pair.here), 0);
	net_send(pair.there, "payload", 7);
	CHECK_EQUAL(device_poll(&device, 0), 0);
	CHECK_EQUAL(device.ring->tail, 1);
}

const struct row rows_poll[] = {
	{ "poll_unbound", poll_unbound },
	{ "poll_in", poll_in },
	{ "poll_in_failed", poll_in_failed },
	{ "poll_out", poll_out },
	{ "poll_without_tx", poll_without_tx },
	{ "poll_without_in", poll_without_in },
	{ 0 },
};
