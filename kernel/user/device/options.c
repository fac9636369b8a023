/* SPDX-License-Identifier: BSD-2-Clause */
/* options.c -- rows: options of REGISTER beside the memory itself */
#include "device.h"
#include "rows.h"

static struct device device;

static void unsupported_options(void)
{
	static const uint32_t types[] = { NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, NETMAP_REQ_OPT_CSB,
					  NETMAP_REQ_OPT_SYNC_KLOOP_MODE };
	struct request *request;
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		device = device_open();
		request = device_prepare_register(&device, &(struct port_spec){ 0 });
		request_option(request, &request->offsets.nro_opt, types[i]);
		CHECK_EQUAL(device_send(&device), EOPNOTSUPP);
		CHECK_EQUAL(request->offsets.nro_opt.nro_status, EOPNOTSUPP);
		device_close(&device);
	}
}

static int takes_offsets(const char *name, uint64_t max, uint64_t initial, uint32_t bits)
{
	struct port_spec spec = { .name = name, .max_offset = 1 };
	struct request *request;
	int error;

	device = device_open();
	request = device_prepare_register(&device, &spec);
	request->offsets.nro_max_offset = max;
	request->offsets.nro_initial_offset = initial;
	request->offsets.nro_offset_bits = bits;
	error = device_send(&device);
	CHECK_EQUAL(request->offsets.nro_opt.nro_status, error);
	if (!error)
		device_map(&device);
	return error;
}

static void offsets_of_pst(void)
{
	CHECK_EQUAL(takes_offsets("pst:0", 255, 64, 8), 0);
	CHECK_EQUAL(device.ring->offset_mask, PST_OFFSET_MASK);
	device_close(&device);
	CHECK_EQUAL(takes_offsets("pst:0", 255, 255, 0), 0);
	device_close(&device);
	CHECK_EQUAL(takes_offsets("pst:0", 256, 0, 8), EINVAL);
	CHECK_EQUAL(takes_offsets("pst:0", 63, 0, 7), EINVAL);
	CHECK_EQUAL(takes_offsets("pst:0", 63, 0, 64), EINVAL);
}

static void offsets_of_nics(void)
{
	CHECK_EQUAL(takes_offsets("eth0", 2048, 512, 0), 0);
	CHECK_EQUAL(device.ring->offset_mask, ~0ull);
	device_close(&device);
	CHECK_EQUAL(takes_offsets("eth0", 1023, 0, 10), 0);
	CHECK_EQUAL(device.ring->offset_mask, 1023);
	device_close(&device);
	CHECK_EQUAL(takes_offsets("eth0", 1024, 0, 10), EINVAL);
	CHECK_EQUAL(takes_offsets("eth0", 2049, 0, 0), EINVAL);
	CHECK_EQUAL(takes_offsets("eth0", 10, 0, 65), EINVAL);
}

static void offsets_and_room(void)
{
	CHECK_EQUAL(takes_offsets("pst:0", 63, 64, 8), EINVAL);
	CHECK_EQUAL(takes_offsets("eth0", 10, 11, 0), EINVAL);
	CHECK_EQUAL(takes_offsets("eth0", 2048, 513, 0), EINVAL);
}

static void offsets_aligned(void)
{
	struct port_spec spec = { .max_offset = 63 };
	struct request *request;

	device = device_open();
	request = device_prepare_register(&device, &spec);
	request->offsets.nro_tx_align = 64;
	CHECK_EQUAL(device_send(&device), EOPNOTSUPP);
	request->offsets.nro_tx_align = 0;
	request->offsets.nro_min_gap = 64;
	CHECK_EQUAL(device_send(&device), EOPNOTSUPP);
}

#define BITS 2048u

static int reserves(const uint64_t *bitmap, uint64_t bits)
{
	struct port_spec spec = { EXTMEM(DEVDAX), .kernel_rings = true, .extra = 5000,
				    .bitmap = bitmap, .bits = bits };

	return device_register(&device, &spec);
}

static void expect_not(uint32_t index)
{
	CHECK(index >= 2 && index < BITS);
	CHECK(index != 2 && index != 5 && index != 63 && index != 128);
}

/* Reserved buffers keep their bytes and are nobody else's, also after a restart. */
static void reserve(void)
{
	uint64_t bitmap[BITS / 64] = { 1ull << 2 | 1ull << 5 | 1ull << 63, 0, 1 };
	uint32_t index, i, round;

	for (round = 0; round < 2; round++) {
		CHECK_EQUAL(reserves(bitmap, 129), 0);
		CHECK_EQUAL(device.request.body.reg.nr_extra_bufs, BITS - 2 - 2 * 64 - 4);
		for (i = 0; i < 64; i++)
			expect_not(device.ring->slot[i].buf_idx);
		while ((index = device_extra(&device)) != 0)
			expect_not(index);
		if (round == 0)
			memset(device_buffer(&device, 128), 0x77, 2048);
		for (i = 0; i < 2048; i++)
			CHECK_EQUAL(device_buffer(&device, 128)[i], 0x77);
		device_close(&device);
	}
}

static void reserve_bits(void)
{
	uint64_t bitmap[BITS / 64 + 1] = { 1 };

	CHECK_EQUAL(reserves(bitmap, 64), EINVAL);
	CHECK_EQUAL(device.request.reserve.nro_opt.nro_status, EINVAL);
	device_close(&device);
	bitmap[0] = 2;
	CHECK_EQUAL(reserves(bitmap, 64), EINVAL);
	device_close(&device);
	bitmap[0] = 0;
	CHECK_EQUAL(reserves(bitmap, BITS + 1), EINVAL);
	device_close(&device);
	CHECK_EQUAL(reserves(bitmap, ~0ull), EINVAL);
	device_close(&device);
	CHECK_EQUAL(reserves((void *)8, 64), EFAULT);
	device_close(&device);
	CHECK_EQUAL(reserves(bitmap, BITS), 0);
}

static void reserve_all(void)
{
	uint64_t bitmap[BITS / 64];

	memset(bitmap, 0xff, sizeof(bitmap));
	bitmap[0] = ~3ull;
	CHECK_EQUAL(reserves(bitmap, BITS), ENOMEM);
	device_close(&device);
	CHECK_EQUAL(reserves(bitmap, BITS - 127), ENOMEM);
	device_close(&device);
	CHECK_EQUAL(reserves(bitmap, BITS - 128), 0);
}

static void kernel_rings(void)
{
	device_bind(&device, (struct port_spec){ EXTMEM(MEMFD), .kernel_rings = true,
						   .buf_size = 4096, .slots = 256 });
	CHECK_EQUAL(device.request.extmem.nro_info.nr_buf_pool_offset, 0);
	CHECK_EQUAL(device.request.extmem.nro_info.nr_buf_pool_objtotal, 1024);
	CHECK_EQUAL(device.request.kernel_rings.rings_size, PAGE + 4 * 20480);
	CHECK_EQUAL(device.request.body.reg.nr_offset, 0);
	CHECK_EQUAL(device.ring->buf_ofs, 0);
	CHECK(device.buffers == device.memory);
}

static void options_need_extmem(void)
{
	uint64_t bitmap = 0;
	struct port_spec rings = { .kernel_rings = true };
	struct port_spec reserved = { .bitmap = &bitmap, .bits = 64 };

	CHECK_EQUAL(device_register(&device, &rings), EINVAL);
	CHECK_EQUAL(device.request.kernel_rings.nro_opt.nro_status, EINVAL);
	device_close(&device);
	CHECK_EQUAL(device_register(&device, &reserved), EINVAL);
	CHECK_EQUAL(device.request.reserve.nro_opt.nro_status, EINVAL);
}

const struct row rows_options[] = {
	{ "unsupported_options", unsupported_options },
	{ "offsets_of_pst", offsets_of_pst },
	{ "offsets_of_nics", offsets_of_nics },
	{ "offsets_and_room", offsets_and_room },
	{ "offsets_aligned", offsets_aligned },
	{ "reserve", reserve },
	{ "reserve_bits", reserve_bits },
	{ "reserve_all", reserve_all },
	{ "kernel_rings", kernel_rings },
	{ "options_need_extmem", options_need_extmem },
	{ 0 },
};
