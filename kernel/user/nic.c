/* SPDX-License-Identifier: BSD-2-Clause */
/* nic.c -- two NICs that receive what a test tells them to */
#include "check.h"
#include "fake.h"

#define NICS 2

struct paste_os_nic {
	const char *name;
	struct paste_port *port;
	uint32_t posted[FAKE_POSTED]; /* FIFO */
	uint32_t count;
	struct fake_frame {
		uint32_t index, offset;
		uint16_t length;
	} sending[FAKE_SENDING]; /* FIFO */
	uint32_t sending_count;
	bool ended; /* told to start sending */
	bool corked;
	unsigned int kicks;
	char sent[4096], injected[4096];
	uint16_t injected_length;
};

static struct paste_os_nic nics[NICS] = { { .name = "eth0" }, { .name = "eth1" } };

static struct paste_os_nic *find(const char *name)
{
	int i;

	for (i = 0; i < NICS; i++)
		if (strcmp(nics[i].name, name) == 0)
			return &nics[i];
	return NULL;
}

void fake_nic_reset(void)
{
	int i;

	for (i = 0; i < NICS; i++)
		CHECK(nics[i].port == NULL && nics[i].count == 0 && nics[i].sending_count == 0);
}

int paste_os_nic_exists(const char *name)
{
	return find(name) ? 0 : ENXIO;
}

int paste_os_nic_attach(struct paste_port *port, const char *name, struct paste_os_nic **result)
{
	struct paste_os_nic *nic = find(name);

	if (!nic)
		return ENXIO;
	if (nic->port)
		return EBUSY;
	if (fake_may_fail())
		return ENOMEM;
	paste_pool_get(port->pool);
	nic->port = port;
	*result = nic;
	paste_os_nic_refill(nic);
	return 0;
}

void paste_os_nic_detach(struct paste_port *port, struct paste_os_nic *nic)
{
	struct paste_pool *pool = port->pool;

	CHECK(nic->port == port);
	while (nic->count > 0)
		CHECK(paste_pool_release(pool, nic->posted[--nic->count], PASTE_DEVICE));
	while (nic->sending_count > 0)
		CHECK(paste_pool_release(pool, nic->sending[--nic->sending_count].index,
					 PASTE_DEVICE));
	nic->port = NULL;
	paste_pool_put(pool);
}

void paste_os_nic_refill(struct paste_os_nic *nic)
{
	uint32_t index;

	while (nic->count < FAKE_POSTED) {
		index = paste_pool_take(nic->port->pool, PASTE_DEVICE);
		if (index == 0)
			return;
		nic->posted[nic->count++] = index;
	}
}

uint32_t fake_nic_posted(const char *name)
{
	return find(name)->count + find(name)->sending_count;
}

int paste_os_nic_send(struct paste_os_nic *nic, uint32_t index, uint32_t offset,
		      uint16_t length)
{
	CHECK(length > 0 && offset + length <= nic->port->pool->buf_size);
	if (nic->sending_count == FAKE_SENDING)
		return EAGAIN;
	if (length > 1514)
		return EMSGSIZE;
	nic->sending[nic->sending_count++] = (struct fake_frame){ index, offset, length };
	nic->ended = false;
	return 0;
}

void paste_os_nic_send_end(struct paste_os_nic *nic)
{
	nic->ended = true;
}

/* Frames are passed on when they come. */
void paste_os_nic_receive(struct paste_os_nic *nic)
{
	CHECK(nic->port && nic->port->kind == PASTE_PORT_PST);
}

void paste_os_nic_cork(struct paste_os_nic *nic)
{
	CHECK(!nic->corked);
	nic->corked = true;
}

void paste_os_nic_uncork(struct paste_os_nic *nic)
{
	CHECK(nic->corked);
	nic->corked = false;
	nic->kicks++;
}

unsigned int fake_kicks(const char *name)
{
	return find(name)->kicks;
}

int paste_os_nic_inject(struct paste_os_nic *nic, const void *frame, uint16_t length)
{
	memcpy(nic->injected, frame, length);
	nic->injected_length = length;
	return 0;
}

const char *fake_sent(const char *name, uint16_t *length)
{
	struct paste_os_nic *nic = find(name);
	struct fake_frame *frame = &nic->sending[0];
	struct paste_pool *pool = nic->port->pool;

	if (nic->sending_count == 0 || !nic->ended)
		return NULL;
	*length = frame->length;
	memcpy(nic->sent, (char *)paste_pool_address(pool, frame->index) + frame->offset,
	       frame->length);
	CHECK(paste_pool_move(pool, frame->index, PASTE_DEVICE, PASTE_SLOT));
	paste_os_port_wake(nic->port);
	nic->sending_count--;
	memmove(frame, frame + 1, nic->sending_count * sizeof(*frame));
	return nic->sent;
}

const char *fake_injected(const char *name, uint16_t *length)
{
	struct paste_os_nic *nic = find(name);

	*length = nic->injected_length;
	nic->injected_length = 0;
	return nic->injected;
}

bool fake_stack_send(const char *name, const void *frame, uint16_t length)
{
	struct paste_port *port = find(name)->port;
	uint32_t index = paste_port_host_take(port);

	if (index == 0)
		return false;
	memcpy((char *)paste_pool_address(port->pool, index) + port->pool->frame_offset, frame,
	       length);
	paste_port_host_push(port, index, length);
	paste_os_port_wake(port);
	return true;
}

static uint32_t take_posted(struct paste_os_nic *nic)
{
	uint32_t index = nic->posted[0];

	nic->count--;
	memmove(nic->posted, nic->posted + 1, nic->count * sizeof(nic->posted[0]));
	return index;
}

/* A frame of a NIC port: all of it is the application's. */
static bool receive_frame(struct paste_os_nic *nic, uint32_t index, const void *frame,
			  uint16_t length)
{
	struct paste_pool *pool = nic->port->pool;

	memcpy((char *)paste_pool_address(pool, index) + pool->frame_offset, frame, length);
	if (!paste_port_receive(nic->port, index, length)) {
		nic->posted[nic->count++] = index;
		return false;
	}
	paste_os_port_wake(nic->port);
	paste_os_nic_refill(nic);
	return true;
}

bool fake_receive(const char *name, uint32_t fd, const void *payload, uint16_t length)
{
	struct paste_os_nic *nic = find(name);
	struct paste_pool *pool;
	uint32_t index;
	char *frame;

	CHECK(nic && nic->port);
	if (nic->count == 0)
		return false;
	pool = nic->port->pool;
	index = take_posted(nic);
	if (nic->port->kind == PASTE_PORT_NIC)
		return receive_frame(nic, index, payload, length);
	CHECK(pool->frame_offset + FAKE_HEADERS + length <= pool->buf_size);
	frame = (char *)paste_pool_address(pool, index) + pool->frame_offset;
	memset(frame, 0x48, FAKE_HEADERS);
	memcpy(frame + FAKE_HEADERS, payload, length);
	CHECK(paste_pool_lend(pool, index));
	fake_socket_deliver(fd, pool, index, (uint16_t)(pool->frame_offset + FAKE_HEADERS),
			    length);
	paste_os_nic_refill(nic);
	return true;
}
