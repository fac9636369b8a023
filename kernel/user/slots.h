/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * slots.h -- rings, slots and buffers as the user sees them.
 */
#ifndef PASTE_USER_SLOTS_H
#define PASTE_USER_SLOTS_H

#include <stdint.h>

#include "paste_abi.h"

/* Ring numbers of a NIC port; a pst port has TX and, after it, RX. */
enum { TX, HOST_TX, RX, HOST_RX };

/* The ring must be there. */
struct netmap_ring *ring_number(struct netmap_if *nifp, uint32_t number);
uint32_t ring_next(const struct netmap_ring *ring, uint32_t slot);
/* Gives the first slot back. */
void ring_advance(struct netmap_ring *ring);

/* A pst slot's socket. */
uint32_t slot_fd(const struct netmap_slot *slot);
/* Where a pst slot's payload is in its buffer; it lies inside. Its length in *length. */
char *slot_payload(const struct netmap_slot *slot, char *buffer, uint32_t buf_size,
		   uint32_t *length);

/* Takes a buffer from the list of extra buffers, of which buffers has all; 0: it is empty. */
uint32_t extra_take(struct netmap_if *nifp, const char *buffers, uint32_t buf_size);

#endif
