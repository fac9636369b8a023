/* SPDX-License-Identifier: BSD-2-Clause */
/* register.c -- a pst port is born from a REGISTER request */
#include "portlist.h"
#include "register.h"

#define RX_SLOTS_DEFAULT 1024u
#define RX_SLOTS_MIN     4u
#define RX_SLOTS_MAX     16384u
#define PLAIN_STOCK      3072u      /* buffers for NIC and stack in plain memory */
#define EXTRA_MAX        (1u << 28) /* keeps sums of buffers far from overflow */
#define RX_RINGS         1u

#define KNOWN_FLAGS                                                                       \
	(NR_MONITOR_TX | NR_MONITOR_RX | NR_ZCOPY_MON | NR_EXCLUSIVE | NR_RX_RINGS_ONLY | \
	 NR_TX_RINGS_ONLY | NR_ACCEPT_VNET_HDR | NR_DO_RX_POLL | NR_NO_TX_POLL)
#define REFUSED_FLAGS (NR_MONITOR_TX | NR_MONITOR_RX | NR_ZCOPY_MON | NR_TX_RINGS_ONLY)

static int check_mode(const struct nmreq_register *reg)
{
	if (reg->nr_flags & ~(uint64_t)KNOWN_FLAGS)
		return EINVAL;
	if (reg->nr_flags & REFUSED_FLAGS)
		return EOPNOTSUPP;
	if (reg->nr_mode == NR_REG_DEFAULT || reg->nr_mode > NR_REG_ONE_SW)
		return EINVAL;
	if (reg->nr_mode != NR_REG_ALL_NIC && reg->nr_mode != NR_REG_NIC_SW)
		return EOPNOTSUPP;
	/* Nobody shares another port's region yet. */
	return reg->nr_mem_id == 0 ? 0 : EOPNOTSUPP;
}

static int check_offsets(struct paste_request *request)
{
	const struct nmreq_opt_offsets *offsets = &request->offsets;
	int error = 0;

	if (!paste_request_has(request, NETMAP_REQ_OPT_OFFSETS))
		return 0;
	/* Bits above these carry descriptor and payload start. */
	if ((offsets->nro_offset_bits != 0 && offsets->nro_offset_bits != PST_OFFSET_BITS) ||
	    offsets->nro_max_offset > PST_OFFSET_MASK ||
	    offsets->nro_initial_offset > offsets->nro_max_offset)
		error = EINVAL;
	else if (offsets->nro_tx_align != 0 || offsets->nro_min_gap != 0)
		error = EOPNOTSUPP;
	return error ? paste_request_fail(request, NETMAP_REQ_OPT_OFFSETS, error) : 0;
}

static int check_options(struct paste_request *request)
{
	if (!paste_request_has(request, NETMAP_REQ_OPT_EXTMEM)) {
		if (paste_request_has(request, PASTE_REQ_OPT_RESERVE))
			return paste_request_fail(request, PASTE_REQ_OPT_RESERVE, EINVAL);
		if (paste_request_has(request, PASTE_REQ_OPT_KERNEL_RINGS))
			return paste_request_fail(request, PASTE_REQ_OPT_KERNEL_RINGS, EINVAL);
	} else if (request->extmem.nro_usrptr == 0 ||
		   request->extmem.nro_usrptr % PASTE_PAGE_SIZE != 0) {
		return paste_request_fail(request, NETMAP_REQ_OPT_EXTMEM, EINVAL);
	}
	return check_offsets(request);
}

static uint32_t rx_slots(const struct nmreq_register *reg)
{
	uint32_t slots = reg->nr_rx_slots;

	if (slots == 0)
		return RX_SLOTS_DEFAULT;
	if (slots < RX_SLOTS_MIN)
		return RX_SLOTS_MIN;
	return slots > RX_SLOTS_MAX ? RX_SLOTS_MAX : slots;
}

static uint32_t extra_wanted(const struct nmreq_register *reg)
{
	return reg->nr_extra_bufs > EXTRA_MAX ? EXTRA_MAX : reg->nr_extra_bufs;
}

static int open_region(struct paste_port *port, struct paste_request *request,
		       struct paste_os_region **region)
{
	const struct nmreq_register *reg = &request->body.reg;
	struct paste_layout_need need = {
		.rings = RX_RINGS,
		.slots = rx_slots(reg),
		.buffers = rx_slots(reg),
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
	need.buffers += PLAIN_STOCK + extra_wanted(reg);
	error = paste_layout_plain(&port->layout, &need);
	return error ? error : paste_os_region_alloc(port->layout.memsize, region);
}

static int open_pool(struct paste_port *port, struct paste_request *request)
{
	const struct paste_layout *layout = &port->layout;
	struct paste_os_region *region;
	int error = open_region(port, request, &region);

	if (!error)
		error = paste_pool_create(region, layout->buf_offset, layout->buf_size,
					  layout->buf_total, &port->pool);
	if (error)
		return error;
	if (paste_request_has(request, NETMAP_REQ_OPT_OFFSETS))
		port->pool->frame_offset = (uint32_t)request->offsets.nro_initial_offset;
	paste_flow_queue_init(&port->flows, port->pool, 0);
	return 0;
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

static int open_rings(struct paste_port *port, uint32_t slots)
{
	const struct paste_layout *layout = &port->layout;
	struct netmap_ring *ring;
	char *memory;
	int error = rings_memory(port, &memory);

	if (error)
		return error;
	port->nifp = (struct netmap_if *)(memory + layout->if_offset);
	memcpy(port->nifp->ni_name, port->name, sizeof(port->nifp->ni_name) - 1);
	port->nifp->ni_version = NETMAP_API;
	port->nifp->ni_flags = NI_PRIV_MEM;
	port->nifp->ni_rx_rings = RX_RINGS;
	port->nifp->ring_ofs[0] = (int64_t)(layout->ring_offset - layout->if_offset);
	ring = (struct netmap_ring *)(memory + layout->ring_offset);
	if (!layout->kernel_rings)
		ring->buf_ofs = (int64_t)(layout->buf_offset - layout->ring_offset);
	ring->offset_mask = PST_OFFSET_MASK;
	return paste_kring_rx_init(&port->rx, ring, port->pool, slots);
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

static int build(struct paste_port *port, struct paste_request *request)
{
	struct nmreq_register *reg = &request->body.reg;
	int error = paste_os_port_init(port);

	if (error)
		return error;
	port->os_ready = true;
	port->mem_id = paste_port_new_mem_id();
	if (port->mem_id == 0)
		return ENOMEM;
	error = open_pool(port, request);
	if (!error)
		error = reserve(port, request);
	if (!error)
		error = open_rings(port, rx_slots(reg));
	if (error)
		return error;
	reg->nr_extra_bufs = take_extra(port, extra_wanted(reg));
	/* Waiting payload must not take all that the NIC receives into. */
	port->flows.limit = paste_pool_count(port->pool, PASTE_FREE) / 2 + 1;
	return 0;
}

static void answer(const struct paste_port *port, struct paste_request *request)
{
	struct nmreq_register *reg = &request->body.reg;

	reg->nr_offset = port->layout.if_offset;
	reg->nr_memsize = port->layout.memsize;
	reg->nr_tx_slots = 0;
	reg->nr_rx_slots = port->rx.num_slots;
	reg->nr_tx_rings = 0;
	reg->nr_rx_rings = RX_RINGS;
	reg->nr_host_tx_rings = 0;
	reg->nr_host_rx_rings = 0;
	reg->nr_mem_id = port->mem_id;
	paste_layout_info(&port->layout, &request->extmem.nro_info);
	request->extmem.nro_info.nr_mem_id = port->mem_id;
	request->kernel_rings.rings_size = port->layout.rings_bytes;
}

int paste_register(struct paste_desc *desc, struct paste_request *request)
{
	const char *name = request->header.nr_name;
	struct paste_port *port;
	int error;

	if (desc->port)
		return EBUSY;
	if (!paste_name_pst(name))
		return name[0] != 0 ? EOPNOTSUPP : EINVAL;
	if (paste_port_find(name))
		return EBUSY;
	error = check_mode(&request->body.reg);
	if (!error)
		error = check_options(request);
	if (error)
		return error;
	port = paste_os_alloc(sizeof(*port));
	if (!port)
		return ENOMEM;
	port->kind = PASTE_PORT_PST;
	paste_name_copy(port->name, name);
	error = build(port, request);
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
