/* SPDX-License-Identifier: BSD-2-Clause */
/* test_nicregister.c -- REGISTER of a NIC's own port, and questions about NICs */
#include "check.h"
#include "client.h"

#define SLOTS CLIENT_NIC_SLOTS

static struct client client;

static struct netmap_ring *ring(uint32_t number)
{
	return ring_number(client.nifp, number);
}

static void registers(void)
{
	const struct nmreq_register *reg;
	struct client second = { .request = NULL };

	client_open_nic(&client, NR_REG_NIC_SW, 0);
	reg = &client.request->body.reg;
	CHECK(reg->nr_tx_rings == 1 && reg->nr_rx_rings == 1);
	CHECK(reg->nr_host_tx_rings == 1 && reg->nr_host_rx_rings == 1);
	CHECK(reg->nr_tx_slots == SLOTS && reg->nr_rx_slots == SLOTS);
	CHECK(ring(TX)->dir == 0 && ring(HOST_TX)->dir == 0);
	CHECK(ring(RX)->dir == 1 && ring(HOST_RX)->dir == 1);
	CHECK_EQUAL(ring(TX)->tail, SLOTS - 1);
	CHECK_EQUAL(ring(RX)->tail, 0);
	CHECK(strcmp(client.nifp->ni_name, "eth0") == 0);
	/* The same NIC under either name. */
	client_prepare(&second, NETMAP_REQ_REGISTER, "eth0")->body.reg.nr_mode = NR_REG_ALL_NIC;
	CHECK_EQUAL(client_send(&second), EBUSY);
	client_finish(&client);
	client_open_nic(&client, NR_REG_ALL_NIC, 0);
	CHECK(client.nifp->ring_ofs[HOST_TX] == 0 && client.nifp->ring_ofs[HOST_RX] == 0);
	CHECK(client.nifp->ring_ofs[TX] != 0 && client.nifp->ring_ofs[RX] != 0);
	client_finish(&client);
}

/* A NIC has one user: a pst port, or a port of its own. */
static void one_user_per_nic(void)
{
	struct port_spec spec = { .slots = SLOTS };
	struct client pst;

	client_open_nic(&client, NR_REG_ALL_NIC, 0);
	CHECK_EQUAL(client_open(&pst, &spec), 0);
	CHECK_EQUAL(client_attach(&pst, "pst:eth0"), EBUSY);
	CHECK_EQUAL(client_attach(&pst, "pst:eth1"), 0);
	client_prepare(&client, NETMAP_REQ_PST_FD_REG, "eth0");
	CHECK_EQUAL(client_send(&client), EINVAL);
	client_close(&pst);
	client_finish(&client);
}

static void info(void)
{
	struct nmreq_port_info_get *got;

	client_open_nic(&client, NR_REG_ALL_NIC, 0);
	got = &client_prepare(&client, NETMAP_REQ_PORT_INFO_GET, "netmap:eth0")->body.port_info;
	CHECK_EQUAL(client_send(&client), 0);
	CHECK(got->nr_tx_slots == SLOTS && got->nr_tx_rings == 1 && got->nr_host_rx_rings == 1);
	got = &client_prepare(&client, NETMAP_REQ_PORT_INFO_GET, "eth1")->body.port_info;
	CHECK_EQUAL(client_send(&client), 0); /* nobody has registered it */
	CHECK(got->nr_tx_slots == 1024 && got->nr_rx_rings == 1 && got->nr_mem_id == 0);
	client_prepare(&client, NETMAP_REQ_PORT_INFO_GET, "eth7");
	CHECK_EQUAL(client_send(&client), ENXIO);
	client_finish(&client);
}

static int send_offsets(uint64_t max, uint64_t initial, uint32_t bits)
{
	struct port_spec spec = { .name = "eth0", .slots = SLOTS, .max_offset = 1 };

	fake_reset();
	memset(&client, 0, sizeof(client));
	client_prepare_register(&client, &spec);
	client.request->offsets.nro_max_offset = max;
	client.request->offsets.nro_initial_offset = initial;
	client.request->offsets.nro_offset_bits = bits;
	return client_send(&client);
}

static void offsets(void)
{
	CHECK_EQUAL(send_offsets(2048, 512, 0), 0);
	client_map(&client);
	CHECK_EQUAL(ring(RX)->offset_mask, ~0ull);
	client_finish(&client);
	CHECK_EQUAL(send_offsets(1023, 0, 10), 0);
	client_map(&client);
	CHECK_EQUAL(ring(TX)->offset_mask, 1023);
	client_finish(&client);
	CHECK_EQUAL(send_offsets(1024, 0, 10), EINVAL);
	CHECK_EQUAL(send_offsets(2049, 0, 0), EINVAL);
	CHECK_EQUAL(send_offsets(2048, 513, 0), EINVAL);
	CHECK_EQUAL(send_offsets(10, 11, 0), EINVAL);
	CHECK_EQUAL(send_offsets(10, 0, 65), EINVAL);
}

/* Rings of a NIC in the user's memory, or the kernel's. */
static void memory(void)
{
	struct port_spec spec = { .name = "eth0", .extmem = 4 << 20, .slots = 64, .extra = 10 };
	char *rx;

	fake_reset();
	CHECK_EQUAL(client_open(&client, &spec), 0);
	rx = (char *)ring(RX);
	CHECK(rx > client.memory && rx < client.memory + (4 << 20));
	CHECK_EQUAL(client_extra_count(&client), 10);
	client_finish(&client);
	spec.kernel_rings = true;
	fake_reset();
	CHECK_EQUAL(client_open(&client, &spec), 0);
	CHECK_EQUAL(ring(RX)->buf_ofs, 0);
	CHECK_EQUAL(client_extra_count(&client), 10);
	client_finish(&client);
}

int main(void)
{
	registers();
	one_user_per_nic();
	info();
	offsets();
	memory();
	return 0;
}
