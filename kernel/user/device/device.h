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
#include "nmreq.h"
#include "slots.h"

#define PAGE 4096u
#define MIB  1048576u

#define NVDIMM "/dev/dax0.0"

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

#define DEVICE_MEMORY (4 * MIB)
/* In a struct port_spec: memory of this kind. */
#define EXTMEM(of)    .extmem = DEVICE_MEMORY, .kind = (of)

/* User memory of DEVICE_MEMORY bytes. */
char *device_memory(enum user_memory kind);

/* A descriptor that is bound to nothing. */
struct device device_open(void);
void device_close(struct device *device);

struct request *device_prepare(struct device *device, uint16_t type, const char *name);
int device_send(struct device *device);

/* A REGISTER request, to be spoilt. If spec wants extmem, it is of DEVICE_MEMORY; slots 0: 64. */
struct request *device_prepare_register(struct device *device, const struct port_spec *spec);
/* The same, sent; rings and buffers are mapped if it worked. */
int device_register(struct device *device, const struct port_spec *spec);
/* The same, and it must work. */
void device_bind(struct device *device, struct port_spec spec);
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
/* Where a slot's buffer begins. */
char *device_buffer(struct device *device, uint32_t index);
/* A pst slot's payload. */
char *device_payload(struct device *device, const struct netmap_slot *slot, uint32_t *length);
/* Takes a buffer from the list of extra buffers; 0: there is none. */
uint32_t device_extra(struct device *device);

#endif
