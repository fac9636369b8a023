/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * device.h -- a descriptor of /dev/paste: requests, memory, rings.
 *
 * What sends something returns an errno, 0 if it worked. A helper that cannot do its part ends
 * the program.
 */
#ifndef PASTE_DEVICE_H
#define PASTE_DEVICE_H

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "paste_abi.h"

#define PAGE 4096u
#define MIB  1048576u

#define NVDIMM "/dev/dax0.0"

/* Ring numbers in ring_ofs of a NIC port. */
enum { TX, HOST_TX, RX, HOST_RX };

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

struct device {
	int fd;
	struct request request;
	char *memory; /* EXTMEM, or NULL */
	size_t mapped; /* bytes of rings or region */
	char *rings;
	struct netmap_if *nifp;
	struct netmap_ring *ring; /* the RX ring of the NIC */
	char *buffers;
};

enum device_memory { PLAIN, ANONYMOUS, MEMFD, DEVDAX };

struct device_spec {
	const char *name;          /* NULL: pst:0 */
	enum device_memory memory; /* of 4 MiB, but for PLAIN */
	bool kernel_rings;
	uint32_t mode;             /* 0: ALL_NIC */
	uint64_t flags;
	uint32_t slots, extra;     /* slots 0: 64, for TX too */
	uint32_t buf_size;         /* 0: default */
	const uint64_t *bitmap;
	uint64_t bits;
	uint32_t max_offset, initial_offset; /* max not 0: with OFFSETS */
};

#define DEVICE_MEMORY (4 * MIB)

/* User memory of DEVICE_MEMORY bytes. */
char *device_memory(enum device_memory kind);

/* A descriptor that is bound to nothing. */
struct device device_open(void);
void device_close(struct device *device);

struct request *device_prepare(struct device *device, uint16_t type, const char *name);
/* Put an option in front of the request's others. */
void device_option(struct request *request, struct nmreq_option *option, uint32_t type);
int device_send(struct device *device);

/* An open descriptor and a REGISTER request, to be spoilt. */
struct request *device_prepare_register(struct device *device, const struct device_spec *spec);
/* The same, sent; rings and buffers are mapped if it worked. */
int device_register(struct device *device, const struct device_spec *spec);
/* The same, and it must work. */
void device_bind(struct device *device, struct device_spec spec);
/* Maps rings and finds buffers after a REGISTER. */
void device_map(struct device *device);

int device_attach(struct device *device, const char *name);
int device_detach(struct device *device, const char *name);
int device_register_socket(struct device *device, int fd);
int device_unregister_socket(struct device *device, int fd);

int device_rxsync(struct device *device);
int device_txsync(struct device *device);
/* What poll says at once. */
short device_poll(struct device *device, short events);
/* Waits for POLLIN up to some seconds; false: in vain. */
bool device_wait(struct device *device);

struct netmap_ring *device_ring(struct device *device, int number);
uint32_t ring_next(const struct netmap_ring *ring, uint32_t slot);
/* Gives the first slot back. */
void ring_advance(struct netmap_ring *ring);
/* Where a slot's buffer begins. */
char *device_buffer(struct device *device, uint32_t index);
/* A pst slot's payload. */
char *device_payload(struct device *device, const struct netmap_slot *slot, uint32_t *length);
int slot_fd(const struct netmap_slot *slot);
/* Takes a buffer from the list of extra buffers; 0: there is none. */
uint32_t device_extra(struct device *device);

#endif
