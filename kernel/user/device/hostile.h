/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hostile.h -- a user who does nothing right: spoilt requests and scribbled rings.
 */
#ifndef PASTE_DEVICE_HOSTILE_H
#define PASTE_DEVICE_HOSTILE_H

#include "device.h"

/* A descriptor, and its rings as they were when it was bound. */
struct victim {
	struct device device;
	struct netmap_ring *rings[4];
	uint32_t slots[4];
};

#define VICTIMS 4u
#define SOCKETS 16u

/* One hostile process. */
struct hostile {
	struct check_random random;
	struct victim victims[VICTIMS];
	int sockets[SOCKETS];
	char *memory; /* the pool that every request names */
};

/* Fills a request that might work, and often spoils it. */
void hostile_request(struct hostile *hostile, struct device *device);
/* Finds the rings of a victim that has just been bound. */
void hostile_find_rings(struct victim *victim);
/* Writes rubbish, or nearly the right thing, into a victim's rings. */
void hostile_scribble(struct victim *victim, struct check_random *random);

#endif
