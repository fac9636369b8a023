/* SPDX-License-Identifier: BSD-2-Clause */
/* frames.c -- ARP to the host by hand */
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frames.h"

#define ARP_REPLY 2

static const char guest_ip[] = { 10, 77, 0, 2 };
static const char host_ip[] = { 10, 77, 0, 1 };

static void address_of_nic(char *mac)
{
	struct ifreq ask = { .ifr_name = "eth0" };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	CHECK_EQUAL(ioctl(fd, SIOCGIFHWADDR, &ask), 0);
	memcpy(mac, ask.ifr_hwaddr.sa_data, 6);
	close(fd);
}

void frames_question(char *frame)
{
	/* EtherType ARP; Ethernet, IPv4, lengths 6 and 4, request */
	static const char head[] = { 8, 6, 0, 1, 8, 0, 6, 4, 0, 1 };
	char mac[6];

	address_of_nic(mac);
	memset(frame, 0, FRAME_BYTES);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, mac, 6);
	memcpy(frame + 12, head, sizeof(head));
	memcpy(frame + 22, mac, 6);
	memcpy(frame + 28, guest_ip, 4);
	memcpy(frame + 38, host_ip, 4);
}

char *frames_of_slot(struct device *device, int ring, const struct netmap_slot *slot)
{
	return device_buffer(device, slot->buf_idx) +
	       (slot->ptr & device_ring(device, ring)->offset_mask);
}

void frames_put_question(struct device *device, int ring)
{
	struct netmap_ring *tx = device_ring(device, ring);
	struct netmap_slot *slot = &tx->slot[tx->head];

	CHECK(tx->head != tx->tail);
	frames_question(frames_of_slot(device, ring, slot));
	slot->len = FRAME_BYTES;
	slot->flags = 0;
	ring_advance(tx);
}

bool frames_is_answer(const char *frame, uint32_t length)
{
	return length >= 42 && frame[12] == 8 && frame[13] == 6 && frame[21] == ARP_REPLY &&
	       memcmp(frame + 28, host_ip, 4) == 0;
}

/* Takes what is in the RX ring, up to an answer. Others still talk to this guest. */
static bool take_answer(struct device *device)
{
	while (device->ring->head != device->ring->tail) {
		struct netmap_slot *slot = &device->ring->slot[device->ring->head];
		bool found = frames_is_answer(frames_of_slot(device, RX, slot), slot->len);

		ring_advance(device->ring);
		if (found)
			return true;
	}
	return false;
}

void frames_expect_answer(struct device *device)
{
	while (!take_answer(device))
		CHECK(device_wait(device));
}

uint32_t frames_answers(struct device *device)
{
	uint32_t count = 0;

	CHECK_EQUAL(device_rxsync(device), 0);
	while (take_answer(device))
		count++;
	return count;
}
