/* SPDX-License-Identifier: BSD-2-Clause */
/* test_extmem.c -- the user's memory as pool: layout, kernel rings, reserved buffers, restart */
#include "check.h"
#include "client.h"

#define MIB 1048576u

static struct client client;

static int open_with(struct port_spec spec)
{
	fake_reset();
	return client_open(&client, &spec);
}

static struct nmreq_opt_extmem *prepare(uint64_t bytes)
{
	struct port_spec spec = { .extmem = bytes, .slots = 16 };

	fake_reset();
	memset(&client, 0, sizeof(client));
	client.memory = fake_user((size_t)bytes);
	client_prepare_register(&client, &spec);
	return &client.request->extmem;
}

/* if | ring | buf in the user's memory, each on a page; the answer says where. */
static void layout_of_netmap(void)
{
	const struct nmreq_pools_info *info;

	CHECK_EQUAL(open_with((struct port_spec){ .extmem = 4 * MIB, .slots = 512 }), 0);
	info = &client.request->extmem.nro_info;
	CHECK_EQUAL(info->nr_memsize, 4 * MIB);
	CHECK_EQUAL(info->nr_mem_id, client.request->body.reg.nr_mem_id);
	CHECK_EQUAL(info->nr_if_pool_offset, 0);
	CHECK(info->nr_if_pool_objtotal == 2 && info->nr_if_pool_objsize == 1024);
	CHECK_EQUAL(info->nr_ring_pool_offset, 4096);
	CHECK(info->nr_ring_pool_objtotal == 4 && info->nr_ring_pool_objsize == 20480);
	CHECK_EQUAL(info->nr_buf_pool_offset, 4096 + 4 * 20480);
	CHECK_EQUAL(info->nr_buf_pool_objsize, 2048);
	CHECK_EQUAL(info->nr_buf_pool_objtotal, (4 * MIB - info->nr_buf_pool_offset) / 2048);
	CHECK((char *)client.nifp == client.memory);
	CHECK((char *)client.tx == client.memory + info->nr_ring_pool_offset);
	CHECK((char *)client.ring == (char *)client.tx + 20480);
	CHECK(client.buffers == client.memory + info->nr_buf_pool_offset);
	client_finish(&client);
}

static void larger_ring_than_default(void)
{
	CHECK_EQUAL(open_with((struct port_spec){ .extmem = 20 * MIB, .slots = 4096 }), 0);
	CHECK_EQUAL(client.request->extmem.nro_info.nr_ring_pool_objsize, 256 + 16 * 4096);
	client_finish(&client);
}

static void kernel_rings(void)
{
	const struct nmreq_pools_info *info;

	CHECK_EQUAL(open_with((struct port_spec){ .extmem = 4 * MIB, .kernel_rings = true,
						    .buf_size = 4096, .slots = 256 }), 0);
	info = &client.request->extmem.nro_info;
	CHECK_EQUAL(info->nr_buf_pool_offset, 0);
	CHECK_EQUAL(info->nr_buf_pool_objtotal, 1024);
	CHECK_EQUAL(client.request->kernel_rings.rings_size, 4096 + 4 * 20480);
	CHECK_EQUAL(client.request->body.reg.nr_offset, 0);
	CHECK_EQUAL(client.ring->buf_ofs, 0);
	CHECK(client.buffers == client.memory);
	CHECK(client.desc.port->rings_region != NULL);
	client_finish(&client);
}

static void options_need_extmem(void)
{
	struct port_spec spec = { .slots = 16, .kernel_rings = true };
	uint64_t *bitmap;

	CHECK_EQUAL(open_with(spec), EINVAL);
	CHECK_EQUAL(client.request->kernel_rings.nro_opt.nro_status, EINVAL);
	fake_reset();
	bitmap = fake_user(8);
	spec = (struct port_spec){ .slots = 16, .bitmap = bitmap, .bits = 64 };
	CHECK_EQUAL(client_open(&client, &spec), EINVAL);
	CHECK_EQUAL(client.request->reserve.nro_opt.nro_status, EINVAL);
	client_finish(&client);
}

static void refused(struct nmreq_opt_extmem *extmem, int error)
{
	CHECK_EQUAL(client_send(&client), error);
	CHECK_EQUAL(extmem->nro_opt.nro_status, error);
}

static void bad_addresses_and_sizes(void)
{
	struct nmreq_opt_extmem *extmem = prepare(MIB);

	extmem->nro_usrptr += 8;
	refused(extmem, EINVAL);
	extmem->nro_usrptr = 0;
	refused(extmem, EINVAL);
	extmem->nro_usrptr = 1u << 30;
	refused(extmem, EFAULT);
	extmem = prepare(MIB);
	extmem->nro_info.nr_memsize = 0;
	refused(extmem, EINVAL);
	extmem->nro_info.nr_memsize = MIB - 8;
	refused(extmem, EINVAL);
	extmem->nro_info.nr_memsize = ~0ull << 12;
	refused(extmem, EFAULT);
	extmem = prepare(MIB);
	extmem->nro_info.nr_buf_pool_objsize = 1024;
	refused(extmem, EINVAL);
	extmem->nro_info.nr_buf_pool_objsize = 8192;
	refused(extmem, EINVAL);
	extmem = prepare(MIB);
	extmem->nro_info.nr_if_pool_objsize = 0xffffffff;
	refused(extmem, EINVAL);
	client_finish(&client);
}

static void does_not_fit(void)
{
	struct nmreq_opt_extmem *extmem = prepare(MIB);

	extmem->nro_info.nr_buf_pool_objtotal = 512; /* all of it; the rings want some */
	refused(extmem, ENOMEM);
	extmem = prepare(MIB);
	extmem->nro_info.nr_if_pool_objsize = 32;
	refused(extmem, ENOMEM);
	extmem = prepare(MIB);
	extmem->nro_info.nr_ring_pool_objsize = 256;
	refused(extmem, ENOMEM);
	extmem = prepare(MIB);
	extmem->nro_info.nr_ring_pool_objtotal = 0xffffffff;
	extmem->nro_info.nr_ring_pool_objsize = 1u << 24;
	refused(extmem, ENOMEM);
	extmem->nro_info.nr_ring_pool_objtotal = 6000; /* 120 MiB of kernel memory */
	extmem->nro_info.nr_ring_pool_objsize = 20480;
	request_option(client.request, &client.request->kernel_rings.nro_opt,
		      PASTE_REQ_OPT_KERNEL_RINGS);
	refused(extmem, ENOMEM);
	extmem = prepare(MIB);
	extmem->nro_info.nr_if_pool_objtotal = 1024; /* 1 MiB */
	refused(extmem, ENOMEM);
	extmem = prepare(MIB);
	extmem->nro_info.nr_buf_pool_objtotal = 33; /* 31 can be lent, 32 slots */
	refused(extmem, ENOMEM);
	extmem = prepare(MIB);
	extmem->nro_info.nr_buf_pool_objtotal = 34;
	CHECK_EQUAL(client_send(&client), 0);
	client_finish(&client);
}

static int reserve(uint64_t *bitmap, uint64_t bits)
{
	struct port_spec spec = { .extmem = MIB, .slots = 16, .extra = 1000,
				    .bitmap = bitmap, .bits = bits };

	return client_open(&client, &spec);
}

static uint64_t *new_bitmap(void)
{
	fake_reset();
	return fake_user(4096);
}

/* A reserved buffer is the application's before anybody else gets one. */
static void reserved_buffers(void)
{
	uint64_t *bitmap = new_bitmap();
	uint32_t index, i;

	bitmap[0] = 1ull << 2 | 1ull << 5 | 1ull << 63;
	bitmap[2] = 1;
	CHECK_EQUAL(reserve(bitmap, 129), 0);
	CHECK_EQUAL(client.request->body.reg.nr_extra_bufs,
		    client.desc.port->layout.buf_total - 2 - 32 - 4);
	for (i = 0; i < 16; i++) {
		index = client.ring->slot[i].buf_idx;
		CHECK(index != 2 && index != 5 && index != 63 && index != 128);
	}
	while ((index = client_extra_take(&client)) != 0)
		CHECK(index != 2 && index != 5 && index != 63 && index != 128);
	CHECK_EQUAL(client.desc.port->pool->buffers[128].owner, PASTE_APP);
	client_finish(&client);
}

static void bad_reservations(void)
{
	uint64_t *bitmap = new_bitmap();

	bitmap[0] = 1;
	CHECK_EQUAL(reserve(bitmap, 64), EINVAL);
	CHECK_EQUAL(client.request->reserve.nro_opt.nro_status, EINVAL);
	bitmap[0] = 2;
	CHECK_EQUAL(reserve(bitmap, 64), EINVAL);
	bitmap[0] = 0;
	CHECK_EQUAL(reserve(bitmap, 10000), EINVAL);
	CHECK_EQUAL(reserve(bitmap, ~0ull), EINVAL);
	CHECK_EQUAL(reserve((uint64_t *)(uintptr_t)8, 64), EFAULT);
	CHECK_EQUAL(reserve(bitmap, 0), 0);
	client_finish(&client);
	bitmap = new_bitmap();
	memset(bitmap, 0xff, 4096);
	bitmap[0] = ~3ull;
	CHECK_EQUAL(reserve(bitmap, 460), ENOMEM); /* nothing is left for the ring */
	client_finish(&client);
}

/* Nothing in the memory is believed: rings begin anew. */
static void dirty_memory(void)
{
	struct port_spec spec = { .extmem = MIB, .slots = 16 };

	CHECK_EQUAL(open_with(spec), 0);
	client_close(&client);
	memset(client.memory, 0xff, MIB);
	CHECK_EQUAL(client_reopen(&client, &spec), 0);
	CHECK(client.ring->head == 0 && client.ring->cur == 0 && client.ring->tail == 0);
	CHECK(client.ring->flags == 0 && client.nifp->ni_tx_rings == 1);
	CHECK_EQUAL(client_rxsync(&client), 0);
	client_finish(&client);
}

/* What the application kept is still there, and still its own, after a restart. */
static void restart(void)
{
	struct port_spec spec = { .extmem = 2 * MIB, .slots = 64, .extra = 8,
				    .kernel_rings = true };
	struct netmap_slot *slot;
	uint64_t *bitmap;
	uint32_t fd, kept, length, offset;

	CHECK_EQUAL(open_with(spec), 0);
	CHECK_EQUAL(client_attach(&client, "pst:eth0"), 0);
	fd = fake_socket(FAKE_CONNECTED);
	CHECK_EQUAL(client_register_socket(&client, fd), 0);
	CHECK(fake_receive("eth0", fd, "precious", 8));
	CHECK_EQUAL(client_rxsync(&client), 0);
	slot = client_slot(&client);
	offset = (uint32_t)(client_payload(&client, slot, &length) - client.memory);
	kept = slot->buf_idx;
	slot->buf_idx = client_extra_take(&client);
	ring_advance(client.ring);
	CHECK_EQUAL(client_rxsync(&client), 0);
	client_close(&client);
	bitmap = fake_user(128);
	bitmap[kept / 64] = 1ull << kept % 64;
	spec.bitmap = bitmap;
	spec.bits = 1024;
	CHECK_EQUAL(client_reopen(&client, &spec), 0);
	CHECK_EQUAL(client_attach(&client, "pst:eth0"), 0);
	CHECK_EQUAL(client_register_socket(&client, fd), 0);
	for (uint32_t i = 0; i < 3000; i++) {
		CHECK(fake_receive("eth0", fd, "overwrite", 9));
		CHECK_EQUAL(client_rxsync(&client), 0);
		CHECK(client_slot(&client)->buf_idx != kept);
		ring_advance(client.ring);
	}
	CHECK(memcmp(client.memory + offset, "precious", 8) == 0);
	/* Given up at last: swapped into a slot, it is the kernel's again. */
	CHECK(fake_receive("eth0", fd, "last", 4));
	CHECK_EQUAL(client_rxsync(&client), 0);
	client_slot(&client)->buf_idx = kept;
	ring_advance(client.ring);
	CHECK_EQUAL(client_rxsync(&client), 0);
	client_finish(&client);
}

int main(void)
{
	layout_of_netmap();
	larger_ring_than_default();
	kernel_rings();
	options_need_extmem();
	bad_addresses_and_sizes();
	does_not_fit();
	reserved_buffers();
	bad_reservations();
	dirty_memory();
	restart();
	return 0;
}
