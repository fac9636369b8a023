/* SPDX-License-Identifier: BSD-2-Clause */
/* control.c -- NIOCCTRL: each request finds its handler */
#include "plan.h"
#include "portlist.h"
#include "register.h"

#define NIC_BUFFERS_MIN 64u /* a NIC with fewer would drop every burst */

/* Of a NIC that nobody has registered: what a registration would get by default. */
static int nic_info_get(struct nmreq_port_info_get *info, const char *name)
{
	const char *nic = paste_name_nic(name);
	int error = nic ? paste_os_nic_exists(nic) : ENXIO;

	if (error)
		return error;
	memset(info, 0, sizeof(*info));
	info->nr_tx_slots = PASTE_SLOTS_DEFAULT;
	info->nr_rx_slots = PASTE_SLOTS_DEFAULT;
	info->nr_tx_rings = 1;
	info->nr_rx_rings = 1;
	info->nr_host_tx_rings = 1;
	info->nr_host_rx_rings = 1;
	return 0;
}

static int port_info_get(struct paste_request *request)
{
	struct nmreq_port_info_get *info = &request->body.port_info;
	const struct paste_port *port = paste_port_find(request->header.nr_name);
	bool is_nic;

	if (!port)
		return nic_info_get(info, request->header.nr_name);
	is_nic = port->kind == PASTE_PORT_NIC;
	memset(info, 0, sizeof(*info));
	info->nr_memsize = port->layout.memsize;
	info->nr_tx_slots = port->tx.num_slots;
	info->nr_rx_slots = port->rx.num_slots;
	info->nr_tx_rings = 1;
	info->nr_rx_rings = 1;
	info->nr_host_tx_rings = is_nic;
	info->nr_host_rx_rings = is_nic;
	info->nr_mem_id = port->mem_id;
	return 0;
}

static int pools_info_get(struct paste_request *request)
{
	struct nmreq_pools_info *info = &request->body.pools_info;
	const struct paste_port *port = paste_port_find(request->header.nr_name);

	if (!port)
		return ENXIO;
	if (info->nr_mem_id != 0 && info->nr_mem_id != port->mem_id)
		return EINVAL;
	memset(info, 0, sizeof(*info));
	info->nr_mem_id = port->mem_id;
	paste_layout_info(&port->layout, info);
	return 0;
}

static int pst_attach(const struct paste_desc *desc, struct paste_request *request)
{
	const char *nic = paste_name_pst(request->header.nr_name);
	const struct nmreq_register *reg = &request->body.attach.reg;
	struct paste_port *port;
	int error;

	if (!nic || reg->nr_mode != NR_REG_NIC_SW)
		return EINVAL;
	port = paste_port_find_pst(desc, request->header.nr_name);
	if (!port)
		return ENXIO;
	if (reg->nr_mem_id != 0 && reg->nr_mem_id != port->mem_id)
		return EINVAL;
	if (port->nic)
		return EBUSY;
	if (paste_pool_count(port->pool, PASTE_FREE) < NIC_BUFFERS_MIN)
		return ENOMEM;
	error = paste_os_nic_attach(port, nic, &port->nic);
	if (error)
		return error;
	paste_name_copy(port->nic_name, nic);
	request->body.attach.reg.nr_mem_id = port->mem_id;
	request->body.attach.port_index = 0;
	return 0;
}

static int pst_detach(const struct paste_desc *desc, struct paste_request *request)
{
	const char *nic = paste_name_pst(request->header.nr_name);
	struct paste_port *port;

	if (!nic)
		return EINVAL;
	port = paste_port_find_pst(desc, request->header.nr_name);
	if (!port || !port->nic || !paste_name_equal(port->nic_name, nic))
		return ENXIO;
	paste_port_detach_nic(port);
	request->body.detach.port_index = 0;
	return 0;
}

static int pst_fd(struct paste_request *request,
		  int (*handler)(struct paste_port *port, uint32_t fd))
{
	struct paste_port *port = paste_port_find(request->header.nr_name);

	if (!port)
		return ENXIO;
	if (port->kind != PASTE_PORT_PST)
		return EINVAL;
	return handler(port, request->body.pst_fd.fd);
}

static int dispatch(struct paste_desc *desc, struct paste_request *request)
{
	switch (request->header.nr_reqtype) {
	case NETMAP_REQ_REGISTER:
		return paste_register(desc, request);
	case NETMAP_REQ_PORT_INFO_GET:
		return port_info_get(request);
	case NETMAP_REQ_POOLS_INFO_GET:
		return pools_info_get(request);
	case NETMAP_REQ_PST_ATTACH:
		return pst_attach(desc, request);
	case NETMAP_REQ_PST_DETACH:
		return pst_detach(desc, request);
	case NETMAP_REQ_PST_FD_REG:
		return pst_fd(request, paste_os_socket_register);
	case PASTE_REQ_FD_UNREG:
		return pst_fd(request, paste_os_socket_unregister);
	default:
		return EOPNOTSUPP;
	}
}

int paste_control(struct paste_desc *desc, uint64_t user_header)
{
	struct paste_request *request = paste_os_alloc(sizeof(*request));
	bool bound = desc->port != NULL;
	int error, result;

	if (!request)
		return ENOMEM;
	error = paste_request_copy_in(request, user_header);
	if (!error)
		error = dispatch(desc, request);
	result = paste_request_copy_out(request, error);
	/* Nobody uses a port whose answer was lost. */
	if (!error && result && !bound)
		paste_desc_close(desc);
	paste_os_free(request);
	return result;
}
