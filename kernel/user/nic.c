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
		CHECK(nics[i].port == NULL && nics[i].count == 0);
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
	return find(name)->count;
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
	index = nic->posted[0];
	nic->count--;
	memmove(nic->posted, nic->posted + 1, nic->count * sizeof(nic->posted[0]));
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
