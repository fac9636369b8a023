/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nmreq.h -- requests as a user writes them, to the core in a test or to the device in a guest.
 */
#ifndef PASTE_USER_NMREQ_H
#define PASTE_USER_NMREQ_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "paste_abi.h"

/* One request and room for its options; tests may spoil it before it is sent. */
struct request {
	struct nmreq_header header;
	union {
		struct nmreq_register reg;
		struct nmreq_port_info_get port_info;
		struct nmreq_pools_info pools_info;
		struct nmreq_vale_attach attach;
		struct nmreq_vale_detach detach;
		struct nmreq_pst_fd pst_fd;
		uint8_t bytes[64];
	} body;
	struct nmreq_opt_extmem extmem;
	struct nmreq_opt_offsets offsets;
	struct paste_opt_reserve reserve;
	struct paste_opt_kernel_rings kernel_rings;
	struct nmreq_option other;
};

/* What memory of the user's is made of; the core cannot tell. */
enum user_memory { ANONYMOUS, MEMFD, DEVDAX };

/* A port that REGISTER is asked for. */
struct port_spec {
	const char *name;       /* NULL: pst:0 */
	uint32_t mode;          /* 0: ALL_NIC */
	uint64_t flags;         /* nr_flags */
	uint32_t slots, extra;  /* slots: of each ring */
	uint64_t extmem;        /* bytes of user memory, 0: plain memory */
	enum user_memory kind;  /* of extmem */
	uint32_t buf_size;      /* of extmem; 0: default */
	bool kernel_rings;
	const uint64_t *bitmap; /* user memory, or NULL */
	uint64_t bits;
	uint32_t max_offset, initial_offset; /* max not 0: with OFFSETS */
};

/* An empty request: zeroed, with version, type, name and body. */
void request_start(struct request *request, uint16_t type, const char *name);
/* Put an option in front of the request's others. */
void request_option(struct request *request, struct nmreq_option *option, uint32_t type);
/* REGISTER as spec says; memory: the user's, if spec wants some. */
void request_register(struct request *request, const struct port_spec *spec, const void *memory);
void request_attach(struct request *request, const char *name);
/* FD_REG or FD_UNREG of a port. */
void request_socket(struct request *request, uint16_t type, const char *port, uint32_t fd);

#endif
