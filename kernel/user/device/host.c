/* SPDX-License-Identifier: BSD-2-Clause */
/* host.c -- rows: host rings of a NIC's port, and what the stack sees of it */
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frames.h"
#include "net.h"
#include "rows.h"

static struct device device;

static void open_nic(uint32_t mode)
{
	device_bind(&device, (struct port_spec){ .name = "eth0", .mode = mode });
}

static struct netmap_ring *ring(int number)
{
	return device_ring(&device, number);
}

/* Swaps received buffers into TX slots as far as there is room. */
static void forward(int from, int to)
{
	struct netmap_ring *rx = ring(from), *tx = ring(to);

	while (rx->head != rx->tail && tx->head != tx->tail) {
		struct netmap_slot *in = &rx->slot[rx->head], *out = &tx->slot[tx->head];
		uint32_t spare = out->buf_idx;

		out->buf_idx = in->buf_idx;
		out->len = in->len;
		in->buf_idx = spare;
		out->flags = in->flags = NS_BUF_CHANGED;
		ring_advance(rx);
		ring_advance(tx);
	}
}

/* A whole conversation with the host, through the stack. */
static void converse(void)
{
	static char bytes[10000];
	int fd = net_echo(), round;
	size_t got;

	for (round = 0; round < 20; round++) {
		net_send(fd, bytes, sizeof(bytes));
		for (got = 0; got < sizeof(bytes);)
			got += net_receive(fd, bytes, sizeof(bytes) - got);
	}
	close(fd);
}

/* The stack talks to the host through us alone. */
static void host_rings(void)
{
	pid_t child;
	int status;

	open_nic(NR_REG_NIC_SW);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		converse();
		exit(0);
	}
	while (waitpid(child, &status, WNOHANG) == 0) {
		struct pollfd poll_fd = { .fd = device.fd, .events = POLLIN };

		CHECK(poll(&poll_fd, 1, 100) >= 0);
		forward(RX, HOST_TX);
		forward(HOST_RX, TX);
		CHECK_EQUAL(device_txsync(&device), 0);
	}
	CHECK_EQUAL(status, 0);
}

/* Waits for frames; those of the NIC do not count. */
static void wait_past_nic(void)
{
	CHECK(device_wait(&device));
	ring(RX)->head = ring(RX)->cur = ring(RX)->tail;
}

static void host_receives(void)
{
	struct netmap_slot *slot;
	uint16_t port;
	int fd = net_bound(SOCK_DGRAM, &port);

	open_nic(NR_REG_NIC_SW);
	net_send_datagram(fd, "from the stack", 14);
	while (ring(HOST_RX)->head == ring(HOST_RX)->tail)
		wait_past_nic();
	slot = &ring(HOST_RX)->slot[0];
	CHECK(slot->len >= 42);
	CHECK_EQUAL(frames_of_slot(&device, HOST_RX, slot)[12], 8); /* ARP or IPv4 */
}

/* Whether the stack has said where the guest is; whatever else it says is passed over. */
static bool stack_answered(void)
{
	struct netmap_ring *rx = ring(HOST_RX);

	for (; rx->head != rx->tail; ring_advance(rx)) {
		struct netmap_slot *slot = &rx->slot[rx->head];
		char *frame = frames_of_slot(&device, HOST_RX, slot);

		if (slot->len >= 42 && frame[12] == 8 && frame[13] == 6 && frame[21] == 2 &&
		    memcmp(frame + 28, "\x0a\x4d\x00\x02", 4) == 0)
			return true;
	}
	return false;
}

/* The stack answers a question that nobody asked on the wire. */
static void host_sends(void)
{
	char *frame;

	open_nic(NR_REG_NIC_SW);
	frames_put_question(&device, HOST_TX);
	frame = frames_of_slot(&device, HOST_TX, &ring(HOST_TX)->slot[0]);
	frame[27] ^= 1; /* another machine ... */
	memcpy(frame + 28, "\x0a\x4d\x00\x03", 4);
	memcpy(frame + 38, "\x0a\x4d\x00\x02", 4); /* asks for the guest */
	memcpy(frame + 6, frame + 22, 6);
	CHECK_EQUAL(device_txsync(&device), 0);
	CHECK_EQUAL(ring(HOST_TX)->head, ring_next(ring(HOST_TX), ring(HOST_TX)->tail));
	while (!stack_answered())
		wait_past_nic();
}

/* Without host rings the stack is deaf and dumb; afterwards all is as it was. */
static void nic_given_back(void)
{
	uint16_t port;
	int fd = net_bound(SOCK_DGRAM, &port), i;

	open_nic(NR_REG_ALL_NIC);
	for (i = 0; i < 100; i++)
		net_send_datagram(fd, "nobody hears this", 17);
	device_close(&device);
	converse();
}

/* Closed with frames everywhere: to be sent, being sent, in slots, waiting. */
static void nic_close_in_flight(void)
{
	uint16_t port;
	int fd = net_bound(SOCK_DGRAM, &port), round, i;

	for (round = 0; round < 10; round++) {
		device_bind(&device, (struct port_spec){ .name = "eth0", EXTMEM(DEVDAX),
							   .mode = NR_REG_NIC_SW });
		for (i = 0; i < 20; i++) {
			frames_put_question(&device, TX);
			frames_put_question(&device, HOST_TX);
			net_send_datagram(fd, "datagram", 8);
		}
		CHECK_EQUAL(device_txsync(&device), 0);
		if (round % 2)
			CHECK_EQUAL(device_rxsync(&device), 0);
		frames_put_question(&device, TX);
		device_close(&device);
	}
	converse();
}

const struct row rows_host[] = {
	{ "host_rings", host_rings },
	{ "host_receives", host_receives },
	{ "host_sends", host_sends },
	{ "nic_given_back", nic_given_back },
	{ "nic_close_in_flight", nic_close_in_flight },
	{ 0 },
};
