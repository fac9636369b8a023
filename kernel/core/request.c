/* SPDX-License-Identifier: BSD-2-Clause */
/* request.c -- one NIOCCTRL request: in from the user, and out again */
#include "request.h"

/* Bodies of requests that we only refuse; netmap(4) has the layouts. */
#define VALE_LIST_SIZE    8u
#define PORT_HDR_SIZE     8u
#define VALE_NEWIF_SIZE   16u
#define VALE_POLLING_SIZE 16u
#define KLOOP_START_SIZE  8u
#define OPT_CSB_SIZE      40u
#define OPT_KLOOP_SIZE    32u

#define NO_SUCH_REQUEST 0xffffffffu

static uint32_t body_size(uint16_t type)
{
	switch (type) {
	case NETMAP_REQ_REGISTER:
		return sizeof(struct nmreq_register);
	case NETMAP_REQ_PORT_INFO_GET:
		return sizeof(struct nmreq_port_info_get);
	case NETMAP_REQ_VALE_ATTACH:
	case NETMAP_REQ_PST_ATTACH:
		return sizeof(struct nmreq_vale_attach);
	case NETMAP_REQ_VALE_DETACH:
	case NETMAP_REQ_PST_DETACH:
		return sizeof(struct nmreq_vale_detach);
	case NETMAP_REQ_VALE_LIST:
		return VALE_LIST_SIZE;
	case NETMAP_REQ_PORT_HDR_SET:
	case NETMAP_REQ_PORT_HDR_GET:
		return PORT_HDR_SIZE;
	case NETMAP_REQ_VALE_NEWIF:
		return VALE_NEWIF_SIZE;
	case NETMAP_REQ_VALE_POLLING_ENABLE:
	case NETMAP_REQ_VALE_POLLING_DISABLE:
		return VALE_POLLING_SIZE;
	case NETMAP_REQ_POOLS_INFO_GET:
		return sizeof(struct nmreq_pools_info);
	case NETMAP_REQ_SYNC_KLOOP_START:
		return KLOOP_START_SIZE;
	case NETMAP_REQ_PST_FD_REG:
	case PASTE_REQ_FD_UNREG:
		return sizeof(struct nmreq_pst_fd);
	case NETMAP_REQ_VALE_DELIF:
	case NETMAP_REQ_SYNC_KLOOP_STOP:
	case NETMAP_REQ_CSB_ENABLE:
		return 0;
	default:
		return NO_SUCH_REQUEST;
	}
}

/* Bytes of an option with its header; room: where in request to put it, NULL: nowhere. */
static uint64_t option_size(struct paste_request *request, const struct nmreq_option *option,
			    void **room)
{
	*room = NULL;
	switch (option->nro_reqtype) {
	case NETMAP_REQ_OPT_EXTMEM:
		*room = &request->extmem;
		return sizeof(request->extmem);
	case NETMAP_REQ_OPT_OFFSETS:
		*room = &request->offsets;
		return sizeof(request->offsets);
	case PASTE_REQ_OPT_RESERVE:
		*room = &request->reserve;
		return sizeof(request->reserve);
	case PASTE_REQ_OPT_KERNEL_RINGS:
		*room = &request->kernel_rings;
		return sizeof(request->kernel_rings);
	case NETMAP_REQ_OPT_CSB:
		return OPT_CSB_SIZE;
	case NETMAP_REQ_OPT_SYNC_KLOOP_MODE:
		return OPT_KLOOP_SIZE;
	case NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS:
		return option->nro_size > sizeof(*option) ? option->nro_size : sizeof(*option);
	default:
		return sizeof(*option);
	}
}

static bool is_known(uint32_t type)
{
	return (type >= NETMAP_REQ_OPT_EXTMEM && type <= NETMAP_REQ_OPT_OFFSETS) ||
	       type == PASTE_REQ_OPT_RESERVE || type == PASTE_REQ_OPT_KERNEL_RINGS;
}

/* A known option twice: EINVAL on both. Returns whether it was. */
static bool mark_duplicate(struct paste_request *request,
			   const struct paste_request_option *new)
{
	bool found = false;
	uint32_t i;

	for (i = 0; i < request->options && is_known(new->type); i++) {
		if (request->option[i].type == new->type) {
			request->option[i].status = EINVAL;
			found = true;
		}
	}
	return found;
}

static int add_option(struct paste_request *request, uint64_t user,
		      const struct nmreq_option *option, void *room, uint64_t size)
{
	struct paste_request_option *new = &request->option[request->options];
	bool duplicate;
	int error;

	new->user = user;
	new->type = option->nro_reqtype;
	new->status = EOPNOTSUPP;
	duplicate = mark_duplicate(request, new);
	request->options++;
	if (duplicate) {
		new->status = EINVAL;
		return EINVAL;
	}
	if (!room || request->header.nr_reqtype != NETMAP_REQ_REGISTER)
		return EOPNOTSUPP;
	memcpy(room, option, sizeof(*option));
	error = paste_os_copy_in((char *)room + sizeof(*option), user + sizeof(*option),
				 (size_t)size - sizeof(*option));
	new->status = (uint32_t)error;
	return error;
}

static int copy_in_options(struct paste_request *request)
{
	uint64_t user = request->header.nr_options;
	uint64_t total = request->body_size;
	struct nmreq_option option;
	uint64_t size;
	void *room;
	int error, result = 0;

	/* A list that loops grows too large. */
	while (user != 0) {
		if (total + sizeof(option) > NETMAP_REQ_MAXSIZE)
			return EMSGSIZE;
		error = paste_os_copy_in(&option, user, sizeof(option));
		if (error)
			return error;
		if (option.nro_reqtype == 0)
			return EINVAL;
		size = option_size(request, &option, &room);
		if (size > NETMAP_REQ_MAXSIZE - total)
			return EMSGSIZE;
		total += size;
		error = add_option(request, user, &option, room, size);
		if (error == EFAULT)
			return error;
		/* Every option gets its status; the worst of them is the request's. */
		if (error && result != EINVAL)
			result = error;
		user = option.nro_next;
	}
	return result;
}

static void pad_name(char *name)
{
	uint32_t i = 0;

	name[NETMAP_REQ_IFNAMSIZ - 1] = 0;
	while (name[i] != 0)
		i++;
	memset(name + i, 0, NETMAP_REQ_IFNAMSIZ - i);
}

int paste_request_copy_in(struct paste_request *request, uint64_t user)
{
	struct nmreq_header *header = &request->header;
	uint32_t size;
	int error;

	request->user = user;
	error = paste_os_copy_in(header, user, sizeof(*header));
	if (error)
		return error;
	if (header->nr_version < NETMAP_MIN_API || header->nr_version > NETMAP_MAX_API) {
		uint16_t right = NETMAP_API;

		error = paste_os_copy_out(user, &right, sizeof(right));
		return error ? error : EINVAL;
	}
	size = body_size(header->nr_reqtype);
	if (header->nr_reserved != 0 || size == NO_SUCH_REQUEST ||
	    (size == 0) != (header->nr_body == 0))
		return EINVAL;
	pad_name(header->nr_name);
	if (size != 0) {
		error = paste_os_copy_in(&request->body, header->nr_body, size);
		if (error)
			return error;
	}
	request->body_size = size;
	return copy_in_options(request);
}

/* What an option tells the user beyond its status. */
static int copy_out_option(const struct paste_request *request,
			   const struct paste_request_option *option)
{
	switch (option->type) {
	case NETMAP_REQ_OPT_EXTMEM:
		return paste_os_copy_out(
			option->user + offsetof(struct nmreq_opt_extmem, nro_info),
			&request->extmem.nro_info, sizeof(request->extmem.nro_info));
	case PASTE_REQ_OPT_KERNEL_RINGS:
		return paste_os_copy_out(
			option->user + offsetof(struct paste_opt_kernel_rings, rings_size),
			&request->kernel_rings.rings_size,
			sizeof(request->kernel_rings.rings_size));
	default:
		return 0;
	}
}

int paste_request_copy_out(struct paste_request *request, int error)
{
	int fault = 0;
	uint32_t i;

	for (i = 0; i < request->options && !fault; i++) {
		fault = paste_os_copy_out(
			request->option[i].user + offsetof(struct nmreq_option, nro_status),
			&request->option[i].status, sizeof(request->option[i].status));
		if (!fault && !error)
			fault = copy_out_option(request, &request->option[i]);
	}
	if (!fault && !error && request->body_size != 0)
		fault = paste_os_copy_out(request->header.nr_body, &request->body,
					  request->body_size);
	return error ? error : fault;
}

bool paste_request_has(const struct paste_request *request, uint32_t type)
{
	uint32_t i;

	for (i = 0; i < request->options; i++)
		if (request->option[i].type == type)
			return true;
	return false;
}

int paste_request_fail(struct paste_request *request, uint32_t type, int error)
{
	uint32_t i;

	for (i = 0; i < request->options; i++)
		if (request->option[i].type == type)
			request->option[i].status = (uint32_t)error;
	return error;
}
