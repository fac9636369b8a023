/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * client.h -- the user's side of a descriptor: requests, rings, buffers.
 */
#ifndef PASTE_USER_CLIENT_H
#define PASTE_USER_CLIENT_H

#include "fake.h"
#include "nmreq.h"
#include "slots.h"

struct client {
	struct paste_desc desc;
	struct request *request;
	struct netmap_if *nifp;
	struct netmap_ring *ring; /* NIC RX, or the pst port's */
	struct netmap_ring *tx;
	char *buffers; /* buffer 0 */
	uint32_t buf_size;
	char *memory; /* EXTMEM */
};

/* An empty request, in user memory. */
struct request *client_prepare(struct client *client, uint16_t type, const char *name);
int client_send(struct client *client);

/* A REGISTER request as spec says, sent by client_open() or by the test. */
struct request *client_prepare_register(struct client *client, const struct port_spec *spec);
/* New client with user memory of its own; REGISTER. */
int client_open(struct client *client, const struct port_spec *spec);
/* Again, with the memory it has: a restart. */
int client_reopen(struct client *client, const struct port_spec *spec);
/* Find rings and buffers after a successful REGISTER. */
void client_map(struct client *client);
/* In an empty user space a pst port with eth0; that must work. */
void client_open_attached(struct client *client, const struct port_spec *spec);
#define CLIENT_NIC_SLOTS 16u
/* Likewise the NIC's own port; with OFFSETS if initial_offset is not 0. */
void client_open_nic(struct client *client, uint32_t mode, uint32_t initial_offset);
void client_close(struct client *client);
/* The accounts are right, and after the end nothing is left. */
void client_finish(struct client *client);

int client_attach(struct client *client, const char *name);
int client_detach(struct client *client, const char *name);
int client_register_socket(struct client *client, uint32_t fd);
int client_unregister_socket(struct client *client, uint32_t fd);
/* A connected socket that the port has registered. */
uint32_t client_socket(struct client *client);
int client_rxsync(struct client *client);
int client_txsync(struct client *client);

/* The first slot that the user holds, NULL if none. */
struct netmap_slot *client_slot(struct client *client);
char *client_buffer(struct client *client, uint32_t index);
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
