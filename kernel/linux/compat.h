/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * compat.h -- what differs between kernel versions, and nothing else.
 */
#ifndef PASTE_LINUX_COMPAT_H
#define PASTE_LINUX_COMPAT_H

#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/version.h>
#include <linux/virtio_config.h>

/* 6.11 gathered what is known about a virtqueue in one struct. */
static inline int paste_compat_find_vqs(struct virtio_device *vdev, unsigned int count,
					struct virtqueue **vqs, vq_callback_t **callbacks,
					const char *const *names)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
	struct virtqueue_info info[2] = {};
	unsigned int i;

	if (count > ARRAY_SIZE(info))
		return -EINVAL;
	for (i = 0; i < count; i++) {
		info[i].name = names[i];
		info[i].callback = callbacks[i];
	}
	return virtio_find_vqs(vdev, count, vqs, info, NULL);
#else
	return virtio_find_vqs(vdev, count, vqs, callbacks, names, NULL);
#endif
}

/*
 * Make ifindex the next one that net hands out (under RTNL). Returns the value to hand to
 * paste_compat_restore_ifindex(). net->ifindex was the last index given, and is the next from
 * 6.6 on.
 */
static inline int paste_compat_suggest_ifindex(struct net *net, int ifindex)
{
	int former = net->ifindex;

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	net->ifindex = ifindex;
#else
	net->ifindex = ifindex - 1;
#endif
	return former;
}

/* 6.10 made a table of what was one callback. Kinds of ubuf_info are told apart by it. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
struct ubuf_info_ops {
	void (*complete)(struct sk_buff *skb, struct ubuf_info *info, bool success);
};
#endif

static inline void paste_compat_ubuf_init(struct ubuf_info *info, const struct ubuf_info_ops *ops)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
	info->callback = ops->complete;
#else
	info->ops = ops;
#endif
}

static inline bool paste_compat_ubuf_is(const struct ubuf_info *info,
					const struct ubuf_info_ops *ops)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
	return info->callback == ops->complete;
#else
	return info->ops == ops;
#endif
}

/* 6.12.y learned to say why not. pat: a name to use if dev's own is taken in net. */
static inline int paste_compat_change_net(struct net_device *dev, struct net *net,
					  const char *pat, int ifindex)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	return __dev_change_net_namespace(dev, net, pat, ifindex, NULL);
#else
	return __dev_change_net_namespace(dev, net, pat, ifindex);
#endif
}

/* Is a classifier or an action of tc attached? 6.6 renamed where. */
static inline bool paste_compat_has_tc_ingress(const struct net_device *dev)
{
#if !defined(CONFIG_NET_CLS_ACT)
	return false;
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	return rcu_access_pointer(dev->tcx_ingress);
#else
	return rcu_access_pointer(dev->miniq_ingress);
#endif
}

static inline bool paste_compat_has_tc_egress(const struct net_device *dev)
{
#if !defined(CONFIG_NET_CLS_ACT)
	return false;
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	return rcu_access_pointer(dev->tcx_egress);
#else
	return rcu_access_pointer(dev->miniq_egress);
#endif
}

/* Never back below what was handed out before: indices of the past stay unused. */
static inline void paste_compat_restore_ifindex(struct net *net, int former)
{
	if ((int)net->ifindex < former)
		net->ifindex = former;
}

#endif
