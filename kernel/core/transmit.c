/* SPDX-License-Identifier: BSD-2-Clause */
/* transmit.c -- entries of flows: what accepted slots still have to send */
#include "transmit_slot.h"

#define ENTRIES_PER_SLOT 2u
#define FLOW_LIMIT       64u

int paste_transmit_init(struct paste_transmit *transmit, struct paste_pool *pool,
			struct paste_flow_queue *flows, uint32_t slots)
{
	uint32_t i;

	memset(transmit, 0, sizeof(*transmit));
	paste_os_lock_init(&transmit->lock);
	transmit->pool = pool;
	transmit->flows = flows;
	transmit->flow_limit = slots < FLOW_LIMIT ? slots : FLOW_LIMIT;
	transmit->entries_total = ENTRIES_PER_SLOT * slots;
	transmit->buckets = paste_os_alloc(PASTE_FLOW_BUCKETS * sizeof(struct paste_flow *));
	transmit->entries = paste_os_alloc((transmit->entries_total + 1) *
					   sizeof(struct paste_send));
	if (!transmit->buckets || !transmit->entries)
		return ENOMEM;
	for (i = transmit->entries_total; i > 0; i--) {
		transmit->entries[i].next = transmit->free_entry;
		transmit->free_entry = i;
	}
	return 0;
}

void paste_transmit_exit(struct paste_transmit *transmit)
{
	paste_os_free(transmit->entries);
	paste_os_free(transmit->buckets);
	memset(transmit, 0, sizeof(*transmit));
}

/* ------------------------------------------------------------------ lists, under the lock */

static void make_ready(struct paste_transmit *transmit, struct paste_flow *flow)
{
	if (flow->ready)
		return;
	flow->ready = true;
	flow->ready_next = NULL;
	flow->ready_prev = transmit->ready_tail;
	if (transmit->ready_tail)
		transmit->ready_tail->ready_next = flow;
	else
		transmit->ready_head = flow;
	transmit->ready_tail = flow;
}

static void make_unready(struct paste_transmit *transmit, struct paste_flow *flow)
{
	if (!flow->ready)
		return;
	if (flow->ready_prev)
		flow->ready_prev->ready_next = flow->ready_next;
	else
		transmit->ready_head = flow->ready_next;
	if (flow->ready_next)
		flow->ready_next->ready_prev = flow->ready_prev;
	else
		transmit->ready_tail = flow->ready_prev;
	flow->ready_next = NULL;
	flow->ready_prev = NULL;
	flow->ready = false;
}

static struct paste_flow **bucket(const struct paste_transmit *transmit, uint32_t fd)
{
	return &transmit->buckets[fd % PASTE_FLOW_BUCKETS];
}

struct paste_flow *paste_transmit_find(const struct paste_transmit *transmit, uint32_t fd)
{
	struct paste_flow *flow = *bucket(transmit, fd);

	while (flow && flow->fd != fd)
		flow = flow->fd_next;
	return flow;
}

bool paste_transmit_full(const struct paste_transmit *transmit, const struct paste_flow *flow)
{
	return flow->send_count >= transmit->flow_limit || transmit->free_entry == 0;
}

void paste_transmit_push(struct paste_transmit *transmit, struct paste_flow *flow,
			 const struct paste_send *send)
{
	uint32_t entry = transmit->free_entry;

	transmit->free_entry = transmit->entries[entry].next;
	transmit->entries_used++;
	transmit->entries[entry] = *send;
	transmit->entries[entry].next = 0;
	if (flow->send_first != 0)
		transmit->entries[flow->send_last].next = entry;
	else
		flow->send_first = entry;
	flow->send_last = entry;
	flow->send_count++;
	make_ready(transmit, flow);
}

/* Its buffer's reference is the caller's. */
static void unlink_front(struct paste_transmit *transmit, struct paste_flow *flow)
{
	uint32_t entry = flow->send_first;

	flow->send_first = transmit->entries[entry].next;
	flow->send_count--;
	transmit->entries[entry].next = transmit->free_entry;
	transmit->free_entry = entry;
	transmit->entries_used--;
}

static void drop_front(struct paste_transmit *transmit, struct paste_flow *flow)
{
	paste_pool_stack_put(transmit->pool, transmit->entries[flow->send_first].index);
	unlink_front(transmit, flow);
}

static uint32_t drop_all(struct paste_transmit *transmit, struct paste_flow *flow)
{
	uint32_t dropped = flow->send_count;

	while (flow->send_first != 0)
		drop_front(transmit, flow);
	transmit->lost += dropped;
	return dropped;
}

/* ------------------------------------------------------------------ flows */

void paste_transmit_join(struct paste_transmit *transmit, struct paste_flow *flow)
{
	struct paste_flow **head = bucket(transmit, flow->fd);

	paste_os_lock(&transmit->lock);
	flow->fd_next = *head;
	*head = flow;
	paste_os_unlock(&transmit->lock);
}

/* Under the lock. It may be gone already. */
static void unname(struct paste_transmit *transmit, struct paste_flow *flow)
{
	struct paste_flow **link = bucket(transmit, flow->fd);

	while (*link && *link != flow)
		link = &(*link)->fd_next;
	if (*link)
		*link = flow->fd_next;
}

void paste_transmit_stop(struct paste_transmit *transmit, struct paste_flow *flow)
{
	paste_os_lock(&transmit->lock);
	unname(transmit, flow);
	paste_os_unlock(&transmit->lock);
}

void paste_transmit_leave(struct paste_transmit *transmit, struct paste_flow *flow)
{
	paste_os_lock(&transmit->lock);
	unname(transmit, flow);
	drop_all(transmit, flow);
	make_unready(transmit, flow);
	paste_os_unlock(&transmit->lock);
}

void *paste_transmit_pop(struct paste_transmit *transmit, void *(*hold)(struct paste_flow *))
{
	struct paste_flow *flow;
	void *held = NULL;

	paste_os_lock(&transmit->lock);
	flow = transmit->ready_head;
	if (flow) {
		make_unready(transmit, flow);
		held = hold(flow);
	}
	paste_os_unlock(&transmit->lock);
	return held;
}

bool paste_transmit_ready(struct paste_transmit *transmit, struct paste_flow *flow)
{
	bool has;

	paste_os_lock(&transmit->lock);
	has = flow->send_first != 0;
	if (has)
		make_ready(transmit, flow);
	paste_os_unlock(&transmit->lock);
	return has;
}

/* Under the lock. */
static bool look_at_front(const struct paste_transmit *transmit, const struct paste_flow *flow,
			  struct paste_send *send)
{
	if (flow->send_first == 0)
		return false;
	*send = transmit->entries[flow->send_first];
	return true;
}

bool paste_transmit_front(struct paste_transmit *transmit, const struct paste_flow *flow,
			  struct paste_send *send)
{
	bool has;

	paste_os_lock(&transmit->lock);
	has = look_at_front(transmit, flow, send);
	paste_os_unlock(&transmit->lock);
	return has;
}

bool paste_transmit_sent(struct paste_transmit *transmit, struct paste_flow *flow,
			 uint16_t bytes, struct paste_send *next)
{
	struct paste_send *send;
	bool has;

	paste_os_lock(&transmit->lock);
	send = &transmit->entries[flow->send_first];
	if (bytes < send->length) {
		send->offset = (uint16_t)(send->offset + bytes);
		send->length = (uint16_t)(send->length - bytes);
	} else {
		drop_front(transmit, flow);
	}
	has = look_at_front(transmit, flow, next);
	paste_os_unlock(&transmit->lock);
	return has;
}

bool paste_transmit_lent(struct paste_transmit *transmit, struct paste_flow *flow,
			 struct paste_send *next)
{
	bool has;

	paste_os_lock(&transmit->lock);
	unlink_front(transmit, flow);
	has = look_at_front(transmit, flow, next);
	paste_os_unlock(&transmit->lock);
	return has;
}

void paste_transmit_fail(struct paste_transmit *transmit, struct paste_flow *flow, int error)
{
	uint32_t dropped;

	paste_os_lock(&transmit->lock);
	dropped = drop_all(transmit, flow);
	make_unready(transmit, flow);
	paste_os_unlock(&transmit->lock);
	if (dropped != 0 && error != 0)
		paste_flow_send_failed(transmit->flows, flow, error);
}
