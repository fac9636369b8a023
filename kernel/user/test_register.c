/* SPDX-License-Identifier: BSD-2-Clause */
/* test_register.c -- REGISTER of pst ports: what is granted, and every refusal */
#include "check.h"
#include "client.h"

#define MIB 1048576u

static struct client client;

static int open_with(struct port_spec spec)
{
	fake_reset();
	return client_open(&client, &spec);
}

/* A default request, to be spoilt by the test. */
static struct request *prepare(struct port_spec spec)
{
	fake_reset();
	memset(&client, 0, sizeof(client));
	if (spec.extmem)
		client.memory = fake_user((size_t)spec.extmem);
	client_prepare_register(&client, &spec);
	return client.request;
}

static int send_mode(uint32_t mode, uint64_t flags)
{
	struct request *request = prepare((struct port_spec){ .slots = 16 });

	request->body.reg.nr_mode = mode;
	request->body.reg.nr_flags = flags;
	return client_send(&client);
}

static int send_name(const char *name)
{
	return open_with((struct port_spec){ .name = name, .slots = 16 });
}

static void defaults(void)
{
	const struct nmreq_register *reg;

	CHECK_EQUAL(open_with((struct port_spec){ .extra = 100 }), 0);
	reg = &client.request->body.reg;
	CHECK_EQUAL(reg->nr_rx_slots, 1024);
	CHECK_EQUAL(reg->nr_tx_slots, 1024);
	CHECK(reg->nr_rx_rings == 1 && reg->nr_tx_rings == 1);
	CHECK(reg->nr_host_rx_rings == 0 && reg->nr_host_tx_rings == 0);
	CHECK(reg->nr_mem_id > 1);
	CHECK_EQUAL(reg->nr_memsize, client.desc.port->layout.memsize);
	CHECK_EQUAL(reg->nr_extra_bufs, 100);
	CHECK_EQUAL(client_extra_count(&client), 100);
	CHECK_EQUAL(client.nifp->ni_rx_rings, 1);
	CHECK_EQUAL(client.nifp->ni_tx_rings, 1);
	CHECK_EQUAL(client.nifp->ni_version, NETMAP_API);
	CHECK(strcmp(client.nifp->ni_name, "pst:0") == 0);
	CHECK_EQUAL(client.ring->offset_mask, PST_OFFSET_MASK);
	client_finish(&client);
}

static void slots_are_bounded(void)
{
	CHECK_EQUAL(open_with((struct port_spec){ .slots = 1 }), 0);
	CHECK_EQUAL(client.request->body.reg.nr_rx_slots, 4);
	client_finish(&client);
	CHECK_EQUAL(open_with((struct port_spec){ .slots = 0xffffffff }), 0);
	CHECK_EQUAL(client.request->body.reg.nr_rx_slots, 16384);
	CHECK_EQUAL(client.request->body.reg.nr_tx_slots, 16384);
	client_finish(&client);
	fake_reset();
	memset(&client, 0, sizeof(client));
	client_prepare_register(&client, &(struct port_spec){ .slots = 100 });
	client.request->body.reg.nr_tx_slots = 0;
	CHECK_EQUAL(client_send(&client), 0);
	CHECK_EQUAL(client.request->body.reg.nr_tx_slots, 100);
	client_finish(&client);
}

/* No more extra buffers than there are; the answer says how many. */
static void extra_is_granted(void)
{
	CHECK_EQUAL(open_with((struct port_spec){ .extmem = MIB, .slots = 16,
						    .extra = 0xffffffff }), 0);
	CHECK_EQUAL(client.request->body.reg.nr_extra_bufs,
		    client.desc.port->layout.buf_total - 2 - 32);
	CHECK_EQUAL(client_extra_count(&client), client.request->body.reg.nr_extra_bufs);
	client_finish(&client);
	CHECK_EQUAL(open_with((struct port_spec){ .extra = 0xffffffff }), ENOMEM);
	client_finish(&client);
}

static void modes_and_flags(void)
{
	uint32_t mode;

	for (mode = 0; mode <= NR_REG_ONE_SW + 1; mode++) {
		if (mode == NR_REG_ALL_NIC || mode == NR_REG_NIC_SW)
			CHECK_EQUAL(send_mode(mode, 0), 0);
		else if (mode == NR_REG_DEFAULT || mode > NR_REG_ONE_SW)
			CHECK_EQUAL(send_mode(mode, 0), EINVAL);
		else
			CHECK_EQUAL(send_mode(mode, 0), EOPNOTSUPP);
		client_close(&client);
	}
	CHECK_EQUAL(send_mode(NR_REG_ALL_NIC, NR_EXCLUSIVE | NR_RX_RINGS_ONLY |
			      NR_DO_RX_POLL | NR_NO_TX_POLL | NR_ACCEPT_VNET_HDR), 0);
	client_finish(&client);
	CHECK_EQUAL(send_mode(NR_REG_ALL_NIC, NR_MONITOR_TX), EOPNOTSUPP);
	CHECK_EQUAL(send_mode(NR_REG_ALL_NIC, NR_MONITOR_RX), EOPNOTSUPP);
	CHECK_EQUAL(send_mode(NR_REG_ALL_NIC, NR_ZCOPY_MON), EOPNOTSUPP);
	CHECK_EQUAL(send_mode(NR_REG_ALL_NIC, NR_TX_RINGS_ONLY), EOPNOTSUPP);
	CHECK_EQUAL(send_mode(NR_REG_ALL_NIC, 1ull << 40), EINVAL);
	CHECK_EQUAL(send_mode(NR_REG_ALL_NIC, PASTE_NR_EVENTS), 0);
	client_finish(&client);
	CHECK_EQUAL(open_with((struct port_spec){ .name = "eth0", .flags = PASTE_NR_EVENTS }),
		    EINVAL);
	client_finish(&client);
}

static void foreign_mem_id(void)
{
	prepare((struct port_spec){ .slots = 16 })->body.reg.nr_mem_id = 7;
	CHECK_EQUAL(client_send(&client), EOPNOTSUPP);
	client_finish(&client);
}

static void names(void)
{
	static const char *const good[] = { "pst:0", "pst0:0", "psta:eth0", "pst::" };
	static const char *const other[] = { "pst:", "vale0:1", "eth0{1", "eth0}1", "xpst:0" };
	static const char *const no_nic[] = { "pst", "pst0", "null", "eth7", "netmap:eth7" };
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		CHECK_EQUAL(send_name(good[i]), 0);
		client_close(&client);
	}
	for (i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		CHECK_EQUAL(send_name(other[i]), EOPNOTSUPP);
	for (i = 0; i < sizeof(no_nic) / sizeof(no_nic[0]); i++)
		CHECK_EQUAL(send_name(no_nic[i]), ENXIO);
	CHECK_EQUAL(send_name(""), EINVAL);
	CHECK_EQUAL(send_name("netmap:"), EOPNOTSUPP);
	client_finish(&client);
}

static void busy(void)
{
	struct port_spec spec = { .slots = 16 };
	struct client second;

	CHECK_EQUAL(open_with(spec), 0);
	CHECK_EQUAL(client_reopen(&client, &spec), EBUSY);
	CHECK_EQUAL(client_open(&second, &spec), EBUSY);
	spec.name = "pst:1";
	CHECK_EQUAL(client_open(&second, &spec), 0);
	CHECK(second.request->body.reg.nr_mem_id != client.request->body.reg.nr_mem_id);
	client_close(&second);
	client_close(&client);
	spec.name = NULL;
	CHECK_EQUAL(client_reopen(&client, &spec), 0);
	client_finish(&client);
}

static void no_leftovers_of_names(void)
{
	struct request *request = prepare((struct port_spec){ .slots = 16 });

	/* Bytes behind the end of the name do not count, an unterminated name is cut. */
	memcpy(request->header.nr_name + 6, "rubbish", 8);
	CHECK_EQUAL(client_send(&client), 0);
	CHECK(strcmp(client.desc.port->name, "pst:0") == 0 && !client.desc.port->name[7]);
	client_finish(&client);
	request = prepare((struct port_spec){ .slots = 16 });
	memset(request->header.nr_name + 5, 'x', NETMAP_REQ_IFNAMSIZ - 5);
	CHECK_EQUAL(client_send(&client), 0);
	CHECK_EQUAL(strlen(client.desc.port->name), NETMAP_REQ_IFNAMSIZ - 1);
	client_finish(&client);
}

static int send_offsets(uint64_t max, uint64_t initial, uint32_t bits, uint32_t align,
			uint64_t gap)
{
	struct request *request =
		prepare((struct port_spec){ .slots = 16, .max_offset = 1, .initial_offset = 1 });

	request->offsets.nro_max_offset = max;
	request->offsets.nro_initial_offset = initial;
	request->offsets.nro_offset_bits = bits;
	request->offsets.nro_tx_align = align;
	request->offsets.nro_min_gap = gap;
	return client_send(&client);
}

static void offsets(void)
{
	CHECK_EQUAL(send_offsets(255, 64, 8, 0, 0), 0);
	CHECK_EQUAL(client.desc.port->pool->frame_offset, 64);
	client_close(&client);
	CHECK_EQUAL(send_offsets(255, 255, 0, 0, 0), 0);
	client_close(&client);
	CHECK_EQUAL(send_offsets(256, 0, 8, 0, 0), EINVAL);
	CHECK_EQUAL(client.request->offsets.nro_opt.nro_status, EINVAL);
	CHECK_EQUAL(send_offsets(63, 64, 8, 0, 0), EINVAL);
	CHECK_EQUAL(send_offsets(63, 0, 7, 0, 0), EINVAL);
	CHECK_EQUAL(send_offsets(63, 0, 64, 0, 0), EINVAL);
	CHECK_EQUAL(send_offsets(63, 0, 8, 64, 0), EOPNOTSUPP);
	CHECK_EQUAL(send_offsets(63, 0, 8, 0, 64), EOPNOTSUPP);
	client_finish(&client);
}

int main(void)
{
	defaults();
	slots_are_bounded();
	extra_is_granted();
	modes_and_flags();
	foreign_mem_id();
	names();
	busy();
	no_leftovers_of_names();
	offsets();
	return 0;
}
