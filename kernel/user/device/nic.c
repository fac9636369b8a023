/* SPDX-License-Identifier: BSD-2-Clause */
/* nic.c -- rows: ports of NICs and their frames */
#include "frames.h"
#include "net.h"
#include "rows.h"

#define SLOTS 64u

static struct device device;

static void open_nic(struct port_spec spec)
{
	spec.name = "netmap:eth0";
	device_bind(&device, spec);
}

static struct netmap_ring *ring(int number)
{
	return device_ring(&device, number);
}

static void nic_registers(void)
{
	const struct nmreq_register *reg = &device.request.body.reg;

	open_nic((struct port_spec){ .mode = NR_REG_NIC_SW });
	CHECK(reg->nr_tx_rings == 1 && reg->nr_rx_rings == 1);
	CHECK(reg->nr_host_tx_rings == 1 && reg->nr_host_rx_rings == 1);
	CHECK(reg->nr_tx_slots == SLOTS && reg->nr_rx_slots == SLOTS);
	CHECK(ring(TX)->dir == 0 && ring(HOST_TX)->dir == 0);
	CHECK(ring(RX)->dir == 1 && ring(HOST_RX)->dir == 1);
	CHECK_EQUAL(ring(TX)->tail, SLOTS - 1);
	CHECK(strcmp(device.nifp->ni_name, "eth0") == 0);
	device_close(&device);
	open_nic((struct port_spec){ 0 });
	CHECK(device.nifp->ring_ofs[HOST_TX] == 0 && device.nifp->ring_ofs[HOST_RX] == 0);
	CHECK(device.nifp->ring_ofs[TX] != 0 && device.nifp->ring_ofs[RX] != 0);
}

static void nic_busy(void)
{
	struct device second;

	open_nic((struct port_spec){ 0 });
	CHECK_EQUAL(device_register(&second, &(struct port_spec){ .name = "eth0" }), EBUSY);
	device_close(&device);
	device_close(&second);
	device_bind(&second, (struct port_spec){ 0 });
	CHECK_EQUAL(device_attach(&second, "pst:eth0"), 0);
	CHECK_EQUAL(device_register(&device, &(struct port_spec){ .name = "eth0" }), EBUSY);
}

static void nic_info(void)
{
	const struct nmreq_port_info_get *info = &device.request.body.port_info;

	open_nic((struct port_spec){ .slots = 16 });
	device_prepare(&device, NETMAP_REQ_PORT_INFO_GET, "eth0");
	CHECK_EQUAL(device_send(&device), 0);
	CHECK(info->nr_tx_slots == 16 && info->nr_tx_rings == 1 && info->nr_host_rx_rings == 1);
}

/* Asks through a port in this memory; the answer lies where it says. */
static void asks(struct port_spec spec)
{
	uint32_t i;

	open_nic(spec);
	for (i = 0; i < 3 * SLOTS; i++) {
		frames_put_question(&device, TX);
		CHECK_EQUAL(device_txsync(&device), 0);
		frames_expect_answer(&device);
		CHECK_EQUAL(device_rxsync(&device), 0);
	}
	device_close(&device);
}

static void nic_memory(void)
{
	asks((struct port_spec){ 0 });
	asks((struct port_spec){ EXTMEM(MEMFD) });
	asks((struct port_spec){ EXTMEM(DEVDAX), .kernel_rings = true, .buf_size = 4096 });
	asks((struct port_spec){ EXTMEM(ANONYMOUS), .kernel_rings = true, .extra = 10 });
}

/* An answer may be here before the device has said that it took the question. */
static void settle_tx(void)
{
	while (ring(TX)->head != ring_next(ring(TX), ring(TX)->tail))
		CHECK_EQUAL(device_txsync(&device), 0);
}

/* As many as there are slots go at once; sent is what lies behind the tail. */
static void nic_sends(void)
{
	uint32_t i;

	open_nic((struct port_spec){ 0 });
	for (i = 0; i < SLOTS - 1; i++)
		frames_put_question(&device, TX);
	CHECK_EQUAL(ring(TX)->head, ring(TX)->tail);
	CHECK_EQUAL(device_txsync(&device), 0);
	for (i = 0; i < SLOTS - 1; i++)
		frames_expect_answer(&device);
	settle_tx();
}

static void nic_offsets(void)
{
	open_nic((struct port_spec){ .max_offset = 255, .initial_offset = 100 });
	ring(TX)->slot[0].ptr = 200;
	frames_put_question(&device, TX);
	CHECK_EQUAL(device_txsync(&device), 0);
	frames_expect_answer(&device);
	CHECK_EQUAL(device.ring->slot[0].ptr, 100);
	ring(TX)->slot[1].ptr = 2000; /* the frame would end behind the buffer */
	ring(TX)->slot[1].len = 60;
	ring_advance(ring(TX));
	CHECK_EQUAL(device_txsync(&device), EINVAL);
}

static void refused(uint32_t index, uint16_t length, uint16_t flags)
{
	struct netmap_ring *tx = ring(TX);
	struct netmap_slot *slot = &tx->slot[tx->head];

	if (index != 1)
		slot->buf_idx = index;
	else
		frames_question(frames_of_slot(&device, TX, slot));
	slot->len = length;
	slot->flags = flags;
	ring_advance(tx);
	CHECK_EQUAL(device_txsync(&device), EINVAL);
	CHECK_EQUAL(tx->head, ring_next(tx, tx->tail));
}

/* No answer to any of them comes, only the last one's. */
static void nic_refused_slots(void)
{
	uint32_t i;

	open_nic((struct port_spec){ .slots = 16 });
	refused(1, 0, 0);
	refused(1, 2049, 0);
	refused(1, 60, NS_INDIRECT);
	refused(1, 60, NS_MOREFRAG);
	refused(0, 60, 0);
	refused(0xffffffff, 60, 0);
	refused(ring(RX)->slot[0].buf_idx, 60, 0);
	for (i = 0; i < 16; i++)
		CHECK(ring(TX)->slot[i].buf_idx >= 2 || i == ring(TX)->tail);
	frames_put_question(&device, TX);
	CHECK_EQUAL(device_txsync(&device), 0);
	frames_expect_answer(&device);
	CHECK_EQUAL(frames_answers(&device), 0);
}

static void nic_wrong_lengths(void)
{
	static const uint16_t lengths[] = { 1, 13, 1600, 2048 };
	size_t i;

	open_nic((struct port_spec){ 0 });
	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		frames_put_question(&device, TX);
		ring(TX)->slot[i].len = lengths[i];
		CHECK_EQUAL(device_txsync(&device), 0);
	}
	frames_put_question(&device, TX);
	CHECK_EQUAL(device_txsync(&device), 0);
	frames_expect_answer(&device);
	CHECK_EQUAL(frames_answers(&device), 0);
	settle_tx();
}

/* Nobody reads: frames wait, then are dropped; the NIC goes on. */
static void nic_flooded(void)
{
	uint32_t round, i, got = 0, more;

	open_nic((struct port_spec){ .flags = NR_NO_TX_POLL });
	for (round = 0; round < 80; round++) {
		for (i = 0; i < 50; i++)
			frames_put_question(&device, TX);
		while (ring(TX)->head != ring_next(ring(TX), ring(TX)->tail))
			CHECK_EQUAL(device_txsync(&device), 0);
	}
	do {
		more = frames_answers(&device);
		got += more;
	} while (more > 0);
	CHECK(got >= SLOTS && got < 80 * 50);
	frames_put_question(&device, TX);
	CHECK_EQUAL(device_txsync(&device), 0);
	frames_expect_answer(&device);
}

const struct row rows_nic[] = {
	{ "nic_registers", nic_registers },
	{ "nic_busy", nic_busy },
	{ "nic_info", nic_info },
	{ "nic_memory", nic_memory },
	{ "nic_sends", nic_sends },
	{ "nic_offsets", nic_offsets },
	{ "nic_refused_slots", nic_refused_slots },
	{ "nic_wrong_lengths", nic_wrong_lengths },
	{ "nic_flooded", nic_flooded },
	{ 0 },
};
