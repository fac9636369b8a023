/* SPDX-License-Identifier: BSD-2-Clause */
/* client.c -- the user's side of a descriptor */
#include "check.h"
#include "client.h"

struct request *client_prepare(struct client *client, uint16_t type, const char *name)
{
	if (!client->request)
		client->request = fake_user(sizeof(*client->request));
	request_start(client->request, type, name);
	return client->request;
}

int client_send(struct client *client)
{
	return paste_control(&client->desc, fake_address(client->request));
}

struct request *client_prepare_register(struct client *client, const struct port_spec *spec)
{
	client_prepare(client, NETMAP_REQ_REGISTER, "");
	request_register(client->request, spec, client->memory);
	return client->request;
}

/* What mmap of the descriptor, or the user's own mapping, gives. */
void client_map(struct client *client)
{
	const struct paste_port *port = client->desc.port;
	char *rings = paste_os_region_address(port->rings_region ? port->rings_region :
								  port->pool->region);

	client->nifp = (struct netmap_if *)(rings + client->request->body.reg.nr_offset);
	client->tx = ring_number(client->nifp, TX);
	client->ring = ring_number(client->nifp, client->nifp->ni_tx_rings +
						 client->nifp->ni_host_tx_rings);
	client->buf_size = client->ring->nr_buf_size;
	if (port->rings_region)
		client->buffers = client->memory +
				  client->request->extmem.nro_info.nr_buf_pool_offset;
	else
		client->buffers = (char *)client->ring + client->ring->buf_ofs;
}

int client_reopen(struct client *client, const struct port_spec *spec)
{
	int error;

	client_prepare_register(client, spec);
	error = client_send(client);
	if (!error)
		client_map(client);
	return error;
}

int client_open(struct client *client, const struct port_spec *spec)
{
	memset(client, 0, sizeof(*client));
	if (spec->extmem)
		client->memory = fake_user((size_t)spec->extmem);
	return client_reopen(client, spec);
}

void client_close(struct client *client)
{
	paste_desc_close(&client->desc);
}

void client_open_attached(struct client *client, const struct port_spec *spec)
{
	fake_reset();
	CHECK_EQUAL(client_open(client, spec), 0);
	CHECK_EQUAL(client_attach(client, "pst:eth0"), 0);
}

void client_open_nic(struct client *client, uint32_t mode, uint32_t initial_offset)
{
	struct port_spec spec = { .name = "netmap:eth0", .mode = mode, .slots = CLIENT_NIC_SLOTS,
				  .max_offset = initial_offset ? 255 : 0,
				  .initial_offset = initial_offset };

	fake_reset();
	CHECK_EQUAL(client_open(client, &spec), 0);
}

void client_finish(struct client *client)
{
	if (client->desc.port)
		client_check_conservation(client);
	client_close(client);
	fake_run_deferred();
	CHECK_EQUAL(fake_live(), 0);
}

int client_attach(struct client *client, const char *name)
{
	request_attach(client_prepare(client, NETMAP_REQ_PST_ATTACH, name), name);
	return client_send(client);
}

int client_detach(struct client *client, const char *name)
{
	client_prepare(client, NETMAP_REQ_PST_DETACH, name);
	return client_send(client);
}

static int request_fd(struct client *client, uint16_t type, uint32_t fd)
{
	const char *name = client->desc.port ? client->desc.port->name : "pst:0";

	request_socket(client_prepare(client, type, name), type, name, fd);
	return client_send(client);
}

int client_register_socket(struct client *client, uint32_t fd)
{
	return request_fd(client, NETMAP_REQ_PST_FD_REG, fd);
}

int client_unregister_socket(struct client *client, uint32_t fd)
{
	return request_fd(client, PASTE_REQ_FD_UNREG, fd);
}

uint32_t client_socket(struct client *client)
{
	uint32_t fd = fake_socket(FAKE_CONNECTED);

	CHECK_EQUAL(client_register_socket(client, fd), 0);
	return fd;
}

int client_rxsync(struct client *client)
{
	return paste_port_rxsync(client->desc.port);
}

int client_txsync(struct client *client)
{
	return paste_port_txsync(client->desc.port);
}

struct netmap_slot *client_slot(struct client *client)
{
	struct netmap_ring *ring = client->ring;

	return ring->head == ring->tail ? NULL : &ring->slot[ring->head];
}

char *client_buffer(struct client *client, uint32_t index)
{
	return client->buffers + (size_t)index * client->buf_size;
}

char *client_payload(struct client *client, const struct netmap_slot *slot, uint32_t *length)
{
	return slot_payload(slot, client_buffer(client, slot->buf_idx), client->buf_size, length);
}

uint32_t client_tx_buffers(struct client *client)
{
	return client->tx->num_slots - 1;
}

uint32_t client_extra_count(struct client *client)
{
	uint32_t index, count = 0;

	for (index = client->nifp->ni_bufs_head; index != 0; count++)
		memcpy(&index, client_buffer(client, index), sizeof(index));
	return count;
}

uint32_t client_extra_take(struct client *client)
{
	return extra_take(client->nifp, client->buffers, client->buf_size);
}

/* Slots of the kernel: their buffers are theirs, or being sent. */
static void count_slots(const struct paste_kring *kring, uint32_t *in_slots, uint32_t *sending)
{
	const struct paste_buffer *buffer;
	uint32_t i;

	for (i = 0; i < kring->num_slots; i++) {
		if (kring->slot_buf[i] == 0 || kring->slot_buf[i] == PASTE_SLOT_AS_IS ||
		    kring->slot_buf[i] == PASTE_SLOT_EMPTY)
			continue;
		buffer = &kring->pool->buffers[kring->slot_buf[i]];
		CHECK(buffer->owner == PASTE_SLOT || buffer->owner == PASTE_DEVICE);
		if (buffer->owner == PASTE_SLOT)
			++*in_slots;
		else
			++*sending;
	}
}

void client_check_conservation(struct client *client)
{
	const struct paste_port *port = client->desc.port;
	struct paste_pool *pool = port->pool;
	uint32_t count[PASTE_OWNERS] = { 0 };
	uint32_t index, i, free_list = 0, in_slots = 0, sending = 0, lent = 0;

	for (index = 2; index < pool->total; index++) {
		count[pool->buffers[index].owner]++;
		lent += pool->buffers[index].stack_refs != 0;
		CHECK(pool->buffers[index].stack_refs != 0 ||
		      pool->buffers[index].owner != PASTE_NONE);
	}
	CHECK_EQUAL(pool->lent, lent);
	for (i = 0; i < PASTE_OWNERS; i++)
		CHECK_EQUAL(paste_pool_count(pool, (enum paste_owner)i), count[i]);
	for (index = pool->free_head; index != 0; index = pool->buffers[index].next) {
		CHECK(pool->buffers[index].owner == PASTE_FREE);
		free_list++;
	}
	CHECK_EQUAL(free_list, count[PASTE_FREE]);
	count_slots(&port->rx, &in_slots, &sending);
	count_slots(&port->host_rx, &in_slots, &sending);
	CHECK_EQUAL(sending, 0);
	count_slots(&port->tx, &in_slots, &sending);
	count_slots(&port->host_tx, &in_slots, &sending);
	CHECK_EQUAL(in_slots, count[PASTE_SLOT]);
	CHECK_EQUAL(port->flows.queued + port->host_flows.queued, count[PASTE_QUEUED]);
	CHECK(!port->nic || fake_nic_posted(port->nic_name) == count[PASTE_DEVICE]);
}
