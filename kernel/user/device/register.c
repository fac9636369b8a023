/* SPDX-License-Identifier: BSD-2-Clause */
/* register.c -- rows: REGISTER of pst ports without options */
#include "device.h"
#include "rows.h"

static struct device device;

static int registers(struct port_spec spec)
{
	return device_register(&device, &spec);
}

static int takes_name(const char *name)
{
	int error = registers((struct port_spec){ .name = name });

	device_close(&device);
	return error;
}

static int takes_mode(uint32_t mode, uint64_t flags)
{
	int error;

	device = device_open();
	device_prepare_register(&device, &(struct port_spec){ .flags = flags })->
		body.reg.nr_mode = mode;
	error = device_send(&device);
	device_close(&device);
	return error;
}

static void register_defaults(void)
{
	const struct nmreq_register *reg = &device.request.body.reg;

	device = device_open();
	device_prepare_register(&device, &(struct port_spec){ .extra = 100 })->
		body.reg.nr_rx_slots = 0;
	CHECK_EQUAL(device_send(&device), 0);
	device_map(&device);
	CHECK_EQUAL(reg->nr_rx_slots, 1024);
	CHECK(reg->nr_rx_rings == 1 && reg->nr_tx_rings == 1);
	CHECK(reg->nr_host_rx_rings == 0 && reg->nr_host_tx_rings == 0);
	CHECK(reg->nr_mem_id > 1);
	CHECK_EQUAL(reg->nr_extra_bufs, 100);
	CHECK_EQUAL(device.nifp->ni_rx_rings, 1);
	CHECK_EQUAL(device.nifp->ni_tx_rings, 1);
	CHECK_EQUAL(device.nifp->ni_version, NETMAP_API);
	CHECK(strcmp(device.nifp->ni_name, "pst:0") == 0);
	CHECK_EQUAL(device.ring->num_slots, 1024);
	CHECK_EQUAL(device.ring->offset_mask, PST_OFFSET_MASK);
}

static void register_busy(void)
{
	struct device second;

	device_bind(&device, (struct port_spec){ 0 });
	device_prepare_register(&device, &(struct port_spec){ .name = "pst:1" });
	CHECK_EQUAL(device_send(&device), EBUSY); /* bound */
	CHECK_EQUAL(device_register(&second, &(struct port_spec){ 0 }), EBUSY); /* taken */
	device_close(&second);
	device_bind(&second, (struct port_spec){ .name = "pst:1" });
	CHECK(second.request.body.reg.nr_mem_id != 0);
	device_close(&device);
	device_bind(&device, (struct port_spec){ 0 });
}

static void register_names(void)
{
	CHECK_EQUAL(takes_name("pst:0"), 0);
	CHECK_EQUAL(takes_name("psta:eth0"), 0);
	CHECK_EQUAL(takes_name(""), EINVAL);
	CHECK_EQUAL(takes_name("eth7"), ENXIO);
	CHECK_EQUAL(takes_name("netmap:eth7"), ENXIO);
	CHECK_EQUAL(takes_name("lo"), ENXIO); /* no NIC of ours */
	CHECK_EQUAL(takes_name("vale0:1"), EOPNOTSUPP);
	CHECK_EQUAL(takes_name("eth0{1"), EOPNOTSUPP);
	CHECK_EQUAL(takes_name("eth0}1"), EOPNOTSUPP);
}

static void modes(void)
{
	uint32_t mode;

	CHECK_EQUAL(takes_mode(NR_REG_ALL_NIC, 0), 0);
	CHECK_EQUAL(takes_mode(NR_REG_NIC_SW, 0), 0);
	CHECK_EQUAL(takes_mode(NR_REG_DEFAULT, 0), EINVAL);
	CHECK_EQUAL(takes_mode(NR_REG_ONE_SW + 1, 0), EINVAL);
	for (mode = NR_REG_SW; mode <= NR_REG_ONE_SW; mode++)
		if (mode != NR_REG_NIC_SW)
			CHECK_EQUAL(takes_mode(mode, 0), EOPNOTSUPP);
}

static void flags(void)
{
	CHECK_EQUAL(takes_mode(NR_REG_ALL_NIC, NR_EXCLUSIVE | NR_RX_RINGS_ONLY | NR_DO_RX_POLL |
			       NR_NO_TX_POLL | NR_ACCEPT_VNET_HDR), 0);
	CHECK_EQUAL(takes_mode(NR_REG_ALL_NIC, NR_MONITOR_TX), EOPNOTSUPP);
	CHECK_EQUAL(takes_mode(NR_REG_ALL_NIC, NR_MONITOR_RX), EOPNOTSUPP);
	CHECK_EQUAL(takes_mode(NR_REG_ALL_NIC, NR_ZCOPY_MON), EOPNOTSUPP);
	CHECK_EQUAL(takes_mode(NR_REG_ALL_NIC, NR_TX_RINGS_ONLY), EOPNOTSUPP);
	CHECK_EQUAL(takes_mode(NR_REG_ALL_NIC, 0x1000), EINVAL);
	CHECK_EQUAL(takes_mode(NR_REG_ALL_NIC, 1ull << 40), EINVAL);
	CHECK_EQUAL(takes_mode(NR_REG_ALL_NIC, PASTE_NR_EVENTS), 0);
}

static void foreign_mem_id(void)
{
	device = device_open();
	device_prepare_register(&device, &(struct port_spec){ 0 })->body.reg.nr_mem_id = 7;
	CHECK_EQUAL(device_send(&device), EOPNOTSUPP);
}

static void slots_are_bounded(void)
{
	CHECK_EQUAL(registers((struct port_spec){ .slots = 1 }), 0);
	CHECK_EQUAL(device.request.body.reg.nr_rx_slots, 4);
	CHECK_EQUAL(device.ring->num_slots, 4);
	device_close(&device);
	CHECK_EQUAL(registers((struct port_spec){ .slots = 0xffffffff }), 0);
	CHECK_EQUAL(device.request.body.reg.nr_rx_slots, 16384);
	CHECK_EQUAL(device.ring->num_slots, 16384);
}

static void rings_are_given(void)
{
	const struct nmreq_register *reg = &device.request.body.reg;
	struct request *request;

	device = device_open();
	request = device_prepare_register(&device, &(struct port_spec){ 0 });
	request->body.reg.nr_tx_slots = 77;
	request->body.reg.nr_tx_rings = request->body.reg.nr_rx_rings = 5;
	request->body.reg.nr_host_tx_rings = request->body.reg.nr_host_rx_rings = 5;
	CHECK_EQUAL(device_send(&device), 0);
	CHECK(reg->nr_tx_slots == 77 && reg->nr_tx_rings == 1 && reg->nr_rx_rings == 1);
	CHECK(reg->nr_host_tx_rings == 0 && reg->nr_host_rx_rings == 0);
}

/* As many as are free, each once; the list ends. */
static void extra_buffers(void)
{
	uint32_t index, count = 0, total;
	bool seen[2 * DEVICE_MEMORY / PAGE] = { false };

	CHECK_EQUAL(registers((struct port_spec){ EXTMEM(ANONYMOUS), .kernel_rings = true,
						    .extra = 0xffffffff }), 0);
	total = device.request.extmem.nro_info.nr_buf_pool_objtotal;
	CHECK_EQUAL(total, DEVICE_MEMORY / 2048);
	CHECK_EQUAL(device.request.body.reg.nr_extra_bufs, total - 2 - 2 * 64);
	while ((index = device_extra(&device)) != 0) {
		CHECK(index >= 2 && index < total && !seen[index]);
		seen[index] = true;
		count++;
	}
	CHECK_EQUAL(count, total - 2 - 2 * 64);
	for (index = 0; index < 64; index++)
		CHECK(!seen[device.ring->slot[index].buf_idx]);
	device_close(&device);
	CHECK_EQUAL(registers((struct port_spec){ .extra = 0xffffffff }), ENOMEM);
	device_close(&device);
	CHECK_EQUAL(registers((struct port_spec){ .extra = 1000000 }), ENOMEM);
}

const struct row rows_register[] = {
	{ "register_defaults", register_defaults },
	{ "register_busy", register_busy },
	{ "register_names", register_names },
	{ "modes", modes },
	{ "flags", flags },
	{ "foreign_mem_id", foreign_mem_id },
	{ "slots_are_bounded", slots_are_bounded },
	{ "rings_are_given", rings_are_given },
	{ "extra_buffers", extra_buffers },
	{ 0 },
};
