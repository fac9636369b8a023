/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * flow.h -- captured payload of a port's connections, on its way into slots.
 *
 * One flow is one registered socket. Its captured buffers wait in order; flows with something
 * to deliver wait in a queue of their port and are drained flow by flow, so the slots of one
 * connection lie together in a batch. What it sends is in transmit.h.
 */
#ifndef PASTE_FLOW_H
#define PASTE_FLOW_H

#include "pool.h"

struct paste_kring;

/* The slot encoding cannot express a payload that starts later in its buffer, bytes. */
#define PASTE_PAYLOAD_START_MAX 1278u

/* Events of descriptors that are no flow, waiting for slots. */
#define PASTE_LOST_MAX 64u

struct paste_flow {
	struct paste_flow *next, *prev; /* in the list of flows with something to deliver */
	uint32_t fd;             /* the number that slots carry */
	uint32_t first, last;    /* captured buffers, linked by paste_buffer.next; 0: none */
	bool active;             /* is in that list */
	bool ended;              /* the end of stream is still to be delivered */
	bool end_seen;           /* it was delivered */
	uint16_t reset;          /* errno of a reset, to be delivered; 0: none */
	uint16_t send_error;     /* errno of a failed send, to be delivered; 0: none */

	/* of the port's struct paste_transmit */
	struct paste_flow *fd_next;                   /* flows whose fd hashes alike */
	struct paste_flow *ready_next, *ready_prev;   /* flows to be sent from */
	uint32_t send_first, send_last, send_count;   /* its entries; 0: none */
	uint32_t held_round;     /* the sync in which a slot of it had to wait */
	bool ready;              /* is in the list of flows to be sent from */
};

struct paste_lost {
	uint32_t fd;
	uint16_t error;
};

struct paste_flow_queue {
	struct paste_os_lock lock;
	struct paste_flow *head, *tail;
	uint32_t queued, limit; /* buffers in all flows */
	struct paste_pool *pool;
	bool frames; /* NIC ports: slots carry whole frames, offset and length as pushed */
	bool events; /* the application knows event codes */
	struct paste_lost lost[PASTE_LOST_MAX]; /* failed sends; FIFO */
	uint32_t lost_count;
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
/*
 * The peer ended its stream (error 0) or the connection is dead (an errno): one slot without
 * payload, after everything pushed before. A reset may follow an end.
 */
void paste_flow_end(struct paste_flow_queue *queue, struct paste_flow *flow, int error);
/* Something that was to be sent is not. Told only to who knows event codes. */
void paste_flow_send_failed(struct paste_flow_queue *queue, struct paste_flow *flow, int error);
/* The same for a descriptor that is no flow. False: no room, ask again after a drain. */
bool paste_flow_lost(struct paste_flow_queue *queue, uint32_t fd, int error);
/* Into kring's free slots, until these or the flows run out. Returns slots written. */
uint32_t paste_flow_drain(struct paste_flow_queue *queue, struct paste_kring *kring);
/* Forget the flow; its buffers return to the pool. */
void paste_flow_drop(struct paste_flow_queue *queue, struct paste_flow *flow);
bool paste_flow_pending(struct paste_flow_queue *queue);
/* Payload of this flow waits for slots. */
bool paste_flow_has_payload(struct paste_flow_queue *queue, const struct paste_flow *flow);

#endif
