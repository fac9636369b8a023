/* SPDX-License-Identifier: BSD-2-Clause */
/* client.c -- the user's side of a descriptor */
#include "check.h"
#include "client.h"

#define PST "pst:0"

struct client_request *client_prepare(struct client *client, uint16_t type, const char *name)
{
	struct client_request *request = client->request;

	if (!request)
		request = client->request = fake_user(sizeof(*request));
	memset(request, 0, sizeof(*request));
	request->header.nr_version = NETMAP_API;
	request->header.nr_reqtype = type;
	request->header.nr_body = fake_address(&request->body);
	memcpy(request->header.nr_name, name, strlen(name) + 1);
	return request;
}

void client_option(struct client_request *request, struct nmreq_option *option, uint32_t type)
{
	option->nro_reqtype = type;
	option->nro_status = 0xdead;
	option->nro_next = request->header.nr_options;
	request->header.nr_options = fake_address(option);
}

int client_send(struct client *client)
{
	return paste_control(&client->desc, fake_address(client->request));
}

void client_prepare_register(struct client *client, const struct client_spec *spec)
{
	struct client_request *request =
		client_prepare(client, NETMAP_REQ_REGISTER, spec->name ? spec->name : PST);

	request->body.reg.nr_mode = NR_REG_ALL_NIC;
	request->body.reg.nr_rx_slots = spec->slots;
	request->body.reg.nr_tx_slots = spec->slots;
	request->body.reg.nr_flags = spec->flags;
	request->body.reg.nr_extra_bufs = spec->extra;
	if (spec->initial_offset) {
		client_option(request, &request->offsets.nro_opt, NETMAP_REQ_OPT_OFFSETS);
		request->offsets.nro_max_offset = spec->initial_offset;
		request->offsets.nro_initial_offset = spec->initial_offset;
		request->offsets.nro_offset_bits = PST_OFFSET_BITS;
	}
	if (spec->bitmap) {
		client_option(request, &request->reserve.nro_opt, PASTE_REQ_OPT_RESERVE);
		request->reserve.bitmap = fake_address(spec->bitmap);
		request->reserve.bits = spec->bits;
	}
	if (spec->kernel_rings)
		client_option(request, &request->kernel_rings.nro_opt,
			      PASTE_REQ_OPT_KERNEL_RINGS);
	if (spec->extmem) {
		client_option(request, &request->extmem.nro_opt, NETMAP_REQ_OPT_EXTMEM);
		request->extmem.nro_usrptr = fake_address(client->memory);
		request->extmem.nro_info.nr_memsize = spec->extmem;
		request->extmem.nro_info.nr_buf_pool_objsize = spec->buf_size;
	}
}

/* What mmap of the descriptor, or the user's own mapping, gives. */
void client_map(struct client *client)
{
	const struct paste_port *port = client->desc.port;
	char *rings = paste_os_region_address(port->rings_region ? port->rings_region :
								  port->pool->region);
	uint32_t rx;

	client->nifp = (struct netmap_if *)(rings + client->request->body.reg.nr_offset);
	client->tx = (struct netmap_ring *)((char *)client->nifp + client->nifp->ring_ofs[0]);
	rx = client->nifp->ni_tx_rings + client->nifp->ni_host_tx_rings;
	client->ring = (struct netmap_ring *)((char *)client->nifp + client->nifp->ring_ofs[rx]);
	client->buf_size = client->ring->nr_buf_size;
	if (port->rings_region)
		client->buffers = client->memory +
				  client->request->extmem.nro_info.nr_buf_pool_offset;
	else
		client->buffers = (char *)client->ring + client->ring->buf_ofs;
}

int client_reopen(struct client *client, const struct client_spec *spec)
{
	int error;

	client_prepare_register(client, spec);
	error = client_send(client);
	if (!error)
		client_map(client);
	return error;
}

int client_open(struct client *client, const struct client_spec *spec)
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

int client_attach(struct client *client, const char *name)
{
	struct client_request *request = client_prepare(client, NETMAP_REQ_PST_ATTACH, name);

	request->body.attach.reg.nr_mode = NR_REG_NIC_SW;
	return client_send(client);
}

int client_detach(struct client *client, const char *name)
{
	client_prepare(client, NETMAP_REQ_PST_DETACH, name);
	return client_send(client);
}

static int request_fd(struct client *client, uint16_t type, uint32_t fd)
{
	const char *name = client->desc.port ? client->desc.port->name : PST;
	struct client_request *request = client_prepare(client, type, name);

	request->body.pst_fd.fd = fd;
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

struct netmap_slot *client_slot(struct client *client)
{
	struct netmap_ring *ring = client->ring;

	return ring->head == ring->tail ? NULL : &ring->slot[ring->head];
}

void client_advance(struct client *client)
{
	struct netmap_ring *ring = client->ring;

	ring->head = ring->head + 1 == ring->num_slots ? 0 : ring->head + 1;
	ring->cur = ring->head;
}

char *client_buffer(struct client *client, uint32_t index)
{
	return client->buffers + (size_t)index * client->buf_size;
}

uint32_t client_slot_fd(const struct netmap_slot *slot)
{
	return (uint32_t)(slot->ptr >> PST_FD_SHIFT & PST_FD_MASK);
}

char *client_payload(struct client *client, const struct netmap_slot *slot, uint32_t *length)
{
	uint32_t offset = (uint32_t)(slot->ptr & PST_OFFSET_MASK);
	uint32_t start = (uint32_t)(slot->ptr >> PST_DOFF_SHIFT & PST_DOFF_MASK);

	CHECK(slot->len >= start);
	CHECK(offset + slot->len <= client->buf_size);
	*length = slot->len - start;
	return client_buffer(client, slot->buf_idx) + offset + start;
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
	uint32_t index = client->nifp->ni_bufs_head;

	if (index != 0)
		memcpy(&client->nifp->ni_bufs_head, client_buffer(client, index), sizeof(index));
	return index;
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
