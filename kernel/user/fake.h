/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake.h -- the operating system around the core, as tests steer it.
 *
 * User space is an arena: addresses inside it are the user's, all others fault. NICs are eth0
 * and eth1; a frame is HEADERS bytes and payload. Sockets are numbers from fake_socket().
 */
#ifndef PASTE_USER_FAKE_H
#define PASTE_USER_FAKE_H

#include "port.h"

#define FAKE_ARENA   (32u << 20) /* bytes of user space */
#define FAKE_HEADERS 66u         /* Ethernet, IPv4, TCP with timestamps */
#define FAKE_POSTED  128u        /* buffers that a NIC wants to hold */
#define FAKE_SENDING 8u          /* frames that a NIC can be sending */

/* os.c: allocation, locks, user space, regions */
void fake_reset(void); /* empty user space; checks that nothing was leaked before */
void *fake_user(size_t bytes); /* zeroed, page-aligned memory of the user */
uint64_t fake_address(const void *user);
/* The n-th thing that can fail from now on fails (1: the next); 0: nothing fails. */
void fake_fail_at(unsigned int n);
bool fake_failed(void); /* has it? */
unsigned int fake_live(void); /* allocations and regions that exist */
unsigned int fake_wakes(void);
bool fake_may_fail(void); /* for the glue: true if this step fails */
/* Pools whose last reference went die only here. */
void fake_run_deferred(void);

/*
 * nic.c: receive a frame whose payload goes to socket fd, or, on the NIC of a NIC port, is the
 * frame. False: no buffer was posted, or no room.
 */
bool fake_receive(const char *nic, uint32_t fd, const void *payload, uint16_t length);
/* Buffers posted for frames to come, or being sent. */
uint32_t fake_nic_posted(const char *nic);
/* The frame that the NIC sends next; it is done with it. NULL: none. */
const char *fake_sent(const char *nic, uint16_t *length);
/* The frame that was injected into the stack last; length is 0 if none was since. */
const char *fake_injected(const char *nic, uint16_t *length);
/* The stack sends. False: no room, or no host rings. */
bool fake_stack_send(const char *nic, const void *frame, uint16_t length);
/* Times that the NIC was told to start, by who corked it. */
unsigned int fake_kicks(const char *nic);
void fake_nic_reset(void);

/* socket.c */
enum fake_socket_kind { FAKE_CONNECTED, FAKE_LISTENING, FAKE_UDP };
uint32_t fake_socket(enum fake_socket_kind kind);
/* Payload lies in the pool's buffer index (NONE, one stack reference) from start. */
void fake_socket_deliver(uint32_t fd, struct paste_pool *pool, uint32_t index, uint16_t start,
			 uint16_t length);
/* Payload that no pool buffer holds (loopback): captured by copy. False: no buffer. */
bool fake_socket_copy(uint32_t fd, const void *payload, uint16_t length);
void fake_socket_peer_closed(uint32_t fd);
void fake_socket_peer_reset(uint32_t fd, int error);
void fake_socket_close(uint32_t fd);
/* The same, and what the peer acknowledges until the end, as fake_socket_acked(). */
uint32_t fake_socket_last(uint32_t fd, char *to, uint32_t size);
/* TCP takes so many bytes more until the next ACK; unlimited at first. */
void fake_socket_room(uint32_t fd, uint32_t bytes);
/* Every send fails with error; 0: none does. */
void fake_socket_send_fails(uint32_t fd, int error);
/*
 * All that TCP sent is acknowledged. It is read now from where it lies, as a retransmission
 * would: appended to to, of size bytes. Returns how many.
 */
uint32_t fake_socket_acked(uint32_t fd, char *to, uint32_t size);
/* Until then frames without end are under way. */
uint32_t fake_socket_in_flight(uint32_t fd);
/* The stack keeps its reference of captured buffers (a packet tap) until told to let go. */
void fake_stack_hold(bool hold);
void fake_stack_let_go(void);
void fake_socket_reset(void);

#endif
