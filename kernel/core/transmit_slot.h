/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * transmit_slot.h -- entries and flows, for who turns slots into them. All under the lock.
 */
#ifndef PASTE_TRANSMIT_SLOT_H
#define PASTE_TRANSMIT_SLOT_H

#include "transmit.h"

struct paste_flow *paste_transmit_find(const struct paste_transmit *transmit, uint32_t fd);
/* No room for another entry of the flow. */
bool paste_transmit_full(const struct paste_transmit *transmit, const struct paste_flow *flow);
/* A new last entry (there must be room); the flow is ready then. send->next is ignored. */
void paste_transmit_push(struct paste_transmit *transmit, struct paste_flow *flow,
			 const struct paste_send *send);

#endif
