/* SPDX-License-Identifier: BSD-2-Clause */
/* test_failures.c -- whatever fails, and whenever: nothing is left behind */
#include "check.h"
#include "client.h"

#define STEPS_MAX 100u

/* Returns how many steps could fail. */
static unsigned int fail_register(const struct port_spec *spec)
{
	struct client client = { .memory = NULL };
	unsigned int n;
	int error;

	fake_reset();
	client.memory = fake_user(4 << 20);
	for (n = 1; n < STEPS_MAX; n++) {
		client_prepare_register(&client, spec);
		fake_fail_at(n);
		error = client_send(&client);
		if (!fake_failed())
			break;
		CHECK(error == ENOMEM || error == EFAULT);
		CHECK(client.desc.port == NULL);
		fake_run_deferred();
		CHECK_EQUAL(fake_live(), 0);
	}
	CHECK_EQUAL(error, 0);
	client_map(&client);
	client_check_conservation(&client);
	client_close(&client);
	fake_reset();
	return n - 1;
}

static void register_unwinds(void)
{
	struct port_spec plain = { .extra = 10 };
	struct port_spec extmem = { .extra = 10, .extmem = 4 << 20, .slots = 512 };
	struct port_spec nic = { .name = "eth0", .extra = 10 };
	struct port_spec all = { .extra = 10, .extmem = 4 << 20, .kernel_rings = true,
				   .max_offset = 32, .initial_offset = 32, .slots = 512 };

	/* request, header, body, port, its glue, region, pool, buffers, krings, flows */
	CHECK(fail_register(&plain) >= 14);
	CHECK(fail_register(&extmem) >= 16);
	CHECK(fail_register(&nic) >= 13);
	CHECK(fail_register(&all) >= 21);
}

static void reserve_unwinds(void)
{
	struct client client = { .memory = NULL };
	struct port_spec spec = { .extmem = 4 << 20, .slots = 512 };
	unsigned int n;

	fake_reset();
	client.memory = fake_user(4 << 20);
	spec.bitmap = fake_user(64);
	spec.bits = 512;
	((uint64_t *)(uintptr_t)spec.bitmap)[1] = 1;
	for (n = 1; n < STEPS_MAX; n++) {
		client_prepare_register(&client, &spec);
		fake_fail_at(n);
		if (client_send(&client) == 0)
			break;
		CHECK(fake_failed());
		fake_run_deferred();
		CHECK_EQUAL(fake_live(), 0);
	}
	CHECK_EQUAL(paste_pool_count(client.desc.port->pool, PASTE_APP),
		    511 + 1); /* the TX ring's, and the reserved one */
	client_close(&client);
	fake_reset();
}

/* A failed attach or registration changes nothing, and the next one works. */
static void attach_and_sockets_unwind(void)
{
	struct port_spec spec = { .extra = 10 };
	struct client client;
	unsigned int n, before;
	uint32_t fd;
	int error;

	fake_reset();
	CHECK_EQUAL(client_open(&client, &spec), 0);
	before = fake_live();
	/* Failing to copy the answer out, after attach, leaves the NIC attached. */
	for (n = 1; n <= 4; n++) {
		fake_fail_at(n);
		CHECK(client_attach(&client, "pst:eth0") != 0 && fake_failed());
		CHECK(client.desc.port->nic == NULL);
		CHECK_EQUAL(fake_live(), before);
	}
	fake_fail_at(0);
	CHECK_EQUAL(client_attach(&client, "pst:eth0"), 0);
	fd = fake_socket(FAKE_CONNECTED);
	for (n = 1; n <= 4; n++) {
		fake_fail_at(n);
		error = client_register_socket(&client, fd);
		CHECK(error != 0 && error != EBUSY && fake_failed());
	}
	fake_fail_at(0);
	CHECK_EQUAL(client_register_socket(&client, fd), 0);
	client_check_conservation(&client);
	client_close(&client);
	fake_reset();
}

/* The application dies with everything in flight. */
static void close_in_flight(void)
{
	struct port_spec spec = { .extra = 10, .slots = 64 };
	struct client client;
	uint32_t fd, i;

	fake_reset();
	CHECK_EQUAL(client_open(&client, &spec), 0);
	CHECK_EQUAL(client_attach(&client, "pst:eth0"), 0);
	fd = fake_socket(FAKE_CONNECTED);
	CHECK_EQUAL(client_register_socket(&client, fd), 0);
	fake_stack_hold(true);
	for (i = 0; i < 200; i++)
		CHECK(fake_receive("eth0", fd, "payload", 8));
	CHECK_EQUAL(client_rxsync(&client), 0);
	fake_socket_peer_closed(fd);
	client_check_conservation(&client);
	client_close(&client);
	fake_run_deferred();
	CHECK(fake_live() != 0); /* the stack holds 200 buffers */
	fake_stack_let_go();
	fake_run_deferred();
	CHECK_EQUAL(fake_live(), 0);
	fake_reset();
}

/* The socket outlives the port and goes on as an ordinary one. */
static void socket_outlives_port(void)
{
	struct port_spec spec = { .extra = 10 };
	struct client first, second;
	uint32_t fd;

	fake_reset();
	CHECK_EQUAL(client_open(&first, &spec), 0);
	CHECK_EQUAL(client_attach(&first, "pst:eth0"), 0);
	fd = fake_socket(FAKE_CONNECTED);
	CHECK(fake_receive("eth0", fd, "before", 6)); /* waits in the socket's own queue */
	client_close(&first);
	fake_run_deferred();
	CHECK(fake_live() != 0);
	CHECK_EQUAL(client_open(&second, &spec), 0);
	fake_socket_close(fd);
	client_close(&second);
	fake_run_deferred();
	CHECK_EQUAL(fake_live(), 0);
	fake_reset();
}

int main(void)
{
	register_unwinds();
	reserve_unwinds();
	attach_and_sockets_unwind();
	close_in_flight();
	socket_outlives_port();
	return 0;
}
