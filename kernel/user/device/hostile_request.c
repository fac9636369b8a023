/* SPDX-License-Identifier: BSD-2-Clause */
/* hostile_request.c -- requests that are nearly right */
#include "hostile.h"

static uint32_t below(struct hostile *hostile, uint32_t bound)
{
	return check_below(&hostile->random, bound);
}

static bool one_of(struct hostile *hostile, uint32_t bound)
{
	return below(hostile, bound) == 0;
}

/* Of a port to be born or already there, of a NIC to attach, or of neither. */
static const char *any_name(struct hostile *hostile, uint16_t type)
{
	static const char *const ports[] = { "pst:0", "pst:1", "pst1:0", "netmap:eth0" };
	static const char *const nics[] = { "pst:eth0", "pst1:eth0" };
	static const char *const odd[] = { "lo", "vale0:1", "", "pst:", ":", "pst:0", "eth0" };

	if (one_of(hostile, 8))
		return odd[below(hostile, sizeof(odd) / sizeof(odd[0]))];
	if (type == NETMAP_REQ_PST_ATTACH || type == NETMAP_REQ_PST_DETACH)
		return nics[below(hostile, 2)];
	return ports[below(hostile, 4)];
}

/* A number at one of the edges. */
static uint64_t odd_number(struct hostile *hostile)
{
	static const uint64_t odd[] = {
		0, 1, 2, 3, 4, 7, 63, 64, 255, 256, 2047, 2048, 4095, 4096, 16384, 65535, 1u << 20,
		0x7fffffff, 0x80000000, 0xffffffff, 1ull << 32, 1ull << 47, ~0ull >> 1, ~0ull,
	};

	return odd[below(hostile, sizeof(odd) / sizeof(odd[0]))];
}

static void fill_options(struct hostile *hostile, struct request *request)
{
	bool extmem = !one_of(hostile, 4);

	if (one_of(hostile, 4)) {
		request_option(request, &request->offsets.nro_opt, NETMAP_REQ_OPT_OFFSETS);
		request->offsets.nro_max_offset = below(hostile, 300);
		request->offsets.nro_initial_offset = below(hostile, 300);
	}
	if (extmem && one_of(hostile, 2)) {
		request_option(request, &request->reserve.nro_opt, PASTE_REQ_OPT_RESERVE);
		request->reserve.bitmap = (uintptr_t)hostile->memory + 8 * below(hostile, 1000);
		request->reserve.bits = below(hostile, 2100);
	}
	if (extmem && one_of(hostile, 2))
		request_option(request, &request->kernel_rings.nro_opt,
			      PASTE_REQ_OPT_KERNEL_RINGS);
	if (!extmem)
		return;
	request_option(request, &request->extmem.nro_opt, NETMAP_REQ_OPT_EXTMEM);
	request->extmem.nro_usrptr = (uintptr_t)hostile->memory;
	request->extmem.nro_info.nr_memsize = DEVICE_MEMORY;
	if (one_of(hostile, 2))
		request->extmem.nro_info.nr_buf_pool_objsize = 2048u << below(hostile, 2);
}

static void fill_body(struct hostile *hostile, struct request *request)
{
	switch (request->header.nr_reqtype) {
	case NETMAP_REQ_REGISTER:
		request->body.reg.nr_mode = one_of(hostile, 2) ? NR_REG_ALL_NIC : NR_REG_NIC_SW;
		request->body.reg.nr_rx_slots = 1u << below(hostile, 10);
		request->body.reg.nr_tx_slots = 1u << below(hostile, 10);
		request->body.reg.nr_extra_bufs = below(hostile, 2000);
		request->body.reg.nr_flags = one_of(hostile, 4) ? NR_DO_RX_POLL : 0;
		fill_options(hostile, request);
		break;
	case NETMAP_REQ_PST_ATTACH:
		request->body.attach.reg.nr_mode = NR_REG_NIC_SW;
		break;
	case NETMAP_REQ_PST_FD_REG:
	case PASTE_REQ_FD_UNREG:
		request->body.pst_fd.fd = one_of(hostile, 4) ? below(hostile, 40) :
			(uint32_t)hostile->sockets[below(hostile, 16)];
		break;
	default:
		break;
	}
}

/* One field, aligned, becomes an odd number, a near one or any. */
static void spoil(struct hostile *hostile, void *memory, size_t bytes)
{
	uint32_t width = 1u << below(hostile, 4);
	uint64_t value = 0;
	char *at;

	at = (char *)memory + width * below(hostile, (uint32_t)(bytes / width));
	memcpy(&value, at, width);
	switch (below(hostile, 3)) {
	case 0:
		value = odd_number(hostile);
		break;
	case 1:
		value ^= 1ull << below(hostile, 8 * width);
		break;
	default:
		value += below(hostile, 5) - 2ull;
		break;
	}
	memcpy(at, &value, width);
}

void hostile_request(struct hostile *hostile, struct device *device)
{
	static const uint16_t types[] = {
		NETMAP_REQ_REGISTER, NETMAP_REQ_REGISTER, NETMAP_REQ_REGISTER,
		NETMAP_REQ_PST_ATTACH, NETMAP_REQ_PST_ATTACH, NETMAP_REQ_PST_DETACH,
		NETMAP_REQ_PST_FD_REG, NETMAP_REQ_PST_FD_REG, NETMAP_REQ_PORT_INFO_GET,
		NETMAP_REQ_POOLS_INFO_GET, PASTE_REQ_FD_UNREG,
	};
	uint16_t type = types[below(hostile, sizeof(types) / sizeof(types[0]))];
	struct request *request = device_prepare(device, type, any_name(hostile, type));
	uint32_t spoilt = one_of(hostile, 2) ? 0 : 1 + below(hostile, 3);

	fill_body(hostile, request);
	for (; spoilt > 0; spoilt--) {
		if (one_of(hostile, 2))
			spoil(hostile, request, sizeof(*request));
		else if (one_of(hostile, 2))
			spoil(hostile, &request->header, sizeof(request->header));
		else
			spoil(hostile, &request->body, sizeof(request->body));
	}
}
