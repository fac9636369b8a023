/* SPDX-License-Identifier: BSD-2-Clause */
/* nmreq.c -- builds requests */
#include "nmreq.h"

static uint64_t address(const void *pointer)
{
	return (uintptr_t)pointer;
}

void request_start(struct request *request, uint16_t type, const char *name)
{
	memset(request, 0, sizeof(*request));
	request->header.nr_version = NETMAP_API;
	request->header.nr_reqtype = type;
	request->header.nr_body = address(&request->body);
	memcpy(request->header.nr_name, name, strlen(name) + 1);
}

void request_option(struct request *request, struct nmreq_option *option, uint32_t type)
{
	option->nro_reqtype = type;
	option->nro_status = 0xdead;
	option->nro_next = request->header.nr_options;
	request->header.nr_options = address(option);
}

static void add_options(struct request *request, const struct port_spec *spec, const void *memory)
{
	if (spec->max_offset) {
		request_option(request, &request->offsets.nro_opt, NETMAP_REQ_OPT_OFFSETS);
		request->offsets.nro_max_offset = spec->max_offset;
		request->offsets.nro_initial_offset = spec->initial_offset;
	}
	if (spec->bitmap) {
		request_option(request, &request->reserve.nro_opt, PASTE_REQ_OPT_RESERVE);
		request->reserve.bitmap = address(spec->bitmap);
		request->reserve.bits = spec->bits;
	}
	if (spec->kernel_rings)
		request_option(request, &request->kernel_rings.nro_opt,
			       PASTE_REQ_OPT_KERNEL_RINGS);
	if (!spec->extmem)
		return;
	request_option(request, &request->extmem.nro_opt, NETMAP_REQ_OPT_EXTMEM);
	request->extmem.nro_usrptr = address(memory);
	request->extmem.nro_info.nr_memsize = spec->extmem;
	request->extmem.nro_info.nr_buf_pool_objsize = spec->buf_size;
}

void request_register(struct request *request, const struct port_spec *spec, const void *memory)
{
	request_start(request, NETMAP_REQ_REGISTER, spec->name ? spec->name : "pst:0");
	request->body.reg.nr_mode = spec->mode ? spec->mode : NR_REG_ALL_NIC;
	request->body.reg.nr_flags = spec->flags;
	request->body.reg.nr_rx_slots = spec->slots;
	request->body.reg.nr_tx_slots = spec->slots;
	request->body.reg.nr_extra_bufs = spec->extra;
	add_options(request, spec, memory);
}

void request_attach(struct request *request, const char *name)
{
	request_start(request, NETMAP_REQ_PST_ATTACH, name);
	request->body.attach.reg.nr_mode = NR_REG_NIC_SW;
}

void request_socket(struct request *request, uint16_t type, const char *port, uint32_t fd)
{
	request_start(request, type, port);
	request->body.pst_fd.fd = fd;
}
