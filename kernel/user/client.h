/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * client.h -- the user's side of a descriptor: requests, rings, buffers.
 */
#ifndef PASTE_USER_CLIENT_H
#define PASTE_USER_CLIENT_H

#include "fake.h"

/* One request in user memory; tests may spoil it between client_prepare and client_send. */
struct client_request {
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

struct client {
	struct paste_desc desc;
	struct client_request *request;
	struct netmap_if *nifp;
	struct netmap_ring *ring; /* NIC RX, or the pst port's */
	struct netmap_ring *tx;
	char *buffers; /* buffer 0 */
	uint32_t buf_size;
	char *memory; /* EXTMEM */
};

struct client_spec {
	const char *name; /* NULL: pst:0 */
	uint64_t extmem;  /* bytes, 0: plain memory */
	bool kernel_rings;
	uint32_t slots, extra; /* slots: of each ring */
	uint64_t flags;        /* nr_flags */
	const uint64_t *bitmap; /* user memory, or NULL */
	uint64_t bits;
	uint32_t initial_offset; /* not 0: with OFFSETS */
	uint32_t buf_size;       /* 0: default */
};

/* An empty request without body size checks: zeroed, with version, type, name and body. */
struct client_request *client_prepare(struct client *client, uint16_t type, const char *name);
/* Put an option in front of the request's others. */
void client_option(struct client_request *request, struct nmreq_option *option, uint32_t type);
int client_send(struct client *client);

/* A REGISTER request as spec says, sent by client_open() or by the test. */
void client_prepare_register(struct client *client, const struct client_spec *spec);
/* New client with user memory of its own; REGISTER. */
int client_open(struct client *client, const struct client_spec *spec);
/* Again, with the memory it has: a restart. */
int client_reopen(struct client *client, const struct client_spec *spec);
/* Find rings and buffers after a successful REGISTER. */
void client_map(struct client *client);
void client_close(struct client *client);

int client_attach(struct client *client, const char *name);
int client_detach(struct client *client, const char *name);
int client_register_socket(struct client *client, uint32_t fd);
int client_unregister_socket(struct client *client, uint32_t fd);

/* The first slot that the user holds, NULL if none. */
struct netmap_slot *client_slot(struct client *client);
/* Give it back. */
void client_advance(struct client *client);
char *client_buffer(struct client *client, uint32_t index);
uint32_t client_slot_fd(const struct netmap_slot *slot);
/* Payload of a slot, and its length in *length. */
char *client_payload(struct client *client, const struct netmap_slot *slot, uint32_t *length);
/* Buffers of the application in TX slots of a port where nothing is under way. */
uint32_t client_tx_buffers(struct client *client);
uint32_t client_extra_count(struct client *client);
/* Take a buffer from the list of extra buffers; 0 when it is empty. */
uint32_t client_extra_take(struct client *client);

/* Every buffer is in exactly one place, and the counts say so. */
void client_check_conservation(struct client *client);

#endif
