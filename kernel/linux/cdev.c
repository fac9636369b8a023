// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * cdev.c -- /dev/paste: open, ioctl, poll, mmap, close.
 *
 * Two locks. The control lock (the core's "big lock") is held for writing by everything that
 * changes what a descriptor is bound to, and for reading by syncs. A descriptor's own mutex
 * serialises its syncs; its rings have one kernel side at a time.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/rwsem.h>
#include <linux/slab.h>

#include "bufpool.h"
#include "cdev.h"
#include "port.h"
#include "portlinux.h"
#include "region.h"

struct open_file {
	struct paste_desc desc;
	struct mutex sync;
	/* desc.port once it is whole: mmap runs under the mmap lock, which control takes inside
	 * its own, so it cannot wait for the control lock. A bound port lives until the close. */
	struct paste_port *mappable;
};

static DECLARE_RWSEM(control_lock);

static int device_open(struct inode *inode, struct file *file)
{
	struct open_file *open = kzalloc(sizeof(*open), GFP_KERNEL);

	if (!open)
		return -ENOMEM;
	mutex_init(&open->sync);
	file->private_data = open;
	return 0;
}

static int device_release(struct inode *inode, struct file *file)
{
	struct open_file *open = file->private_data;

	down_write(&control_lock);
	paste_desc_close(&open->desc);
	up_write(&control_lock);
	/* Who closed may unload the module next, unless the network stack holds buffers. */
	paste_bufpool_settle();
	kfree(open);
	return 0;
}

static int sync_rings(struct open_file *open, int (*sync)(struct paste_port *))
{
	int error = ENXIO;

	down_read(&control_lock);
	if (open->desc.port) {
		mutex_lock(&open->sync);
		error = sync(open->desc.port);
		mutex_unlock(&open->sync);
	}
	up_read(&control_lock);
	return error;
}

static long device_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
	struct open_file *open = file->private_data;
	int error;

	switch (request) {
	case NIOCRXSYNC:
		return -sync_rings(open, paste_port_rxsync);
	case NIOCTXSYNC:
		return -sync_rings(open, paste_port_txsync);
	case NIOCCTRL:
		if (down_write_killable(&control_lock))
			return -EINTR;
		error = paste_control(&open->desc, argument);
		smp_store_release(&open->mappable, open->desc.port);
		up_write(&control_lock);
		return -error;
	default:
		return -ENOTTY;
	}
}

static __poll_t poll_rings(struct open_file *open, __poll_t events)
{
	unsigned int wanted = 0, ready = 0;
	__poll_t result = 0;

	if (events & (EPOLLIN | EPOLLRDNORM))
		wanted |= PASTE_POLL_IN;
	if (events & (EPOLLOUT | EPOLLWRNORM))
		wanted |= PASTE_POLL_OUT;
	mutex_lock(&open->sync);
	if (paste_desc_poll(&open->desc, wanted, &ready))
		result |= EPOLLERR;
	mutex_unlock(&open->sync);
	if (ready & PASTE_POLL_IN)
		result |= EPOLLIN | EPOLLRDNORM;
	if (ready & PASTE_POLL_OUT)
		result |= EPOLLOUT | EPOLLWRNORM;
	return result;
}

static __poll_t device_poll(struct file *file, poll_table *table)
{
	struct open_file *open = file->private_data;
	__poll_t result = EPOLLERR;

	down_read(&control_lock);
	if (open->desc.port) {
		/* First be on the queue, then look: nothing that comes in between is missed. */
		poll_wait(file, &paste_port_linux(open->desc.port)->wait, table);
		result = poll_rings(open, poll_requested_events(table));
	}
	up_read(&control_lock);
	return result;
}

/* What user space maps: the rings in kernel memory, or the whole region when it is ours. */
static int device_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct open_file *open = file->private_data;
	struct paste_port *port = smp_load_acquire(&open->mappable);

	if (!port)
		return -ENXIO;
	return paste_region_mmap(port->rings_region ?: port->pool->region, vma);
}

static const struct file_operations device_operations = {
	.owner = THIS_MODULE,
	.open = device_open,
	.release = device_release,
	.unlocked_ioctl = device_ioctl,
	.poll = device_poll,
	.mmap = device_mmap,
	.llseek = noop_llseek,
};

static struct miscdevice misc_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "paste",
	.fops = &device_operations,
	.mode = 0600,
};

/* Without the control lock: the port's end waits for this. A NIC is never freed. */
static void send_waiting(struct paste_port *port)
{
	struct paste_os_nic *nic = READ_ONCE(port->nic);

	if (nic)
		paste_os_nic_cork(nic);
	paste_port_send(port);
	if (nic)
		paste_os_nic_uncork(nic);
	/* Slots that had to wait may go on. */
	paste_os_port_wake(port);
}

static void send_work(struct work_struct *work)
{
	send_waiting(container_of(work, struct paste_port_linux, send)->port);
}

static void retry_work(struct work_struct *work)
{
	send_waiting(container_of(to_delayed_work(work), struct paste_port_linux, retry)->port);
}

int paste_os_port_init(struct paste_port *port)
{
	struct paste_port_linux *os = kzalloc(sizeof(*os), GFP_KERNEL);

	if (!os)
		return ENOMEM;
	init_waitqueue_head(&os->wait);
	spin_lock_init(&os->sockets_lock);
	INIT_LIST_HEAD(&os->sockets);
	INIT_LIST_HEAD(&os->pending);
	INIT_WORK(&os->send, send_work);
	INIT_DELAYED_WORK(&os->retry, retry_work);
	os->port = port;
	port->os = os;
	return 0;
}

void paste_os_port_exit(struct paste_port *port)
{
	struct paste_port_linux *os = paste_port_linux(port);

	/* No socket is registered any more, so nothing starts them again. */
	cancel_work_sync(&os->send);
	cancel_delayed_work_sync(&os->retry);
	kfree(port->os);
	port->os = NULL;
}

void paste_os_port_wake(struct paste_port *port)
{
	/* Which rings have something is for the woken to see: it may be either direction. */
	wake_up_interruptible(&paste_port_linux(port)->wait);
}

int paste_cdev_init(void)
{
	return misc_register(&misc_device);
}

void paste_cdev_exit(void)
{
	misc_deregister(&misc_device);
}
