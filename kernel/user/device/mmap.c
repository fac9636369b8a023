/* SPDX-License-Identifier: BSD-2-Clause */
/* mmap.c -- rows: the device's calls beside requests and polls */
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device.h"
#include "rows.h"

/* netmap(4)'s older ioctls: _IOWR('i', 145, 60 bytes) and so on. */
#define NIOCGINFO  0xC03C6991u
#define NIOCREGIF  0xC03C6992u
#define NIOCCONFIG 0xC0086996u

static struct device device;

/* Returns an errno. */
static int maps(size_t bytes, int flags, off_t offset)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, device.fd, offset);

	if (memory == MAP_FAILED)
		return errno;
	CHECK_EQUAL(munmap(memory, bytes), 0);
	return 0;
}

static void expect_whole(size_t bytes)
{
	CHECK_EQUAL(maps(bytes, MAP_SHARED, 0), 0);
	CHECK_EQUAL(maps(PAGE, MAP_SHARED, (off_t)(bytes - PAGE)), 0);
	CHECK(maps(bytes + PAGE, MAP_SHARED, 0) != 0);
	CHECK(maps(PAGE, MAP_SHARED, (off_t)bytes) != 0);
	CHECK_EQUAL(maps(bytes, MAP_PRIVATE, 0), EINVAL);
}

static void mmap_unbound(void)
{
	device = device_open();
	CHECK_EQUAL(maps(PAGE, MAP_SHARED, 0), ENXIO);
	device_prepare_register(&device, &(struct port_spec){ 0 })->body.reg.nr_mode = 0;
	CHECK_EQUAL(device_send(&device), EINVAL);
	CHECK_EQUAL(maps(PAGE, MAP_SHARED, 0), ENXIO);
}

static void mmap_plain(void)
{
	device_bind(&device, (struct port_spec){ 0 });
	expect_whole(device.request.body.reg.nr_memsize);
}

static void mmap_kernel_rings(void)
{
	device_bind(&device, (struct port_spec){ EXTMEM(ANONYMOUS), .kernel_rings = true });
	CHECK_EQUAL(device.request.body.reg.nr_offset, 0);
	expect_whole(device.request.kernel_rings.rings_size);
}

static void mmap_extmem(void)
{
	device_bind(&device, (struct port_spec){ EXTMEM(ANONYMOUS) });
	CHECK_EQUAL(maps(PAGE, MAP_SHARED, 0), EINVAL);
	CHECK_EQUAL(maps(device.request.body.reg.nr_memsize, MAP_SHARED, 0), EINVAL);
}

/* A mapping outlives its descriptor. */
static void mmap_after_close(void)
{
	device_bind(&device, (struct port_spec){ 0 });
	CHECK_EQUAL(close(device.fd), 0);
	memset(device.rings, 0x77, device.mapped);
	CHECK_EQUAL(device.rings[device.mapped - 1], 0x77);
}

static void other_ioctls(void)
{
	static const unsigned int others[] = { NIOCGINFO, NIOCREGIF, NIOCCONFIG, 0, 0x6993, ~0u };
	char argument[128] = { 0 };
	size_t i;

	device = device_open();
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		errno = 0;
		CHECK_EQUAL(ioctl(device.fd, others[i], argument), -1);
		CHECK_EQUAL(errno, ENOTTY);
	}
}

const struct row rows_mmap[] = {
	{ "mmap_unbound", mmap_unbound },
	{ "mmap_plain", mmap_plain },
	{ "mmap_kernel_rings", mmap_kernel_rings },
	{ "mmap_extmem", mmap_extmem },
	{ "mmap_after_close", mmap_after_close },
	{ "other_ioctls", other_ioctls },
	{ 0 },
};
