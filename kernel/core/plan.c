/* SPDX-License-Identifier: BSD-2-Clause */
/* plan.c -- what a REGISTER request asks for, checked and completed with defaults */
#include "plan.h"
#include "portlist.h"

#define SLOTS_MIN  4u
#define SLOTS_MAX  16384u
#define EXTRA_MAX  (1u << 28) /* keeps sums of buffers far from overflow */
#define FRAME_ROOM 1536u      /* a NIC wants so much behind the offset */

#define KNOWN_FLAGS                                                                       \
	(NR_MONITOR_TX | NR_MONITOR_RX | NR_ZCOPY_MON | NR_EXCLUSIVE | NR_RX_RINGS_ONLY | \
	 NR_TX_RINGS_ONLY | NR_ACCEPT_VNET_HDR | NR_DO_RX_POLL | NR_NO_TX_POLL)
#define REFUSED_FLAGS (NR_MONITOR_TX | NR_MONITOR_RX | NR_ZCOPY_MON | NR_TX_RINGS_ONLY)

static int plan_name(struct paste_plan *plan, const char *name)
{
	const char *nic = paste_name_nic(name);

	if (paste_name_pst(name)) {
		plan->kind = PASTE_PORT_PST;
		return 0;
	}
	plan->kind = PASTE_PORT_NIC;
	plan->nic = nic;
	if (name[0] == 0)
		return EINVAL;
	return nic ? 0 : EOPNOTSUPP;
}

static int plan_mode(struct paste_plan *plan, const struct nmreq_register *reg)
{
	uint64_t known = KNOWN_FLAGS;

	if (plan->kind == PASTE_PORT_PST)
		known |= PASTE_NR_EVENTS;
	if (reg->nr_flags & ~known)
		return EINVAL;
	if (reg->nr_flags & REFUSED_FLAGS)
		return EOPNOTSUPP;
	if (reg->nr_mode == NR_REG_DEFAULT || reg->nr_mode > NR_REG_ONE_SW)
		return EINVAL;
	if (reg->nr_mode != NR_REG_ALL_NIC && reg->nr_mode != NR_REG_NIC_SW)
		return EOPNOTSUPP;
	plan->host = plan->kind == PASTE_PORT_NIC && reg->nr_mode == NR_REG_NIC_SW;
	/* Nobody shares another port's region yet. */
	return reg->nr_mem_id == 0 ? 0 : EOPNOTSUPP;
}

static uint32_t bounded_slots(uint32_t wanted)
{
	if (wanted == 0)
		return PASTE_SLOTS_DEFAULT;
	if (wanted < SLOTS_MIN)
		return SLOTS_MIN;
	return wanted > SLOTS_MAX ? SLOTS_MAX : wanted;
}

/* The bits of ptr that an offset may use; 0: these are no good. */
static uint64_t offset_mask(const struct paste_plan *plan, uint32_t bits)
{
	if (plan->kind == PASTE_PORT_PST)
		/* Those above carry descriptor and payload start. */
		return bits == 0 || bits == PST_OFFSET_BITS ? PST_OFFSET_MASK : 0;
	if (bits == 0 || bits == 64)
		return ~(uint64_t)0;
	return bits < 64 ? ((uint64_t)1 << bits) - 1 : 0;
}

static int plan_offsets(struct paste_plan *plan, struct paste_request *request)
{
	const struct nmreq_opt_offsets *offsets = &request->offsets;
	uint32_t buf_size = request->extmem.nro_info.nr_buf_pool_objsize;

	plan->offset_mask = plan->kind == PASTE_PORT_PST ? PST_OFFSET_MASK : 0;
	if (!paste_request_has(request, NETMAP_REQ_OPT_OFFSETS))
		return 0;
	plan->offset_mask = offset_mask(plan, offsets->nro_offset_bits);
	if (buf_size == 0)
		buf_size = PASTE_BUF_SIZE_DEFAULT;
	if (offsets->nro_max_offset > buf_size ||
	    offsets->nro_max_offset > plan->offset_mask ||
	    offsets->nro_initial_offset > offsets->nro_max_offset ||
	    offsets->nro_initial_offset + FRAME_ROOM > buf_size)
		return EINVAL;
	if (offsets->nro_tx_align != 0 || offsets->nro_min_gap != 0)
		return EOPNOTSUPP;
	plan->frame_offset = (uint32_t)offsets->nro_initial_offset;
	return 0;
}

static int check_memory(struct paste_request *request)
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
	return 0;
}

int paste_plan_make(struct paste_plan *plan, struct paste_request *request)
{
	const struct nmreq_register *reg = &request->body.reg;
	int error;

	memset(plan, 0, sizeof(*plan));
	error = plan_name(plan, request->header.nr_name);
	if (!error)
		error = plan_mode(plan, reg);
	if (!error)
		error = check_memory(request);
	if (error)
		return error;
	error = plan_offsets(plan, request);
	if (error)
		return paste_request_fail(request, NETMAP_REQ_OPT_OFFSETS, error);
	plan->rx_slots = bounded_slots(reg->nr_rx_slots);
	plan->tx_slots = bounded_slots(reg->nr_tx_slots);
	/* Who does not know that pst ports send should not lose many buffers to it. */
	if (plan->kind == PASTE_PORT_PST && reg->nr_tx_slots == 0)
		plan->tx_slots = plan->rx_slots;
	plan->events = (reg->nr_flags & PASTE_NR_EVENTS) != 0;
	plan->extra = reg->nr_extra_bufs > EXTRA_MAX ? EXTRA_MAX : reg->nr_extra_bufs;
	return 0;
}

uint32_t paste_plan_rings(const struct paste_plan *plan)
{
	return plan->host ? 4 : 2;
}

uint32_t paste_plan_ring_buffers(const struct paste_plan *plan)
{
	uint32_t slots = plan->tx_slots + plan->rx_slots;

	return plan->host ? 2 * slots : slots;
}
