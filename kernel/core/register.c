/* SPDX-License-Identifier: BSD-2-Clause */
/* register.c -- a port is born from a REGISTER request */
#include "plan.h"
#include "portlist.h"
#include "register.h"

#define STOCK 3072u /* buffers for NIC and stack in plain memory */

static int open_region(struct paste_port *port, const struct paste_plan *plan,
		       struct paste_request *request, struct paste_os_region **region)
{
	struct paste_layout_need need = {
		.rings = paste_plan_rings(plan),
		.slots = plan->tx_slots > plan->rx_slots ? plan->tx_slots : plan->rx_slots,
		.buffers = paste_plan_ring_buffers(plan),
	};
	int error;

	if (paste_request_has(request, NETMAP_REQ_OPT_EXTMEM)) {
		error = paste_layout_extmem(&port->layout, &request->extmem.nro_info, &need,
				paste_request_has(request, PASTE_REQ_OPT_KERNEL_RINGS));
		if (!error)
			error = paste_os_region_pin(request->extmem.nro_usrptr,
						    port->layout.memsize, region);
		return error ? paste_request_fail(request, NETMAP_REQ_OPT_EXTMEM, error) : 0;
	}
	need.buffers += STOCK + plan->extra;
	error = paste_layout_plain(&port->layout, &need);
	return error ? error : paste_os_region_alloc(port->layout.memsize, region);
}

static int open_pool(struct paste_port *port, const struct paste_plan *plan,
		     struct paste_request *request)
{
	const struct paste_layout *layout = &port->layout;
	struct paste_os_region *region;
	int error = open_region(port, plan, request, &region);

	if (!error)
		error = paste_pool_create(region, layout->buf_offset, layout->buf_size,
					  layout->buf_total, &port->pool);
	if (!error)
		port->pool->frame_offset = plan->frame_offset;
	return error;
}

static int reserve_bitmap(struct paste_port *port, const struct paste_opt_reserve *option)
{
	uint64_t bytes = (option->bits + 63) / 64 * sizeof(uint64_t);
	uint64_t *bitmap;
	int error;

	bitmap = paste_os_alloc(bytes);
	if (!bitmap)
		return ENOMEM;
	error = paste_os_copy_in(bitmap, option->bitmap, bytes);
	if (!error)
		error = paste_pool_reserve(port->pool, bitmap, option->bits);
	paste_os_free(bitmap);
	return error;
}

static int reserve(struct paste_port *port, struct paste_request *request)
{
	const struct paste_opt_reserve *option = &request->reserve;
	int error = EINVAL;

	if (!paste_request_has(request, PASTE_REQ_OPT_RESERVE) || option->bits == 0)
		return 0;
	if (option->bits <= port->layout.buf_total)
		error = reserve_bitmap(port, option);
	return error ? paste_request_fail(request, PASTE_REQ_OPT_RESERVE, error) : 0;
}

/* Where if and ring pools start in the kernel's view. */
static int rings_memory(struct paste_port *port, char **memory)
{
	int error;

	if (!port->layout.kernel_rings) {
		*memory = paste_os_region_address(port->pool->region);
		memset(*memory, 0, port->layout.rings_bytes);
		return 0;
	}
	error = paste_os_region_alloc(port->layout.rings_bytes, &port->rings_region);
	if (!error)
		*memory = paste_os_region_address(port->rings_region);
	return error;
}

/* Of a port's ring number i in if and ring pools; ofs: its place in ring_ofs. */
static struct netmap_ring *place_ring(struct paste_port *port, char *memory, uint32_t i,
				      uint32_t ofs)
{
	const struct paste_layout *layout = &port->layout;
	uint64_t offset = layout->ring_offset + (uint64_t)i * layout->ring_size;
	struct netmap_ring *ring = (struct netmap_ring *)(memory + offset);

	port->nifp->ring_ofs[ofs] = (int64_t)(offset - layout->if_offset);
	if (!layout->kernel_rings)
		ring->buf_ofs = (int64_t)(layout->buf_offset - offset);
	return ring;
}

static int open_rings(struct paste_port *port, const struct paste_plan *plan)
{
	/* As ring_ofs wants them: NIC TX, host TX, NIC RX, host RX. */
	struct paste_kring *krings[] = { &port->tx, &port->host_tx, &port->rx, &port->host_rx };
	struct netmap_ring *ring;
	uint32_t i, ofs = 0, placed = 0;
	char *memory;
	int error = rings_memory(port, &memory);

	if (error)
		return error;
	port->nifp = (struct netmap_if *)(memory + port->layout.if_offset);
	memcpy(port->nifp->ni_name, port->name, sizeof(port->nifp->ni_name) - 1);
	port->nifp->ni_version = NETMAP_API;
	port->nifp->ni_flags = NI_PRIV_MEM;
	port->nifp->ni_tx_rings = 1;
	port->nifp->ni_rx_rings = 1;
	port->nifp->ni_host_tx_rings = plan->kind == PASTE_PORT_NIC;
	port->nifp->ni_host_rx_rings = plan->kind == PASTE_PORT_NIC;
	for (i = 0; i < 4 && !error; i++) {
		bool is_tx = i < 2, is_host = i % 2 != 0;

		if (plan->kind == PASTE_PORT_PST && is_host)
			continue;
		/* Without NIC_SW host rings are counted, but have no place. */
		if (is_host && !plan->host) {
			ofs++;
			continue;
		}
		ring = place_ring(port, memory, placed++, ofs++);
		ring->offset_mask = plan->offset_mask;
		ring->ringid = is_host;
		if (is_tx)
			error = paste_kring_tx_init(krings[i], ring, port->pool, plan->tx_slots);
		else
			error = paste_kring_rx_init(krings[i], ring, port->pool, plan->rx_slots);
		krings[i]->offset_mask = plan->offset_mask;
	}
	return error;
}

/* Returns how many there were. */
static uint32_t take_extra(struct paste_port *port, uint32_t wanted)
{
	uint32_t granted, index, head = 0;

	for (granted = 0; granted < wanted; granted++) {
		index = paste_pool_take(port->pool, PASTE_APP);
		if (index == 0)
			break;
		memcpy(paste_pool_address(port->pool, index), &head, sizeof(head));
		head = index;
	}
	port->nifp->ni_bufs_head = head;
	return granted;
}

static void open_flows(struct paste_port *port, const struct paste_plan *plan)
{
	bool frames = plan->kind == PASTE_PORT_NIC;

	/* What waits must not take all that the NIC receives into. */
	paste_flow_queue_init(&port->flows, port->pool,
			      paste_pool_count(port->pool, PASTE_FREE) / 2 + 1);
	paste_flow_queue_init(&port->host_flows, port->pool, plan->rx_slots);
	port->flows.frames = frames;
	port->host_flows.frames = frames;
	port->flows.events = plan->events;
}

static int build(struct paste_port *port, const struct paste_plan *plan,
		 struct paste_request *request)
{
	int error = paste_os_port_init(port);

	if (error)
		return error;
	port->os_ready = true;
	port->mem_id = paste_port_new_mem_id();
	if (port->mem_id == 0)
		return ENOMEM;
	error = open_pool(port, plan, request);
	if (!error)
		error = reserve(port, request);
	if (!error)
		error = open_rings(port, plan);
	if (error)
		return error;
	request->body.reg.nr_extra_bufs = take_extra(port, plan->extra);
	open_flows(port, plan);
	if (!plan->nic)
		return paste_transmit_init(&port->transmit, port->pool, &port->flows,
					   plan->tx_slots);
	paste_name_copy(port->nic_name, plan->nic);
	return paste_os_nic_attach(port, plan->nic, &port->nic);
}

static void answer(const struct paste_port *port, struct paste_request *request)
{
	struct nmreq_register *reg = &request->body.reg;
	bool is_nic = port->kind == PASTE_PORT_NIC;

	reg->nr_offset = port->layout.if_offset;
	reg->nr_memsize = port->layout.memsize;
	reg->nr_tx_slots = port->tx.num_slots;
	reg->nr_rx_slots = port->rx.num_slots;
	reg->nr_tx_rings = 1;
	reg->nr_rx_rings = 1;
	reg->nr_host_tx_rings = is_nic;
	reg->nr_host_rx_rings = is_nic;
	reg->nr_mem_id = port->mem_id;
	paste_layout_info(&port->layout, &request->extmem.nro_info);
	request->extmem.nro_info.nr_mem_id = port->mem_id;
	request->kernel_rings.rings_size = port->layout.rings_bytes;
}

int paste_register(struct paste_desc *desc, struct paste_request *request)
{
	const char *name = request->header.nr_name;
	struct paste_plan plan;
	struct paste_port *port;
	int error;

	if (desc->port || paste_port_find(name))
		return EBUSY;
	error = paste_plan_make(&plan, request);
	if (error)
		return error;
	port = paste_os_alloc(sizeof(*port));
	if (!port)
		return ENOMEM;
	port->kind = plan.kind;
	paste_name_copy(port->name, plan.nic ? plan.nic : name);
	error = build(port, &plan, request);
	if (error) {
		paste_port_dismantle(port);
		return error;
	}
	answer(port, request);
	paste_port_list(port);
	desc->flags = request->body.reg.nr_flags;
	desc->port = port;
	return 0;
}
