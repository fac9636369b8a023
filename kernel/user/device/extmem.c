/* SPDX-License-Identifier: BSD-2-Clause */
/* extmem.c -- rows: the user's memory as pool */
#include <sys/mman.h>

#include "device.h"
#include "rows.h"

static struct device device;

static struct nmreq_opt_extmem *open_extmem(void)
{
	device = device_open();
	return &device_prepare_register(&device, &(struct port_spec){ EXTMEM(ANONYMOUS) })->
		extmem;
}

static void refused(int error)
{
	CHECK_EQUAL(device_send(&device), error);
	CHECK_EQUAL(device.request.extmem.nro_opt.nro_status, error);
	CHECK_EQUAL(device_rxsync(&device), ENXIO);
	device_close(&device);
}

/* if | ring | buf, each on a page; the answer says where, and there they are. */
static void layout(enum user_memory kind)
{
	const struct nmreq_pools_info *info = &device.request.extmem.nro_info;

	device_bind(&device, (struct port_spec){ EXTMEM(kind), .extra = 1 });
	CHECK_EQUAL(info->nr_memsize, DEVICE_MEMORY);
	CHECK_EQUAL(info->nr_mem_id, device.request.body.reg.nr_mem_id);
	CHECK_EQUAL(info->nr_if_pool_offset, 0);
	CHECK(info->nr_if_pool_objtotal == 2 && info->nr_if_pool_objsize == 1024);
	CHECK_EQUAL(info->nr_ring_pool_offset, PAGE);
	CHECK(info->nr_ring_pool_objtotal == 4 && info->nr_ring_pool_objsize == 20480);
	CHECK_EQUAL(info->nr_buf_pool_offset, PAGE + 4 * 20480);
	CHECK_EQUAL(info->nr_buf_pool_objsize, 2048);
	CHECK_EQUAL(info->nr_buf_pool_objtotal, (DEVICE_MEMORY - info->nr_buf_pool_offset) / 2048);
	CHECK((char *)device_ring(&device, 0) == device.memory + info->nr_ring_pool_offset);
	CHECK((char *)device.ring == (char *)device_ring(&device, 0) + 20480);
	CHECK(device.buffers == device.memory + info->nr_buf_pool_offset);
	CHECK(strcmp(device.nifp->ni_name, "pst:0") == 0 && device.ring->num_slots == 64);
	CHECK(device_extra(&device) >= 2);
	device.ring->tail = 63; /* both look at the same memory */
	CHECK_EQUAL(device_rxsync(&device), 0);
	CHECK_EQUAL(device.ring->tail, 0);
}

static void extmem_anonymous(void)
{
	layout(ANONYMOUS);
}

static void extmem_memfd(void)
{
	layout(MEMFD);
}

static void extmem_nvdimm(void)
{
	layout(DEVDAX);
}

static void extmem_addresses(void)
{
	open_extmem()->nro_usrptr += 8;
	refused(EINVAL);
	open_extmem()->nro_usrptr = 0;
	refused(EINVAL);
	open_extmem()->nro_info.nr_memsize = 0;
	refused(EINVAL);
	open_extmem()->nro_info.nr_memsize = DEVICE_MEMORY - 8;
	refused(EINVAL);
}

static void extmem_not_the_users(void)
{
	open_extmem()->nro_usrptr = 1u << 30;
	refused(EFAULT);
	open_extmem()->nro_usrptr = 0xffff888000000000u;
	refused(EFAULT);
	open_extmem()->nro_info.nr_memsize = 1ull << 40;
	refused(EFAULT);
	open_extmem()->nro_info.nr_memsize = ~0ull << 12;
	refused(EFAULT);
	open_extmem(); /* read only */
	CHECK_EQUAL(mprotect(device.memory, DEVICE_MEMORY, PROT_READ), 0);
	refused(EFAULT);
	open_extmem(); /* a hole in the middle */
	CHECK_EQUAL(munmap(device.memory + MIB, MIB), 0);
	refused(EFAULT);
	open_extmem(); /* two mappings */
	CHECK_EQUAL(mprotect(device.memory, MIB, PROT_READ), 0);
	refused(EFAULT);
}

static void extmem_buffer_sizes(void)
{
	static const uint32_t good[] = { 0, 2048, 4096 }, bad[] = { 1, 1024, 2049, 8192, ~0u };
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		device_bind(&device, (struct port_spec){ EXTMEM(ANONYMOUS),
							   .buf_size = good[i] });
		CHECK_EQUAL(device.ring->nr_buf_size, good[i] ? good[i] : 2048);
		device_close(&device);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		open_extmem()->nro_info.nr_buf_pool_objsize = bad[i];
		refused(EINVAL);
	}
}

static void extmem_ring_objects(void)
{
	struct port_spec spec = { EXTMEM(ANONYMOUS), .kernel_rings = true, .slots = 1500 };

	device = device_open();
	device_prepare_register(&device, &spec)->body.reg.nr_tx_slots = 64;
	CHECK_EQUAL(device_send(&device), 0);
	device_map(&device);
	CHECK_EQUAL(device.request.extmem.nro_info.nr_ring_pool_objsize, 256 + 16 * 1500);
	CHECK_EQUAL(device.ring->num_slots, 1500);
}

static void extmem_large_objects(void)
{
	open_extmem()->nro_info.nr_if_pool_objsize = (16 << 20) + 1;
	refused(EINVAL);
	open_extmem()->nro_info.nr_ring_pool_objsize = 0xffffffff;
	refused(EINVAL);
}

static void extmem_does_not_fit(void)
{
	struct nmreq_opt_extmem *extmem;

	open_extmem()->nro_info.nr_buf_pool_objtotal = DEVICE_MEMORY / 2048;
	refused(ENOMEM);
	open_extmem()->nro_info.nr_if_pool_objsize = 32;
	refused(ENOMEM);
	open_extmem()->nro_info.nr_ring_pool_objsize = 256;
	refused(ENOMEM);
	open_extmem()->nro_info.nr_buf_pool_objtotal = 64;
	refused(ENOMEM);
	extmem = open_extmem();
	extmem->nro_info.nr_ring_pool_objtotal = 0xffffffff;
	extmem->nro_info.nr_ring_pool_objsize = 1u << 24;
	refused(ENOMEM);
	open_extmem()->nro_info.nr_memsize = PAGE;
	refused(ENOMEM);
}

static bool is_in_ring(uint32_t index)
{
	uint32_t i;

	for (i = 0; i < device.ring->num_slots; i++)
		if (device.ring->slot[i].buf_idx == index)
			return true;
	return false;
}

/* Nothing in it is believed; buffers keep their bytes. */
static void extmem_dirty(void)
{
	uint32_t index, extra, total;

	device = device_open();
	device.memory = device_memory(DEVDAX);
	memset(device.memory, 0xff, DEVICE_MEMORY);
	device_prepare_register(&device, &(struct port_spec){ EXTMEM(DEVDAX), .extra = 1 });
	CHECK_EQUAL(device_send(&device), 0);
	device_map(&device);
	CHECK(device.ring->head == 0 && device.ring->cur == 0 && device.ring->tail == 0);
	CHECK(device.ring->flags == 0 && device.nifp->ni_tx_rings == 1);
	CHECK_EQUAL(device_rxsync(&device), 0);
	extra = device.nifp->ni_bufs_head;
	total = device.request.extmem.nro_info.nr_buf_pool_objtotal;
	for (index = 0; index < total; index++) {
		char *buffer = device_buffer(&device, index);
		uint32_t from = index == extra ? 4 : 0;

		CHECK(!is_in_ring(index) || index >= 2);
		while (from < 2048)
			CHECK(buffer[from++] == (char)0xff);
	}
}

const struct row rows_extmem[] = {
	{ "extmem_anonymous", extmem_anonymous },
	{ "extmem_memfd", extmem_memfd },
	{ "extmem_nvdimm", extmem_nvdimm },
	{ "extmem_addresses", extmem_addresses },
	{ "extmem_not_the_users", extmem_not_the_users },
	{ "extmem_buffer_sizes", extmem_buffer_sizes },
	{ "extmem_ring_objects", extmem_ring_objects },
	{ "extmem_large_objects", extmem_large_objects },
	{ "extmem_does_not_fit", extmem_does_not_fit },
	{ "extmem_dirty", extmem_dirty },
	{ 0 },
};
