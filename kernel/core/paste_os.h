/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * paste_os.h -- the contract between the core and its operating system.
 *
 * The core names no OS. A glue (linux/, user/, later freebsd/) puts its paste_os_types.h first
 * in the include path and implements the functions below. paste_os_types.h defines: the fixed
 * width types, bool, size_t, the errno names (positive values), memset/memcpy,
 * struct paste_os_lock, PASTE_READ_ONCE(x), PASTE_WRITE_ONCE(x, v), PASTE_LOAD_ACQUIRE(p),
 * PASTE_STORE_RELEASE(p, v). Every function returns 0 or a positive errno unless it says more.
 */
#ifndef PASTE_OS_H
#define PASTE_OS_H

#include "paste_os_types.h"

struct paste_pool;
struct paste_port;
struct paste_os_region;
struct paste_os_nic;
struct paste_flow;

/* Zeroed memory, NULL when there is none. May sleep. */
void *paste_os_alloc(size_t bytes);
void paste_os_free(void *memory);

/* Short critical sections; also taken from interrupt-like contexts. Never sleep inside. The
 * types header may define the latter two, inline. */
void paste_os_lock_init(struct paste_os_lock *lock);
void paste_os_lock(struct paste_os_lock *lock);
void paste_os_unlock(struct paste_os_lock *lock);
/* Many short locks follow until the end, which makes them cheaper. No sleeping in between. */
void paste_os_locks_begin(void);
void paste_os_locks_end(void);
/* One step more of a long loop: true now and then, when others are to get their turn. */
static inline bool paste_os_turn_ends(uint32_t *steps)
{
	return ++*steps % 64 == 0;
}
/* Once per step of a loop in between. */
static inline void paste_os_locks_step(uint32_t *steps)
{
	if (!paste_os_turn_ends(steps))
		return;
	paste_os_locks_end();
	paste_os_locks_begin();
}

/* User addresses are numbers until they pass here. EFAULT when the range is not the user's. */
int paste_os_copy_in(void *to, uint64_t user, size_t bytes);
int paste_os_copy_out(uint64_t user, const void *from, size_t bytes);

/* One line in the kernel's log. */
void paste_os_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Regions: memory that both sides see, mapped in one piece in the kernel.
 * pin: the user's own pages (page-aligned, kept until free). alloc: kernel pages, zeroed.
 */
int paste_os_region_pin(uint64_t user, uint64_t bytes, struct paste_os_region **region);
int paste_os_region_alloc(uint64_t bytes, struct paste_os_region **region);
void *paste_os_region_address(const struct paste_os_region *region);
void paste_os_region_free(struct paste_os_region *region);

/* A pool is born, with its region set, or dies: room for what the OS keeps per buffer. */
int paste_os_pool_init(struct paste_pool *pool);
void paste_os_pool_exit(struct paste_pool *pool);
/* The last reference went, in any context: call paste_pool_destroy() where sleeping is fine. */
void paste_os_pool_defer_destroy(struct paste_pool *pool);

/* Somebody may wait for the port's rings. */
void paste_os_port_wake(struct paste_port *port);

/* Is there a NIC called name in our hands? ENXIO: no. */
int paste_os_nic_exists(const char *name);
/*
 * The NIC called name: receive into port's pool from now on (attach), no longer (detach). For a
 * NIC port see paste_port_receive(); for a pst port the stack gets the frames.
 * ENXIO: no such NIC in our hands; EBUSY: another port has it. attach may sleep and sets *nic
 * only on success. After detach no buffer of the pool is in the device.
 */
int paste_os_nic_attach(struct paste_port *port, const char *name, struct paste_os_nic **nic);
void paste_os_nic_detach(struct paste_port *port, struct paste_os_nic *nic);
/* The NIC of a pst port: pass on what it has received, within reason. May sleep. */
void paste_os_nic_receive(struct paste_os_nic *nic);
/* Buffers came back: the NIC may post those that it lacked. Must not sleep. */
void paste_os_nic_refill(struct paste_os_nic *nic);

/*
 * NIC ports. Send the frame in buffer index (DEVICE) of the attached pool: length bytes from
 * offset, in place. 0: it will be sent; when the NIC is done with it, it moves the buffer from
 * DEVICE to SLOT (paste_pool_move) and wakes the port. EAGAIN: no room now. After a detach no
 * buffer is in the device either way. end: no more frames for now, start sending.
 */
int paste_os_nic_send(struct paste_os_nic *nic, uint32_t index, uint32_t offset,
		      uint16_t length);
void paste_os_nic_send_end(struct paste_os_nic *nic);
/* Give a frame to the stack as if the NIC had received it. Copies. */
int paste_os_nic_inject(struct paste_os_nic *nic, const void *frame, uint16_t length);

/*
 * Frames that the calling thread sends wait for the end, which starts them. No nesting; the
 * NIC may go between.
 */
void paste_os_nic_cork(struct paste_os_nic *nic);
void paste_os_nic_uncork(struct paste_os_nic *nic);

/* A connected TCP socket of the calling process delivers into port from now on. */
int paste_os_socket_register(struct paste_port *port, uint32_t fd);
/*
 * Not any more. EINVAL: it is not registered, or with another port. EBUSY: it has something to
 * send that TCP does not take now, or received what is in no slot yet; it receives no more then,
 * so that the next attempt after a sync works.
 */
int paste_os_socket_unregister(struct paste_port *port, uint32_t fd);
/* A reference to the flow's socket, given back by send. Under a lock. */
void *paste_os_socket_hold(struct paste_flow *flow);
/*
 * Lock the socket; if it is still the port's: send its entries until it is full, see
 * paste_transmit_front(). Full: when it has room again paste_transmit_ready() and
 * paste_port_send() are called by themselves. May sleep.
 */
void paste_os_socket_send(struct paste_port *port, void *socket);
/*
 * The same where it can be done without sleeping, between paste_os_locks_begin() and _end().
 * False: it is still to be done.
 */
bool paste_os_socket_send_now(struct paste_port *port, void *socket);
/* Move what registered sockets still hold because the port was full. May sleep. */
void paste_os_socket_drain_pending(struct paste_port *port);
/* The port ends: no socket delivers into it afterwards. May sleep. */
void paste_os_socket_unregister_all(struct paste_port *port);

#endif
