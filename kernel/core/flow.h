/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * flow.h -- captured payload of a port's connections, on its way into slots.
 *
 * One flow is one registered socket. Its captured buffers wait in order; flows with something
 * to deliver wait in a queue of their port and are drained flow by flow, so the slots of one
 * connection lie together in a batch.
 */
#ifndef PASTE_FLOW_H
#define PASTE_FLOW_H

#include "pool.h"

struct paste_kring;

/* The slot encoding cannot express a payload that starts later in its buffer, bytes. */
#define PASTE_PAYLOAD_START_MAX 1278u

struct paste_flow {
	struct paste_flow *next, *prev; /* in the list of flows with something to deliver */
	uint32_t fd;             /* the number that slots carry */
	uint32_t first, last;    /* captured buffers, linked by paste_buffer.next; 0: none */
	bool active;             /* is in that list */
	bool ended;              /* the end of stream is still to be delivered */
};

struct paste_flow_queue {
	struct paste_os_lock lock;
	struct paste_flow *head, *tail;
	uint32_t queued, limit; /* buffers in all flows */
	struct paste_pool *pool;
	bool frames; /* NIC ports: slots carry whole frames, offset and length as pushed */
};

void paste_flow_queue_init(struct paste_flow_queue *queue, struct paste_pool *pool,
			   uint32_t limit);

/* Room for another buffer? Asked before a capture, under no lock: a hint that errs by few. */
bool paste_flow_has_room(const struct paste_flow_queue *queue);
/*
 * index is QUEUED, its payload at offset (<= PASTE_PAYLOAD_START_MAX), length bytes (> 0).
 * Does not wake the port: the caller does, once per batch.
 */
void paste_flow_push(struct paste_flow_queue *queue, struct paste_flow *flow, uint32_t index,
		     uint16_t offset, uint16_t length);
/* The peer ended its stream: one slot without payload, after everything pushed before. */
void paste_flow_end(struct paste_flow_queue *queue, struct paste_flow *flow);
/* Into kring's free slots, until these or the flows run out. Returns slots written. */
uint32_t paste_flow_drain(struct paste_flow_queue *queue, struct paste_kring *kring);
/* Forget the flow; its buffers return to the pool. */
void paste_flow_drop(struct paste_flow_queue *queue, struct paste_flow *flow);
bool paste_flow_pending(struct paste_flow_queue *queue);

#endif
