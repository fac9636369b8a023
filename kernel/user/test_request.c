/* SPDX-License-Identifier: BSD-2-Clause */
/* test_request.c -- NIOCCTRL copy-in and copy-out, rule by rule */
#include "check.h"
#include "client.h"

static struct client client;

static struct request *prepare(uint16_t type)
{
	fake_reset();
	memset(&client, 0, sizeof(client));
	return client_prepare(&client, type, "pst:0");
}

static struct request *prepare_register(void)
{
	struct port_spec spec = { .slots = 16 };

	fake_reset();
	memset(&client, 0, sizeof(client));
	client_prepare_register(&client, &spec);
	return client.request;
}

static void version(void)
{
	struct request *request = prepare_register();

	request->header.nr_version = NETMAP_MIN_API - 1;
	CHECK_EQUAL(client_send(&client), EINVAL);
	CHECK_EQUAL(request->header.nr_version, NETMAP_API);
	request->header.nr_version = NETMAP_MAX_API + 1;
	CHECK_EQUAL(client_send(&client), EINVAL);
	CHECK_EQUAL(request->header.nr_version, NETMAP_API);
	request->header.nr_version = NETMAP_MAX_API;
	CHECK_EQUAL(client_send(&client), 0);
	client_finish(&client);
}

static void reserved(void)
{
	prepare_register()->header.nr_reserved = 1;
	CHECK_EQUAL(client_send(&client), EINVAL);
	client_finish(&client);
}

static void body_pointer(void)
{
	prepare_register()->header.nr_body = 0;
	CHECK_EQUAL(client_send(&client), EINVAL);
	prepare(NETMAP_REQ_CSB_ENABLE); /* has no body, but names one */
	CHECK_EQUAL(client_send(&client), EINVAL);
	prepare_register()->header.nr_body = 8;
	CHECK_EQUAL(client_send(&client), EFAULT);
	prepare_register()->header.nr_body = ~0ull - 8;
	CHECK_EQUAL(client_send(&client), EFAULT);
	CHECK_EQUAL(paste_control(&client.desc, 8), EFAULT);
	client_finish(&client);
}

static void unknown_requests(void)
{
	prepare(0);
	CHECK_EQUAL(client_send(&client), EINVAL);
	prepare(NETMAP_REQ_PST_FD_REG + 1);
	CHECK_EQUAL(client_send(&client), EINVAL);
	prepare(0xffff);
	CHECK_EQUAL(client_send(&client), EINVAL);
	client_finish(&client);
}

static void other_requests(void)
{
	static const uint16_t with_body[] = {
		NETMAP_REQ_VALE_ATTACH, NETMAP_REQ_VALE_DETACH, NETMAP_REQ_VALE_LIST,
		NETMAP_REQ_PORT_HDR_SET, NETMAP_REQ_PORT_HDR_GET, NETMAP_REQ_VALE_NEWIF,
		NETMAP_REQ_VALE_POLLING_ENABLE, NETMAP_REQ_VALE_POLLING_DISABLE,
		NETMAP_REQ_SYNC_KLOOP_START,
	};
	static const uint16_t without[] = {
		NETMAP_REQ_VALE_DELIF, NETMAP_REQ_SYNC_KLOOP_STOP, NETMAP_REQ_CSB_ENABLE,
	};
	size_t i;

	for (i = 0; i < sizeof(with_body) / sizeof(with_body[0]); i++) {
		prepare(with_body[i]);
		CHECK_EQUAL(client_send(&client), EOPNOTSUPP);
	}
	for (i = 0; i < sizeof(without) / sizeof(without[0]); i++) {
		prepare(without[i])->header.nr_body = 0;
		CHECK_EQUAL(client_send(&client), EOPNOTSUPP);
	}
	client_finish(&client);
}

static void option_type_zero(void)
{
	struct request *request = prepare_register();

	request_option(request, &request->other, 0);
	CHECK_EQUAL(client_send(&client), EINVAL);
	client_finish(&client);
}

/* The unknown one is named by its status; its neighbour is fine; nothing was done. */
static void unknown_option(void)
{
	struct request *request = prepare_register();

	request_option(request, &request->offsets.nro_opt, NETMAP_REQ_OPT_OFFSETS);
	request_option(request, &request->other, 63);
	CHECK_EQUAL(client_send(&client), EOPNOTSUPP);
	CHECK_EQUAL(request->other.nro_status, EOPNOTSUPP);
	CHECK_EQUAL(request->offsets.nro_opt.nro_status, 0);
	CHECK(client.desc.port == NULL);
	client_finish(&client);
}

static void unsupported_options(void)
{
	static const uint32_t types[] = { NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS,
					  NETMAP_REQ_OPT_CSB, NETMAP_REQ_OPT_SYNC_KLOOP_MODE };
	struct request *request;
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		request = prepare_register();
		request_option(request, &request->other, types[i]);
		CHECK_EQUAL(client_send(&client), EOPNOTSUPP);
		CHECK_EQUAL(request->other.nro_status, EOPNOTSUPP);
	}
	client_finish(&client);
}

static void option_of_another_request(void)
{
	struct request *request = prepare(NETMAP_REQ_PORT_INFO_GET);

	request_option(request, &request->offsets.nro_opt, NETMAP_REQ_OPT_OFFSETS);
	CHECK_EQUAL(client_send(&client), EOPNOTSUPP);
	CHECK_EQUAL(request->offsets.nro_opt.nro_status, EOPNOTSUPP);
	client_finish(&client);
}

static void duplicate_option(void)
{
	struct request *request = prepare_register();
	struct nmreq_opt_offsets *second = fake_user(sizeof(*second));
	struct nmreq_option *last = fake_user(sizeof(*last));

	request_option(request, last, 63);
	request_option(request, &request->offsets.nro_opt, NETMAP_REQ_OPT_OFFSETS);
	request_option(request, &request->other, 63);
	request_option(request, &second->nro_opt, NETMAP_REQ_OPT_OFFSETS);
	CHECK_EQUAL(client_send(&client), EINVAL);
	CHECK_EQUAL(request->offsets.nro_opt.nro_status, EINVAL);
	CHECK_EQUAL(second->nro_opt.nro_status, EINVAL);
	CHECK_EQUAL(request->other.nro_status, EOPNOTSUPP);
	CHECK_EQUAL(last->nro_status, EOPNOTSUPP);
	client_finish(&client);
}

static void looped_list(void)
{
	struct request *request = prepare_register();

	request_option(request, &request->other, 63);
	request->other.nro_next = fake_address(&request->other);
	CHECK_EQUAL(client_send(&client), EMSGSIZE);
	client_finish(&client);
}

static void too_large(void)
{
	struct request *request = prepare_register();

	request_option(request, &request->other, NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS);
	request->other.nro_size = NETMAP_REQ_MAXSIZE;
	CHECK_EQUAL(client_send(&client), EMSGSIZE);
	request->other.nro_size = ~0ull;
	CHECK_EQUAL(client_send(&client), EMSGSIZE);
	/* Exactly the limit: body and option together. */
	request->other.nro_size = NETMAP_REQ_MAXSIZE - sizeof(struct nmreq_register);
	CHECK_EQUAL(client_send(&client), EOPNOTSUPP);
	request->other.nro_size++;
	CHECK_EQUAL(client_send(&client), EMSGSIZE);
	client_finish(&client);
}

static void option_faults(void)
{
	struct request *request = prepare_register();

	request->header.nr_options = 8;
	CHECK_EQUAL(client_send(&client), EFAULT);
	request->header.nr_options = ~0ull - 4;
	CHECK_EQUAL(client_send(&client), EFAULT);
	client_finish(&client);
}

/* The body is written only if the request worked. */
static void body_after_failure(void)
{
	struct request *request = prepare_register();
	struct nmreq_register before;

	request->body.reg.nr_mode = NR_REG_ONE_SW;
	before = request->body.reg;
	CHECK_EQUAL(client_send(&client), EOPNOTSUPP);
	CHECK(memcmp(&before, &request->body.reg, sizeof(before)) == 0);
	/* Also if it failed at the very end: this NIC does not exist. */
	memcpy(request->header.nr_name, "eth7", 5);
	request->body.reg.nr_mode = NR_REG_ALL_NIC;
	request->body.reg.nr_extra_bufs = 10000;
	before = request->body.reg;
	CHECK_EQUAL(client_send(&client), ENXIO);
	CHECK(memcmp(&before, &request->body.reg, sizeof(before)) == 0);
	client_finish(&client);
}

/* Random bytes never do more than fail (or, rarely, succeed). */
static void random_requests(struct check_random *random)
{
	uint32_t i, j, size = sizeof(struct request);
	struct request *request;
	uint8_t *bytes;

	for (i = 0; i < 20000; i++) {
		request = prepare_register();
		request_option(request, &request->offsets.nro_opt, NETMAP_REQ_OPT_OFFSETS);
		request_option(request, &request->other, check_below(random, 70));
		request_option(request, &request->kernel_rings.nro_opt,
			      PASTE_REQ_OPT_KERNEL_RINGS);
		request->header.nr_reqtype = (uint16_t)check_below(random, 20);
		bytes = (uint8_t *)request;
		for (j = check_below(random, 6); j > 0; j--)
			bytes[check_below(random, size)] = (uint8_t)check_random(random);
		client_send(&client);
		client_close(&client);
	}
	client_finish(&client);
}

int main(int argc, char **argv)
{
	struct check_random random = check_seed(argc, argv);

	version();
	reserved();
	body_pointer();
	unknown_requests();
	other_requests();
	option_type_zero();
	unknown_option();
	unsupported_options();
	option_of_another_request();
	duplicate_option();
	looped_list();
	too_large();
	option_faults();
	body_after_failure();
	random_requests(&random);
	return 0;
}
