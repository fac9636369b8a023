// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * nic_poll.c -- who looks after the vrings: NAPI, or the application in its syncs.
 *
 * With a pst port attached an interrupt only wakes the application: the NIC is parked, which
 * means that NAPI is taken (NAPI_STATE_SCHED) but runs nowhere. The next rxsync of the port
 * takes it from there and does NAPI's work in its own time, within a budget. If none comes soon
 * a timer gives it to NAPI after all, and interrupts start NAPI at once until the application
 * syncs again: who does not poll delays nobody's traffic more than once.
 */
#include "counters.h"
#include "nic_device.h"
#include "port.h"

#define PATIENCE_NS (1 * NSEC_PER_MSEC) /* how long the application may take to come */
#define WATCH_NS    (10 * NSEC_PER_MSEC) /* how late a frame is whose interrupt got lost */
#define SYNC_BUDGET 256                 /* frames in one rxsync */

static void disable_callbacks(struct paste_os_nic *nic)
{
	paste_vring_disable(&nic->rx.vring);
	paste_vring_disable(&nic->tx);
}

void paste_nic_schedule(struct paste_os_nic *nic)
{
	if (!napi_schedule_prep(&nic->napi))
		return;
	disable_callbacks(nic);
	__napi_schedule(&nic->napi);
}

/* NAPI is ours. */
static void park(struct paste_os_nic *nic)
{
	atomic_set_release(&nic->parked, 1);
	hrtimer_start(&nic->patience, ns_to_ktime(PATIENCE_NS), HRTIMER_MODE_REL);
	paste_os_port_wake(nic->port);
}

/* True: it was parked, and is the caller's now. */
static bool unpark(struct paste_os_nic *nic)
{
	return atomic_cmpxchg(&nic->parked, 1, 0) == 1;
}

static enum hrtimer_restart patience_ends(struct hrtimer *timer)
{
	struct paste_os_nic *nic = container_of(timer, struct paste_os_nic, patience);

	if (unpark(nic)) {
		WRITE_ONCE(nic->polled, false);
		__napi_schedule(&nic->napi);
	}
	return HRTIMER_NORESTART;
}

static enum hrtimer_restart watch_ends(struct hrtimer *timer)
{
	paste_nic_schedule(container_of(timer, struct paste_os_nic, watch));
	return HRTIMER_NORESTART;
}

void paste_nic_watch(struct paste_os_nic *nic)
{
	if (unlikely(paste_vring_may_miss(&nic->rx.vring) || paste_vring_may_miss(&nic->tx)) &&
	    !hrtimer_is_queued(&nic->watch))
		hrtimer_start(&nic->watch, ns_to_ktime(WATCH_NS), HRTIMER_MODE_REL);
}

/* Somebody has to look at the RX vring. */
static void attend(struct paste_os_nic *nic)
{
	if (!nic->port || !READ_ONCE(nic->polled)) {
		paste_nic_schedule(nic);
		return;
	}
	if (!napi_schedule_prep(&nic->napi))
		return;
	disable_callbacks(nic);
	park(nic);
}

void paste_nic_interrupt(struct virtqueue *vq)
{
	struct paste_os_nic *nic = vq->vdev->priv;

	if (vq == nic->tx.vq)
		paste_nic_schedule(nic);
	else
		attend(nic);
}

/* The end of a poll that left nothing. False: NAPI was started meanwhile. */
static void finish_poll(struct paste_os_nic *nic, int done, bool more)
{
	u16 position = paste_vring_enable(&nic->rx.vring);

	if (!napi_complete_done(&nic->napi, done)) {
		paste_vring_disable(&nic->rx.vring);
		return;
	}
	if (more)
		paste_nic_schedule(nic);
	else if (paste_vring_has_more(&nic->rx.vring, position))
		attend(nic);
	paste_nic_watch(nic);
}

int paste_nic_poll(struct napi_struct *napi, int budget)
{
	struct paste_os_nic *nic = container_of(napi, struct paste_os_nic, napi);
	bool more = paste_nic_tx_poll(nic, budget);
	int done;

	done = budget ? paste_nic_receive(nic, budget) : 0;
	if (nic->port)
		paste_count(PASTE_RX_FRAMES_IN_NAPI, done);
	if (budget && done < budget)
		finish_poll(nic, done, more);
	return done;
}

/* What NAPI would do, here and now, unless it is at it. */
static void receive_here(struct paste_os_nic *nic)
{
	bool more;
	int done;

	if (!unpark(nic)) {
		if (!napi_schedule_prep(&nic->napi))
			return;
		disable_callbacks(nic);
	}
	hrtimer_try_to_cancel(&nic->patience);
	more = paste_nic_tx_poll(nic, SYNC_BUDGET);
	done = paste_nic_receive(nic, SYNC_BUDGET);
	paste_count(PASTE_RX_FRAMES_IN_SYNC, done);
	if (done < SYNC_BUDGET)
		finish_poll(nic, done, more);
	else
		__napi_schedule(&nic->napi);
}

void paste_os_nic_receive(struct paste_os_nic *nic)
{
	WRITE_ONCE(nic->polled, true);
	/* As in a softirq; what is scheduled meanwhile runs at the end. */
	local_bh_disable();
	receive_here(nic);
	local_bh_enable();
}

void paste_nic_poll_init(struct paste_os_nic *nic)
{
	hrtimer_init(&nic->patience, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	nic->patience.function = patience_ends;
	hrtimer_init(&nic->watch, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	nic->watch.function = watch_ends;
	atomic_set(&nic->parked, 0);
}

void paste_nic_start(struct paste_os_nic *nic)
{
	paste_nic_rx_fill(nic);
	napi_enable(&nic->napi);
	spin_lock_bh(&nic->raw_lock);
	nic->polling = true;
	spin_unlock_bh(&nic->raw_lock);
	/* Interrupts that came before had no effect, and there will be no other. */
	local_bh_disable();
	paste_nic_schedule(nic);
	local_bh_enable();
}

void paste_nic_stop(struct paste_os_nic *nic)
{
	bool polling;

	spin_lock_bh(&nic->raw_lock);
	polling = nic->polling;
	nic->polling = false;
	spin_unlock_bh(&nic->raw_lock);
	if (polling) {
		/* If it is parked the timer starts NAPI, which then finds out. */
		napi_disable(&nic->napi);
		hrtimer_cancel(&nic->patience);
		/* A poll that has just given NAPI up still looks at the vrings. */
		synchronize_net();
		hrtimer_cancel(&nic->watch);
	}
	paste_skbcache_purge(&nic->demux.cache);
}
