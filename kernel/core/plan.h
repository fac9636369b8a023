/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * plan.h -- what a REGISTER request asks for, checked and completed with defaults.
 *
 * A plan is made before anything is allocated; who holds one need not look at the request's
 * numbers again.
 */
#ifndef PASTE_PLAN_H
#define PASTE_PLAN_H

#include "port.h"
#include "request.h"

#define PASTE_SLOTS_DEFAULT 1024u

struct paste_plan {
	enum paste_port_kind kind;
	const char *nic;       /* NIC port: the NIC's name, inside the request */
	uint32_t tx_slots;     /* of each TX ring */
	uint32_t rx_slots;
	bool host;             /* host rings too */
	bool events;           /* event slots have codes */
	uint32_t extra;
	uint32_t frame_offset; /* a NIC writes frames from here, bytes */
	uint64_t offset_mask;  /* bits of a slot's ptr that are an offset */
};

/* EINVAL, EOPNOTSUPP as docs/abi.md says; also in the status of an option that is to blame. */
int paste_plan_make(struct paste_plan *plan, struct paste_request *request);
uint32_t paste_plan_rings(const struct paste_plan *plan);
/* Buffers that the rings hold. */
uint32_t paste_plan_ring_buffers(const struct paste_plan *plan);

#endif
