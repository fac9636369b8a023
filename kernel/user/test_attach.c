/* SPDX-License-Identifier: BSD-2-Clause */
/* test_attach.c -- NICs and sockets of a pst port, and the questions about ports */
#include "check.h"
#include "client.h"

static struct client client;

static void open_port(const char *name)
{
	struct port_spec spec = { .name = name, .slots = 16 };

	fake_reset();
	CHECK_EQUAL(client_open(&client, &spec), 0);
}

static void attach_and_detach(void)
{
	open_port("pst3:app");
	CHECK_EQUAL(client_detach(&client, "pst3:eth0"), ENXIO);
	CHECK_EQUAL(client_attach(&client, "pst3:eth0"), 0);
	CHECK_EQUAL(client.request->body.attach.reg.nr_mem_id, client.desc.port->mem_id);
	CHECK_EQUAL(fake_nic_posted("eth0"), FAKE_POSTED);
	CHECK_EQUAL(client_attach(&client, "pst3:eth0"), EBUSY);
	CHECK_EQUAL(client_attach(&client, "pst3:eth1"), EBUSY); /* exactly one NIC */
	CHECK_EQUAL(client_detach(&client, "pst3:eth1"), ENXIO);
	CHECK_EQUAL(client_detach(&client, "pst4:eth0"), ENXIO);
	CHECK_EQUAL(client_detach(&client, "pst3:eth0"), 0);
	CHECK_EQUAL(paste_pool_count(client.desc.port->pool, PASTE_DEVICE), 0);
	CHECK_EQUAL(client_attach(&client, "pst3:eth1"), 0);
	client_finish(&client);
}

static void attach_refused(void)
{
	struct request *request;
	uint32_t kept;

	open_port(NULL);
	CHECK_EQUAL(client_attach(&client, "eth0"), EINVAL);
	CHECK_EQUAL(client_attach(&client, "pst1:eth0"), ENXIO);
	CHECK_EQUAL(client_attach(&client, "pst:eth7"), ENXIO);
	request = client_prepare(&client, NETMAP_REQ_PST_ATTACH, "pst:eth0");
	CHECK_EQUAL(client_send(&client), EINVAL); /* no mode */
	request->body.attach.reg.nr_mode = NR_REG_NIC_SW;
	request->body.attach.reg.nr_mem_id = (uint16_t)(client.desc.port->mem_id + 1);
	CHECK_EQUAL(client_send(&client), EINVAL);
	request->body.attach.reg.nr_mem_id = client.desc.port->mem_id;
	CHECK_EQUAL(client_send(&client), 0);
	CHECK_EQUAL(client_detach(&client, "pst:eth0"), 0);
	while ((kept = paste_pool_take(client.desc.port->pool, PASTE_APP)) != 0)
		;
	CHECK_EQUAL(client_attach(&client, "pst:eth0"), ENOMEM);
	client_finish(&client);
}

static void nic_of_another_port(void)
{
	struct port_spec spec = { .name = "pst1:0", .slots = 16 };
	struct client second;

	open_port(NULL);
	CHECK_EQUAL(client_attach(&client, "pst:eth0"), 0);
	CHECK_EQUAL(client_open(&second, &spec), 0);
	CHECK_EQUAL(client_attach(&second, "pst1:eth0"), EBUSY);
	client_close(&client); /* gives the NIC up at once */
	CHECK_EQUAL(client_attach(&second, "pst1:eth0"), 0);
	client_close(&second);
	client_finish(&client);
}

/* A descriptor without a port may control one, if the name says which. */
static void control_descriptor(void)
{
	struct port_spec spec = { .name = "pst:1", .slots = 16 };
	struct client control = { .request = NULL }, second;
	struct request *request;

	open_port(NULL);
	CHECK_EQUAL(client_attach(&control, "pst:eth0"), 0);
	CHECK(client.desc.port->nic != NULL);
	CHECK_EQUAL(client_detach(&control, "pst:eth0"), 0);
	request = client_prepare(&control, NETMAP_REQ_PST_FD_REG, "pst:0");
	request->body.pst_fd.fd = fake_socket(FAKE_CONNECTED);
	CHECK_EQUAL(client_send(&control), 0);
	CHECK_EQUAL(client_open(&second, &spec), 0);
	CHECK_EQUAL(client_attach(&control, "pst:eth0"), ENXIO); /* which of the two? */
	CHECK_EQUAL(client_attach(&second, "pst:eth0"), 0);
	CHECK(client.desc.port->nic == NULL && second.desc.port->nic != NULL);
	client_close(&second);
	client_finish(&client);
}

static void sockets(void)
{
	struct request *request;
	uint32_t fd;

	open_port(NULL);
	fd = fake_socket(FAKE_CONNECTED);
	CHECK_EQUAL(client_register_socket(&client, fd), 0);
	CHECK_EQUAL(client_register_socket(&client, fd), EBUSY);
	CHECK_EQUAL(client_register_socket(&client, 0xffffffff), EBADF);
	CHECK_EQUAL(client_register_socket(&client, fake_socket(FAKE_LISTENING)), EINVAL);
	CHECK_EQUAL(client_register_socket(&client, fake_socket(FAKE_UDP)), EOPNOTSUPP);
	request = client_prepare(&client, NETMAP_REQ_PST_FD_REG, "pst:7");
	request->body.pst_fd.fd = fd;
	CHECK_EQUAL(client_send(&client), ENXIO);
	client_finish(&client);
}

static void port_info(void)
{
	const struct nmreq_port_info_get *info;

	open_port(NULL);
	info = &client_prepare(&client, NETMAP_REQ_PORT_INFO_GET, "pst:0")->body.port_info;
	CHECK_EQUAL(client_send(&client), 0);
	CHECK_EQUAL(info->nr_memsize, client.desc.port->layout.memsize);
	CHECK(info->nr_rx_slots == 16 && info->nr_tx_slots == 16);
	CHECK(info->nr_rx_rings == 1 && info->nr_tx_rings == 1);
	CHECK_EQUAL(info->nr_mem_id, client.desc.port->mem_id);
	client_prepare(&client, NETMAP_REQ_PORT_INFO_GET, "pst:1");
	CHECK_EQUAL(client_send(&client), ENXIO);
	client_finish(&client);
}

static void pools_info(void)
{
	struct nmreq_pools_info *info;

	open_port(NULL);
	info = &client_prepare(&client, NETMAP_REQ_POOLS_INFO_GET, "pst:0")->body.pools_info;
	CHECK_EQUAL(client_send(&client), 0);
	CHECK_EQUAL(info->nr_memsize, client.desc.port->layout.memsize);
	CHECK_EQUAL(info->nr_buf_pool_objtotal, client.desc.port->layout.buf_total);
	CHECK_EQUAL(info->nr_mem_id, client.desc.port->mem_id);
	CHECK_EQUAL(client_send(&client), 0); /* now with the right mem_id */
	info->nr_mem_id = 1;
	CHECK_EQUAL(client_send(&client), EINVAL);
	client_prepare(&client, NETMAP_REQ_POOLS_INFO_GET, "pst:1");
	CHECK_EQUAL(client_send(&client), ENXIO);
	client_finish(&client);
}

static void syncs(void)
{
	CHECK_EQUAL(paste_port_rxsync(NULL), ENXIO);
	CHECK_EQUAL(paste_port_txsync(NULL), ENXIO);
	open_port(NULL);
	CHECK_EQUAL(client_rxsync(&client), 0);
	CHECK_EQUAL(client_txsync(&client), 0);
	CHECK(!paste_port_readable(client.desc.port));
	client_finish(&client);
}

int main(void)
{
	attach_and_detach();
	attach_refused();
	nic_of_another_port();
	control_descriptor();
	sockets();
	port_info();
	pools_info();
	syncs();
	return 0;
}
