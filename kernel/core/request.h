/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * request.h -- one NIOCCTRL request in kernel memory.
 *
 * Everything is copied in once, checked, and never read from the user again. Options that no
 * handler of this version knows end with the status EOPNOTSUPP and fail their request.
 */
#ifndef PASTE_REQUEST_H
#define PASTE_REQUEST_H

#include "paste_os.h"
#include "paste_abi.h"

#define PASTE_OPTIONS_MAX (NETMAP_REQ_MAXSIZE / sizeof(struct nmreq_option))

struct paste_request_option {
	uint64_t user;
	uint32_t type;
	uint32_t status;
};

struct paste_request {
	uint64_t user;
	struct nmreq_header header; /* nr_name: zero-padded */
	uint32_t body_size;
	union {
		struct nmreq_register reg;
		struct nmreq_port_info_get port_info;
		struct nmreq_pools_info pools_info;
		struct nmreq_vale_attach attach;
		struct nmreq_vale_detach detach;
		struct nmreq_pst_fd pst_fd;
	} body;
	uint32_t options;
	struct paste_request_option option[PASTE_OPTIONS_MAX];

	/* valid if paste_request_has() */
	struct nmreq_opt_extmem extmem;
	struct nmreq_opt_offsets offsets;
	struct paste_opt_reserve reserve;
	struct paste_opt_kernel_rings kernel_rings;
};

/* request is zeroed. After an error call paste_request_copy_out() all the same. */
int paste_request_copy_in(struct paste_request *request, uint64_t user);
/* How the request ended: options' status always, body and options only without error. */
int paste_request_copy_out(struct paste_request *request, int error);

bool paste_request_has(const struct paste_request *request, uint32_t type);
/* The request fails because of this option. Returns error. */
int paste_request_fail(struct paste_request *request, uint32_t type, int error);

#endif
