/* SPDX-License-Identifier: BSD-2-Clause */
/* flow.c -- captured payload of a port's connections, on its way into slots */
#include "flow.h"
#include "kring.h"

#define DRAIN_BATCH 64u /* slots written under one hold of the locks */

void paste_flow_queue_init(struct paste_flow_queue *queue, struct paste_pool *pool,
			   uint32_t limit)
{
	memset(queue, 0, sizeof(*queue));
	paste_os_lock_init(&queue->lock);
	queue->pool = pool;
	queue->limit = limit;
}

bool paste_flow_has_room(const struct paste_flow_queue *queue)
{
	return PASTE_READ_ONCE(queue->queued) < queue->limit;
}

static void activate(struct paste_flow_queue *queue, struct paste_flow *flow)
{
	if (flow->active)
		return;
	flow->active = true;
	flow->next = NULL;
	flow->prev = queue->tail;
	if (queue->tail)
		queue->tail->next = flow;
	else
		queue->head = flow;
	queue->tail = flow;
}

static void deactivate(struct paste_flow_queue *queue, struct paste_flow *flow)
{
	if (flow->prev)
		flow->prev->next = flow->next;
	else
		queue->head = flow->next;
	if (flow->next)
		flow->next->prev = flow->prev;
	else
		queue->tail = flow->prev;
	flow->next = NULL;
	flow->prev = NULL;
	flow->active = false;
}

void paste_flow_push(struct paste_flow_queue *queue, struct paste_flow *flow, uint32_t index,
		     uint16_t offset, uint16_t length)
{
	struct paste_buffer *buffer = &queue->pool->buffers[index];

	/* QUEUED: these fields are the flow's. */
	buffer->offset = offset;
	buffer->length = length;
	buffer->next = 0;
	paste_os_lock(&queue->lock);
	if (flow->first != 0)
		queue->pool->buffers[flow->last].next = index;
	else
		flow->first = index;
	flow->last = index;
	PASTE_WRITE_ONCE(queue->queued, queue->queued + 1);
	activate(queue, flow);
	paste_os_unlock(&queue->lock);
}

void paste_flow_end(struct paste_flow_queue *queue, struct paste_flow *flow, int error)
{
	paste_os_lock(&queue->lock);
	if (error != 0 && queue->events)
		flow->reset = (uint16_t)error;
	else if (!flow->end_seen)
		flow->ended = true;
	if (flow->ended || flow->reset != 0)
		activate(queue, flow);
	paste_os_unlock(&queue->lock);
}

void paste_flow_send_failed(struct paste_flow_queue *queue, struct paste_flow *flow, int error)
{
	paste_os_lock(&queue->lock);
	if (queue->events) {
		flow->send_error = (uint16_t)error;
		activate(queue, flow);
	}
	paste_os_unlock(&queue->lock);
}

bool paste_flow_lost(struct paste_flow_queue *queue, uint32_t fd, int error)
{
	struct paste_lost lost = { .fd = fd, .error = (uint16_t)error };
	bool room;

	paste_os_lock(&queue->lock);
	room = queue->lost_count < PASTE_LOST_MAX || !queue->events;
	if (room && queue->events)
		queue->lost[queue->lost_count++] = lost;
	paste_os_unlock(&queue->lock);
	return room;
}

/* A slot's ptr and len for payload at start: netmap offset, descriptor, payload start. */
static uint64_t encode(const struct paste_flow_queue *queue, uint32_t fd, uint32_t start,
		       uint32_t length, uint16_t *len)
{
	uint32_t offset = queue->pool->frame_offset;

	if (queue->frames) {
		*len = (uint16_t)length;
		return start;
	}
	if (offset > start)
		offset = start;
	if (start - offset > PST_DOFF_MASK)
		offset = start - (uint32_t)PST_DOFF_MASK;
	*len = (uint16_t)(start - offset + length);
	return (offset & PST_OFFSET_MASK) | (uint64_t)fd << PST_FD_SHIFT |
	       (uint64_t)(start - offset) << PST_DOFF_SHIFT;
}

static void deliver_first(struct paste_flow_queue *queue, struct paste_flow *flow,
			  struct paste_kring *kring)
{
	uint32_t index = flow->first;
	const struct paste_buffer *buffer = &queue->pool->buffers[index];
	uint16_t len;
	uint64_t ptr = encode(queue, flow->fd, buffer->offset, buffer->length, &len);

	flow->first = buffer->next;
	PASTE_WRITE_ONCE(queue->queued, queue->queued - 1);
	paste_kring_rx_publish(kring, index, len, ptr);
}

static bool deliver_event(struct paste_flow_queue *queue, struct paste_kring *kring,
			  uint32_t fd, uint32_t code, uint32_t error)
{
	uint16_t len, flags = 0;
	uint64_t ptr = encode(queue, fd, queue->pool->frame_offset, 0, &len);

	if (queue->events) {
		flags = (uint16_t)((code & PST_EVENT_MASK) << PST_EVENT_SHIFT);
		ptr |= (error & PST_ERRNO_MASK) << PST_ERRNO_SHIFT;
	}
	return paste_kring_rx_publish_own(kring, len, flags, ptr);
}

static bool has_event(const struct paste_flow *flow)
{
	return flow->ended || flow->reset != 0 || flow->send_error != 0;
}

/* The next event of a flow without payload. False: no buffer for it. */
static bool deliver_flow_event(struct paste_flow_queue *queue, struct paste_flow *flow,
			       struct paste_kring *kring)
{
	bool done;

	if (flow->send_error != 0) {
		done = deliver_event(queue, kring, flow->fd, PST_EVENT_SEND_FAILED,
				     flow->send_error);
		if (done)
			flow->send_error = 0;
	} else if (flow->ended) {
		done = deliver_event(queue, kring, flow->fd, PST_EVENT_END, 0);
		if (done) {
			flow->ended = false;
			flow->end_seen = true;
		}
	} else {
		done = deliver_event(queue, kring, flow->fd, PST_EVENT_RESET, flow->reset);
		if (done)
			flow->reset = 0;
	}
	return done;
}

static void drain_lost(struct paste_flow_queue *queue, struct paste_kring *kring)
{
	uint32_t done = 0;

	paste_os_lock(&queue->lock);
	paste_pool_lock(queue->pool);
	while (done < queue->lost_count && paste_kring_rx_space(kring) != 0 &&
	       deliver_event(queue, kring, queue->lost[done].fd, PST_EVENT_SEND_FAILED,
			     queue->lost[done].error))
		done++;
	paste_pool_unlock(queue->pool);
	queue->lost_count -= done;
	memmove(queue->lost, queue->lost + done, queue->lost_count * sizeof(queue->lost[0]));
	paste_os_unlock(&queue->lock);
}

/*
 * What the flow at the head of the queue has, *left slots at most. Under the queue's lock and the
 * pool's. False: nothing more can be done.
 */
static bool drain_head(struct paste_flow_queue *queue, struct paste_kring *kring, uint32_t *left)
{
	struct paste_flow *flow = queue->head;
	uint32_t space = paste_kring_rx_space(kring);
	bool stuck = false;

	if (!flow || space == 0)
		return false;
	if (*left > space)
		*left = space;
	for (; *left > 0 && flow->first != 0; --*left)
		deliver_first(queue, flow, kring);
	for (; *left > 0 && has_event(flow) && !stuck; --*left)
		stuck = !deliver_flow_event(queue, flow, kring);
	if (flow->first == 0 && !has_event(flow)) {
		deactivate(queue, flow);
	} else if (stuck || paste_kring_rx_space(kring) == 0) {
		/* The ring is full: next time the others come first. */
		deactivate(queue, flow);
		activate(queue, flow);
	}
	return !stuck;
}

uint32_t paste_flow_drain(struct paste_flow_queue *queue, struct paste_kring *kring)
{
	uint32_t left, before = paste_kring_rx_space(kring);
	bool more = true;

	drain_lost(queue, kring);
	while (more) {
		left = DRAIN_BATCH;
		paste_os_lock(&queue->lock);
		paste_pool_lock(queue->pool);
		while (more && left > 0)
			more = drain_head(queue, kring, &left);
		paste_pool_unlock(queue->pool);
		paste_os_unlock(&queue->lock);
	}
	return before - paste_kring_rx_space(kring);
}

void paste_flow_drop(struct paste_flow_queue *queue, struct paste_flow *flow)
{
	uint32_t index, next;

	paste_os_lock(&queue->lock);
	if (flow->active)
		deactivate(queue, flow);
	for (index = flow->first; index != 0; index = next) {
		next = queue->pool->buffers[index].next;
		paste_pool_release(queue->pool, index, PASTE_QUEUED);
		PASTE_WRITE_ONCE(queue->queued, queue->queued - 1);
	}
	flow->first = 0;
	flow->ended = false;
	flow->reset = 0;
	flow->send_error = 0;
	paste_os_unlock(&queue->lock);
}

bool paste_flow_has_payload(struct paste_flow_queue *queue, const struct paste_flow *flow)
{
	bool has;

	paste_os_lock(&queue->lock);
	has = flow->first != 0;
	paste_os_unlock(&queue->lock);
	return has;
}

bool paste_flow_pending(struct paste_flow_queue *queue)
{
	bool pending;

	paste_os_lock(&queue->lock);
	pending = queue->head != NULL || queue->lost_count != 0;
	paste_os_unlock(&queue->lock);
	return pending;
}
