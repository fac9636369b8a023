/* SPDX-License-Identifier: BSD-2-Clause */
/* device.c -- a descriptor of /dev/paste: requests and memory */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device.h"

#define PATIENCE_MS 10000

char *device_memory(enum user_memory kind)
{
	int flags = MAP_SHARED, fd = -1;
	char *memory;

	if (kind == ANONYMOUS) {
		flags = MAP_PRIVATE | MAP_ANONYMOUS;
	} else if (kind == MEMFD) {
		fd = memfd_create("pool", 0);
		CHECK(fd >= 0 && ftruncate(fd, DEVICE_MEMORY) == 0);
	} else {
		fd = open(NVDIMM, O_RDWR);
		CHECK(fd >= 0);
	}
	memory = mmap(NULL, DEVICE_MEMORY, PROT_READ | PROT_WRITE, flags, fd, 0);
	CHECK(memory != MAP_FAILED);
	if (fd >= 0)
		close(fd);
	return memory;
}

struct device device_open(void)
{
	struct device device = { .fd = open(PASTE_DEVICE_PATH, O_RDWR) };

	CHECK(device.fd >= 0);
	return device;
}

void device_close(struct device *device)
{
	CHECK_EQUAL(close(device->fd), 0);
	if (device->rings)
		CHECK_EQUAL(munmap(device->rings, device->mapped), 0);
	if (device->memory)
		CHECK_EQUAL(munmap(device->memory, DEVICE_MEMORY), 0);
	*device = (struct device){ .fd = -1 };
}

struct request *device_prepare(struct device *device, uint16_t type, const char *name)
{
	request_start(&device->request, type, name);
	return &device->request;
}

static int call(int fd, unsigned long what, void *argument)
{
	return ioctl(fd, what, argument) == 0 ? 0 : errno;
}

int device_send(struct device *device)
{
	return call(device->fd, NIOCCTRL, &device->request);
}

struct request *device_prepare_register(struct device *device, const struct port_spec *spec)
{
	struct port_spec wanted = *spec;

	if (!wanted.slots)
		wanted.slots = 64;
	if (wanted.extmem && !device->memory)
		device->memory = device_memory(wanted.kind);
	request_register(&device->request, &wanted, device->memory);
	return &device->request;
}

static bool has_extmem(const struct device *device)
{
	return device->request.extmem.nro_usrptr != 0;
}

void device_map(struct device *device)
{
	const struct request *request = &device->request;
	bool kernel_rings = request->kernel_rings.rings_size != 0;

	if (has_extmem(device) && !kernel_rings) {
		device->nifp = (void *)(device->memory + request->body.reg.nr_offset);
	} else {
		device->mapped = kernel_rings ? request->kernel_rings.rings_size :
						request->body.reg.nr_memsize;
		device->rings = mmap(NULL, device->mapped, PROT_READ | PROT_WRITE, MAP_SHARED,
				     device->fd, 0);
		CHECK(device->rings != MAP_FAILED);
		device->nifp = (void *)(device->rings + request->body.reg.nr_offset);
	}
	device->ring = device_ring(device, (int)(device->nifp->ni_tx_rings +
						 device->nifp->ni_host_tx_rings));
	device->buffers = kernel_rings ?
		device->memory + request->extmem.nro_info.nr_buf_pool_offset :
		(char *)device->ring + device->ring->buf_ofs;
}

int device_register(struct device *device, const struct port_spec *spec)
{
	int error;

	*device = device_open();
	device_prepare_register(device, spec);
	error = device_send(device);
	if (!error)
		device_map(device);
	return error;
}

void device_bind(struct device *device, struct port_spec spec)
{
	CHECK_EQUAL(device_register(device, &spec), 0);
}

int device_attach(struct device *device, const char *name)
{
	request_attach(&device->request, name);
	return device_send(device);
}

int device_detach(struct device *device, const char *name)
{
	device_prepare(device, NETMAP_REQ_PST_DETACH, name);
	return device_send(device);
}

int device_register_socket(struct device *device, int fd)
{
	request_socket(&device->request, NETMAP_REQ_PST_FD_REG, "pst:0", (uint32_t)fd);
	return device_send(device);
}

int device_unregister_socket(struct device *device, int fd)
{
	request_socket(&device->request, PASTE_REQ_FD_UNREG, "pst:0", (uint32_t)fd);
	return device_send(device);
}

int device_rxsync(struct device *device)
{
	return call(device->fd, NIOCRXSYNC, NULL);
}

int device_txsync(struct device *device)
{
	return call(device->fd, NIOCTXSYNC, NULL);
}

short device_poll(struct device *device, short events)
{
	struct pollfd poll_fd = { .fd = device->fd, .events = events };

	CHECK(poll(&poll_fd, 1, 0) >= 0);
	return poll_fd.revents;
}

bool device_wait(struct device *device)
{
	struct pollfd poll_fd = { .fd = device->fd, .events = POLLIN };

	return poll(&poll_fd, 1, PATIENCE_MS) == 1 && poll_fd.revents == POLLIN;
}
