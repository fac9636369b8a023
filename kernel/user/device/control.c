/* SPDX-License-Identifier: BSD-2-Clause */
/* control.c -- rows: questions about ports, NICs of pst ports, refused requests */
#include "device.h"
#include "rows.h"

static struct device device, second;

static int sends(uint16_t type, const char *name)
{
	device_prepare(&device, type, name);
	return device_send(&device);
}

static void port_info(void)
{
	const struct nmreq_port_info_get *info = &device.request.body.port_info;
	struct nmreq_register reg;

	device_bind(&device, (struct port_spec){ .slots = 16 });
	reg = device.request.body.reg;
	CHECK_EQUAL(sends(NETMAP_REQ_PORT_INFO_GET, "pst:0"), 0);
	CHECK_EQUAL(info->nr_memsize, reg.nr_memsize);
	CHECK(info->nr_rx_slots == 16 && info->nr_tx_slots == 16);
	CHECK(info->nr_rx_rings == 1 && info->nr_tx_rings == 1);
	CHECK_EQUAL(info->nr_mem_id, reg.nr_mem_id);
	CHECK_EQUAL(sends(NETMAP_REQ_PORT_INFO_GET, "eth0"), 0); /* nobody has registered it */
	CHECK(info->nr_tx_slots == 1024 && info->nr_rx_rings == 1 && info->nr_mem_id == 0);
	CHECK_EQUAL(sends(NETMAP_REQ_PORT_INFO_GET, "pst:1"), ENXIO);
	CHECK_EQUAL(sends(NETMAP_REQ_PORT_INFO_GET, "lo"), ENXIO);
}

static void pools_info(void)
{
	struct nmreq_pools_info *info = &device.request.body.pools_info;
	struct nmreq_register reg;

	device_bind(&device, (struct port_spec){ 0 });
	reg = device.request.body.reg;
	CHECK_EQUAL(sends(NETMAP_REQ_POOLS_INFO_GET, "pst:0"), 0);
	CHECK_EQUAL(info->nr_memsize, reg.nr_memsize);
	CHECK_EQUAL(info->nr_mem_id, reg.nr_mem_id);
	CHECK_EQUAL(device_send(&device), 0); /* now with the right mem_id */
	info->nr_mem_id = 1;
	CHECK_EQUAL(device_send(&device), EINVAL);
	CHECK_EQUAL(sends(NETMAP_REQ_POOLS_INFO_GET, "pst:1"), ENXIO);
	CHECK_EQUAL(sends(NETMAP_REQ_POOLS_INFO_GET, "eth0"), ENXIO);
}

static void expect_unsupported(uint16_t first, uint16_t last)
{
	for (; first <= last; first++)
		CHECK_EQUAL(sends(first, "pst:0"), EOPNOTSUPP);
}

static void without_body(uint16_t type)
{
	device_prepare(&device, type, "pst:0")->header.nr_body = 0;
	CHECK_EQUAL(device_send(&device), EOPNOTSUPP);
}

static void vale_requests(void)
{
	device = device_open();
	expect_unsupported(NETMAP_REQ_VALE_ATTACH, NETMAP_REQ_VALE_LIST);
	expect_unsupported(NETMAP_REQ_VALE_NEWIF, NETMAP_REQ_VALE_NEWIF);
	without_body(NETMAP_REQ_VALE_DELIF);
	expect_unsupported(NETMAP_REQ_VALE_POLLING_ENABLE, NETMAP_REQ_VALE_POLLING_DISABLE);
}

static void port_headers(void)
{
	device = device_open();
	expect_unsupported(NETMAP_REQ_PORT_HDR_SET, NETMAP_REQ_PORT_HDR_GET);
}

static void kernel_loops(void)
{
	device = device_open();
	expect_unsupported(NETMAP_REQ_SYNC_KLOOP_START, NETMAP_REQ_SYNC_KLOOP_START);
	without_body(NETMAP_REQ_SYNC_KLOOP_STOP);
	without_body(NETMAP_REQ_CSB_ENABLE);
}

static void attach(void)
{
	device_bind(&device, (struct port_spec){ .name = "pst3:app", .extra = 200 });
	CHECK_EQUAL(device_attach(&device, "pst3:eth0"), 0);
	CHECK(device.request.body.attach.reg.nr_mem_id > 1);
	CHECK_EQUAL(device_detach(&device, "pst3:eth0"), 0);
	CHECK_EQUAL(device_attach(&device, "pst3:eth0"), 0);
}

static void attach_invalid(void)
{
	struct request *request;
	uint16_t mem_id;

	device_bind(&device, (struct port_spec){ 0 });
	mem_id = device.request.body.reg.nr_mem_id;
	CHECK_EQUAL(device_attach(&device, "eth0"), EINVAL);
	CHECK_EQUAL(sends(NETMAP_REQ_PST_ATTACH, "pst:eth0"), EINVAL); /* no mode */
	request = device_prepare(&device, NETMAP_REQ_PST_ATTACH, "pst:eth0");
	request->body.attach.reg.nr_mode = NR_REG_NIC_SW;
	request->body.attach.reg.nr_mem_id = (uint16_t)(mem_id + 1);
	CHECK_EQUAL(device_send(&device), EINVAL);
	request->body.attach.reg.nr_mem_id = mem_id;
	CHECK_EQUAL(device_send(&device), 0);
}

static void attach_which(void)
{
	device_bind(&device, (struct port_spec){ 0 });
	CHECK_EQUAL(device_attach(&device, "pst1:eth0"), ENXIO);
	CHECK_EQUAL(device_attach(&device, "pst:eth7"), ENXIO);
	CHECK_EQUAL(device_attach(&device, "pst:lo"), ENXIO);
	device_bind(&second, (struct port_spec){ .name = "pst:1" });
	device_close(&device);
	device_bind(&device, (struct port_spec){ .name = "pst:2" });
	CHECK_EQUAL(device_attach(&device, "pst:eth0"), 0); /* its own of the two */
	CHECK_EQUAL(device_detach(&device, "pst:eth0"), 0);
	struct device control = device_open();
	CHECK_EQUAL(device_attach(&control, "pst:eth0"), ENXIO); /* which of the two? */
}

static void attach_busy(void)
{
	device_bind(&device, (struct port_spec){ 0 });
	device_bind(&second, (struct port_spec){ .name = "pst1:0" });
	CHECK_EQUAL(device_attach(&device, "pst:eth0"), 0);
	CHECK_EQUAL(device_attach(&device, "pst:eth0"), EBUSY);
	CHECK_EQUAL(device_attach(&second, "pst1:eth0"), EBUSY);
	device_close(&device); /* gives the NIC up at once */
	CHECK_EQUAL(device_attach(&second, "pst1:eth0"), 0);
	device_close(&second);
	device_bind(&second, (struct port_spec){ .name = "eth0" });
	device_bind(&device, (struct port_spec){ 0 });
	CHECK_EQUAL(device_attach(&device, "pst:eth0"), EBUSY);
}

static void attach_needs_buffers(void)
{
	device_bind(&device, (struct port_spec){ EXTMEM(ANONYMOUS), .extra = 0xffffffff });
	CHECK_EQUAL(device_attach(&device, "pst:eth0"), ENOMEM);
}

static void detach(void)
{
	device_bind(&device, (struct port_spec){ 0 });
	CHECK_EQUAL(device_detach(&device, "pst:eth0"), ENXIO);
	CHECK_EQUAL(device_attach(&device, "pst:eth0"), 0);
	CHECK_EQUAL(device_detach(&device, "pst:eth1"), ENXIO);
	CHECK_EQUAL(device_detach(&device, "pst4:eth0"), ENXIO);
	CHECK_EQUAL(device_detach(&device, "pst:eth0"), 0);
	CHECK_EQUAL(device_detach(&device, "pst:eth0"), ENXIO);
}

static void control_descriptor(void)
{
	struct device control = device_open();

	device_bind(&device, (struct port_spec){ 0 });
	CHECK_EQUAL(device_attach(&control, "pst:eth0"), 0);
	CHECK_EQUAL(device_attach(&device, "pst:eth0"), EBUSY);
	device_close(&control); /* it was nobody's owner */
	CHECK_EQUAL(device_attach(&device, "pst:eth0"), EBUSY);
	control = device_open();
	CHECK_EQUAL(device_detach(&control, "pst:eth0"), 0);
	CHECK_EQUAL(device_rxsync(&control), ENXIO);
}

const struct row rows_control[] = {
	{ "port_info", port_info },
	{ "pools_info", pools_info },
	{ "vale_requests", vale_requests },
	{ "port_headers", port_headers },
	{ "kernel_loops", kernel_loops },
	{ "attach", attach },
	{ "attach_invalid", attach_invalid },
	{ "attach_which", attach_which },
	{ "attach_busy", attach_busy },
	{ "attach_needs_buffers", attach_needs_buffers },
	{ "detach", detach },
	{ "control_descriptor", control_descriptor },
	{ 0 },
};
