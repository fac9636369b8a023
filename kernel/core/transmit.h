/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * transmit.h -- from TX slots to the sockets that they name.
 *
 *   TX ring --accept--> entries of its flow --os_socket_send--> TCP --last ACK--> pool
 *
 * A slot is accepted when its flow has room for one more entry and, unless the application
 * keeps the buffer, the pool has another one for the slot. An entry holds a stack reference of
 * its buffer. A slot that has to wait holds back the later slots of its flow, not those of
 * others, and the ring's tail: no more slots than the ring has can wait.
 *
 * Accepting happens in syncs, one at a time. Entries are taken from the front of a flow only
 * under its socket's lock. The lock here guards lists and entries; it nests inside that
 * one, and the flow queue's and the pool's nest inside it.
 */
#ifndef PASTE_TRANSMIT_H
#define PASTE_TRANSMIT_H

#include "flow.h"
#include "paste_abi.h"

#define PASTE_FLOW_BUCKETS 1024u

/* The rest of one slot. */
struct paste_send {
	uint32_t next;  /* the flow's next entry, or the next free one; 0: last */
	uint32_t index; /* of the buffer */
	uint16_t offset, length; /* in it, bytes */
};

struct paste_transmit {
	struct paste_os_lock lock;
	struct paste_pool *pool;
	struct paste_flow_queue *flows; /* where failures are told */
	struct paste_flow **buckets;    /* flows by fd, the newest first */
	struct paste_send *entries;     /* 0 is no entry */
	uint32_t free_entry;
	uint32_t entries_total, entries_used;
	uint32_t flow_limit;            /* entries of one flow */
	uint32_t round;                 /* counts attempts to accept */
	struct paste_flow *ready_head, *ready_tail;
	uint64_t lost; /* slots and entries that were never sent */
};

/* ENOMEM; paste_transmit_exit() may be called all the same. slots: of the TX ring. */
int paste_transmit_init(struct paste_transmit *transmit, struct paste_pool *pool,
			struct paste_flow_queue *flows, uint32_t slots);
/* After every flow has left. */
void paste_transmit_exit(struct paste_transmit *transmit);

/* The flow can be named by slots. Its fields of this file are zero. */
void paste_transmit_join(struct paste_transmit *transmit, struct paste_flow *flow);
/* Slots that name it find no flow from now on; what was accepted before is still to be sent. */
void paste_transmit_stop(struct paste_transmit *transmit, struct paste_flow *flow);
/* The same, and what it has to send is dropped. */
void paste_transmit_leave(struct paste_transmit *transmit, struct paste_flow *flow);

/*
 * Take what the user filled. EINVAL: head or cur out of bounds (nothing was taken), or some
 * slots were nonsense (these come back unsent). *accepted: slots taken.
 */
int paste_transmit_accept(struct paste_transmit *transmit, struct paste_kring *kring,
			  uint32_t *accepted);

/*
 * The next flow to send from leaves the list of these; hold is called for it under the lock,
 * so that it cannot end before. Returns what hold returned, NULL: there is none.
 */
void *paste_transmit_pop(struct paste_transmit *transmit, void *(*hold)(struct paste_flow *));
/* The socket has room again. False: it has nothing to send. */
bool paste_transmit_ready(struct paste_transmit *transmit, struct paste_flow *flow);

/* Under the socket's lock: the front entry; false: none. */
bool paste_transmit_front(struct paste_transmit *transmit, const struct paste_flow *flow,
			  struct paste_send *send);
/* The socket took bytes of it. Then the front entry, as above. */
bool paste_transmit_sent(struct paste_transmit *transmit, struct paste_flow *flow,
			 uint16_t bytes, struct paste_send *next);
/* The socket took the front entry whole, and with it the reference of its buffer; likewise. */
bool paste_transmit_lent(struct paste_transmit *transmit, struct paste_flow *flow,
			 struct paste_send *next);
/*
 * The socket will never take what the flow has: it is dropped, and the application is told,
 * unless error is 0.
 */
void paste_transmit_fail(struct paste_transmit *transmit, struct paste_flow *flow, int error);

#endif
