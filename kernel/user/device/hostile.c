/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hostile.c -- does anything to the device, by a seed, while traffic runs.
 *
 * Pairs of processes, one after the other, until enough was tried: each does a number of steps on
 * descriptors of its own while a second thread scribbles into their rings, and then dies with
 * everything open. That the kernel survives is for others to see; this program tells what it has
 * done.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostile.h"
#include "net.h"

#define OPERATIONS    100000u /* at least */
#define STEPS         1500u
#define LIMIT_SECONDS 60

/* What all processes have done. */
struct tally {
	/* Everything that was tried, and how much of it were requests. */
	uint32_t operations, requests;
	uint32_t granted, registered, attached, sockets, slots, died;
};

static struct tally *tally;
static struct hostile hostile;
static pthread_mutex_t rings_lock = PTHREAD_MUTEX_INITIALIZER; /* rings stay mapped meanwhile */

static uint32_t below(uint32_t bound)
{
	return check_below(&hostile.random, bound);
}

static void count(uint32_t *what)
{
	__atomic_fetch_add(what, 1, __ATOMIC_RELAXED);
}

static void reopen(struct victim *victim)
{
	pthread_mutex_lock(&rings_lock);
	if (victim->device.rings)
		munmap(victim->device.rings, victim->device.mapped);
	close(victim->device.fd);
	*victim = (struct victim){ .device = device_open() };
	victim->device.memory = hostile.memory;
	pthread_mutex_unlock(&rings_lock);
}

static void send_request(struct victim *victim)
{
	hostile_request(&hostile, &victim->device);
	count(&tally->requests);
	if (device_send(&victim->device) != 0)
		return;
	count(&tally->granted);
	switch (victim->device.request.header.nr_reqtype) {
	case NETMAP_REQ_REGISTER:
		count(&tally->registered);
		pthread_mutex_lock(&rings_lock);
		hostile_find_rings(victim);
		pthread_mutex_unlock(&rings_lock);
		break;
	case NETMAP_REQ_PST_ATTACH:
		count(&tally->attached);
		break;
	case NETMAP_REQ_PST_FD_REG:
		count(&tally->sockets);
		break;
	default:
		break;
	}
}

static void sync_rings(struct victim *victim)
{
	uint32_t i;

	device_rxsync(&victim->device);
	device_txsync(&victim->device);
	for (i = 0; i < 4; i++)
		if (victim->rings[i] && victim->rings[i]->head != victim->rings[i]->tail)
			count(&tally->slots);
}

/* Half of them on loopback, whose other end sends at once; the host sends back what it gets. */
static void new_socket(void)
{
	uint32_t i = below(SOCKETS / 2) * 2;
	struct pair pair;

	close(hostile.sockets[i]);
	close(hostile.sockets[i + 1]);
	if (below(8) == 0) {
		hostile.sockets[i] = net_try_echo();
		hostile.sockets[i + 1] = net_try_echo();
		return;
	}
	pair = net_pair();
	hostile.sockets[i] = pair.here;
	hostile.sockets[i + 1] = pair.there;
}

static void send_payload(void)
{
	static char payload[4000];

	send(hostile.sockets[below(SOCKETS)], payload, below(sizeof(payload)),
	     MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Other calls on the descriptor, with whatever arguments. */
static void other_call(struct victim *victim)
{
	size_t bytes = PAGE * (1 + below(100));
	uint32_t what = below(4);
	void *memory;

	if (what == 0)
		ioctl(victim->device.fd, 0x6980u + below(64), &victim->device.request);
	else if (what == 1)
		ioctl(victim->device.fd, NIOCCTRL, check_random(&hostile.random));
	else if (what == 2)
		read(victim->device.fd, &victim->device.request, 1);
	if (what != 3)
		return;
	memory = mmap(NULL, bytes, 1 << below(3),
		      below(4) ? MAP_SHARED : MAP_PRIVATE, victim->device.fd,
		      (off_t)PAGE * below(1000));
	if (memory != MAP_FAILED)
		munmap(memory, bytes);
}

static void step(void)
{
	struct victim *victim = &hostile.victims[below(VICTIMS)];
	uint32_t what = below(32);

	count(&tally->operations);
	if (what < 12)
		send_request(victim);
	else if (what < 18)
		sync_rings(victim);
	else if (what < 22)
		device_poll(&victim->device, (short)check_random(&hostile.random));
	else if (what < 24)
		hostile_scribble(victim, &hostile.random);
	else if (what < 25)
		reopen(victim);
	else if (what < 26)
		new_socket();
	else if (what < 28)
		other_call(victim);
	else
		send_payload();
}

static void *scribble(void *argument)
{
	struct check_random random = { *(uint64_t *)argument };

	for (;;) {
		pthread_mutex_lock(&rings_lock);
		hostile_scribble(&hostile.victims[check_below(&random, VICTIMS)], &random);
		pthread_mutex_unlock(&rings_lock);
		count(&tally->operations);
		usleep(check_below(&random, 300));
	}
	return NULL;
}

static void be_hostile(uint64_t seed)
{
	pthread_t thread;
	uint32_t i;

	alarm(LIMIT_SECONDS);
	hostile.random.state = seed;
	hostile.memory = device_memory(below(2) ? DEVDAX : MEMFD);
	memset(hostile.sockets, 0xff, sizeof(hostile.sockets));
	for (i = 0; i < VICTIMS; i++) {
		hostile.victims[i].device.fd = -1;
		reopen(&hostile.victims[i]);
	}
	for (i = 0; i < SOCKETS; i++)
		new_socket();
	CHECK_EQUAL(pthread_create(&thread, NULL, scribble, &seed), 0);
	for (i = 0; i < STEPS; i++)
		step();
	_exit(0);
}

/* Ordinary sockets that talk to the host as long as the NIC is there. */
static void be_traffic(void)
{
	static char bytes[3000];
	int fd;

	for (;;) {
		fd = net_try_echo();
		send(fd, bytes, net_wait(fd, POLLOUT) ? sizeof(bytes) : 0, MSG_NOSIGNAL);
		if (net_wait(fd, POLLIN))
			recv(fd, bytes, sizeof(bytes), 0);
		close(fd);
	}
}

static pid_t spawn(uint64_t seed, bool traffic)
{
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0 && traffic)
		be_traffic();
	if (child == 0)
		be_hostile(seed);
	return child;
}

/* Returns whether it did not hang; a pool that was misplaced may well have killed it. */
static bool bury(pid_t child)
{
	int status;

	CHECK_EQUAL(waitpid(child, &status, 0), child);
	if (status != 0) {
		fprintf(stderr, "a process ended with status %#x\n", (unsigned int)status);
		count(&tally->died);
	}
	return !WIFSIGNALED(status) || WTERMSIG(status) != SIGALRM;
}

int main(int argc, char **argv)
{
	struct check_random random = check_seed(argc, argv);
	pid_t traffic, first, second;
	bool hung = false;

	tally = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(tally != MAP_FAILED);
	traffic = spawn(0, true);
	while (tally->operations < OPERATIONS && !hung) {
		first = spawn(check_random(&random), false);
		second = spawn(check_random(&random), false);
		hung |= !bury(first);
		hung |= !bury(second);
	}
	kill(traffic, SIGKILL);
	waitpid(traffic, NULL, 0);
	printf("{\"operations\": %u, \"requests\": %u, \"granted\": %u, "
	       "\"registered\": %u, \"attached\": %u, \"sockets\": %u, \"slots\": %u, "
	       "\"died\": %u, \"hung\": %s}\n", tally->operations, tally->requests,
	       tally->granted, tally->registered, tally->attached, tally->sockets, tally->slots,
	       tally->died, hung ? "true" : "false");
	return 0;
}
