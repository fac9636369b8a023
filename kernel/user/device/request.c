/* SPDX-License-Identifier: BSD-2-Clause */
/* request.c -- rows: how a request is read */
#include <sys/mman.h>

#include "device.h"
#include "rows.h"

static struct device device;

static struct request *open_request(uint16_t type)
{
	device = device_open();
	return device_prepare(&device, type, "pst:0");
}

static struct request *open_register(void)
{
	device = device_open();
	return device_prepare_register(&device, &(struct port_spec){ .slots = 16 });
}

static void sends(int error)
{
	CHECK_EQUAL(device_send(&device), error);
}

/* Nothing is bound: the name is free and a sync finds no port. */
static void expect_unbound(void)
{
	CHECK_EQUAL(device_rxsync(&device), ENXIO);
	device_prepare(&device, NETMAP_REQ_PORT_INFO_GET, "pst:0");
	sends(ENXIO);
}

static void version(void)
{
	struct request *request = open_register();

	request->header.nr_version = NETMAP_MIN_API - 1;
	sends(EINVAL);
	CHECK_EQUAL(request->header.nr_version, NETMAP_API);
	request->header.nr_version = NETMAP_MAX_API + 1;
	sends(EINVAL);
	CHECK_EQUAL(request->header.nr_version, NETMAP_API);
	request->header.nr_version = NETMAP_MAX_API;
	sends(0);
}

static void reserved(void)
{
	open_register()->header.nr_reserved = 1;
	sends(EINVAL);
	expect_unbound();
}

static void body_pointer(void)
{
	open_register()->header.nr_body = 0;
	sends(EINVAL);
	open_request(NETMAP_REQ_CSB_ENABLE); /* has no body, but names one */
	sends(EINVAL);
	expect_unbound();
}

/* Memory that is not there, and the kernel's own. */
static void faults(void)
{
	static const uint64_t bad[] = { 8, 0xffff888000000000u, 0xffffffff81000000u, ~0ull - 8 };
	struct nmreq_opt_offsets *offsets;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		open_register()->header.nr_body = bad[i];
		sends(EFAULT);
		open_register()->header.nr_options = bad[i];
		sends(EFAULT);
	}
	/* The option's header is there, the rest is not. */
	offsets = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(offsets != MAP_FAILED);
	CHECK_EQUAL(munmap((char *)offsets + PAGE, PAGE), 0);
	offsets = (void *)((char *)offsets + PAGE - sizeof(offsets->nro_opt));
	request_option(open_register(), &offsets->nro_opt, NETMAP_REQ_OPT_OFFSETS);
	sends(EFAULT);
	expect_unbound();
}

static void unknown_requests(void)
{
	open_request(0);
	sends(EINVAL);
	open_request(NETMAP_REQ_PST_FD_REG + 1);
	sends(EINVAL);
	open_request(0xffff);
	sends(EINVAL);
}

static void too_large(void)
{
	struct request *request = open_register();

	request_option(request, &request->other, NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS);
	request->other.nro_size = NETMAP_REQ_MAXSIZE;
	sends(EMSGSIZE);
	request->other.nro_size = ~0ull;
	sends(EMSGSIZE);
	expect_unbound();
}

static void looped_list(void)
{
	struct request *request = open_register();

	request_option(request, &request->other, 77);
	request->other.nro_next = request->header.nr_options;
	sends(EMSGSIZE);
	expect_unbound();
}

static void option_type_zero(void)
{
	struct request *request = open_register();

	request_option(request, &request->other, 0);
	sends(EINVAL);
	expect_unbound();
}

static void duplicate_option(void)
{
	struct request *request = open_register();
	struct nmreq_opt_offsets second = { .nro_max_offset = 1 };

	request_option(request, &request->offsets.nro_opt, NETMAP_REQ_OPT_OFFSETS);
	request_option(request, &second.nro_opt, NETMAP_REQ_OPT_OFFSETS);
	sends(EINVAL);
	CHECK_EQUAL(request->offsets.nro_opt.nro_status, EINVAL);
	CHECK_EQUAL(second.nro_opt.nro_status, EINVAL);
	expect_unbound();
}

static void unknown_option(void)
{
	struct request *request = open_register();

	request_option(request, &request->offsets.nro_opt, NETMAP_REQ_OPT_OFFSETS);
	request_option(request, &request->other, 63);
	sends(EOPNOTSUPP);
	CHECK_EQUAL(request->other.nro_status, EOPNOTSUPP);
	CHECK_EQUAL(request->offsets.nro_opt.nro_status, 0);
	expect_unbound();
}

static void option_of_another_request(void)
{
	struct request *request = open_request(NETMAP_REQ_PORT_INFO_GET);

	request_option(request, &request->offsets.nro_opt, NETMAP_REQ_OPT_OFFSETS);
	sends(EOPNOTSUPP);
	CHECK_EQUAL(request->offsets.nro_opt.nro_status, EOPNOTSUPP);
}

static void body_after_failure(void)
{
	struct request *request = open_register();
	struct nmreq_register before;

	request->body.reg.nr_mem_id = 77;
	before = request->body.reg;
	sends(EOPNOTSUPP);
	CHECK(memcmp(&before, &request->body.reg, sizeof(before)) == 0);
}

/* The body can be read, but not written. */
static void answer_faults(void)
{
	struct request *request = open_register();
	char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(page != MAP_FAILED);
	memcpy(page, &request->body, sizeof(request->body));
	CHECK_EQUAL(mprotect(page, PAGE, PROT_READ), 0);
	request->header.nr_body = (uintptr_t)page;
	sends(EFAULT);
	expect_unbound();
}

static void name_without_end(void)
{
	struct request *request = open_register();

	memset(request->header.nr_name + 5, 'x', NETMAP_REQ_IFNAMSIZ - 5);
	sends(0);
	device_prepare(&device, NETMAP_REQ_PORT_INFO_GET, "pst:0");
	memset(request->header.nr_name + 5, 'x', NETMAP_REQ_IFNAMSIZ - 6);
	sends(0);
}

const struct row rows_request[] = {
	{ "version", version },
	{ "reserved", reserved },
	{ "body_pointer", body_pointer },
	{ "faults", faults },
	{ "unknown_requests", unknown_requests },
	{ "too_large", too_large },
	{ "looped_list", looped_list },
	{ "option_type_zero", option_type_zero },
	{ "duplicate_option", duplicate_option },
	{ "unknown_option", unknown_option },
	{ "option_of_another_request", option_of_another_request },
	{ "body_after_failure", body_after_failure },
	{ "answer_faults", answer_faults },
	{ "name_without_end", name_without_end },
	{ 0 },
};
