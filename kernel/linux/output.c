// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * output.c -- the short way from TCP to the NIC.
 *
 * TCP hands each segment to its socket's queue_xmit(). Ours does what ip_queue_xmit() and the
 * layers below would do for an ordinary segment: write the IP header, put the neighbour's cached
 * Ethernet header before it, and give the frame to the driver. It does so only if
 *   - the route that the socket has cached leads to a NIC of ours, with no transformation, and
 *     the neighbour's address is certain at this moment;
 *   - the segment is one frame of the NIC's, without IP options or time stamps wanted;
 *   - nobody between has a say: packet sockets, netfilter, tc, VRFs, a queueing discipline that
 *     holds frames or never lets one by.
 * Otherwise it is ip_queue_xmit()'s, and counted by reason. A security module's hook and BPF
 * programs of control groups are asked here as there.
 */
#include <linux/bpf-cgroup.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <net/arp.h>
#include <net/inet_connection_sock.h>
#include <net/ip.h>
#include <net/neighbour.h>
#include <net/route.h>
#include <net/sch_generic.h>

#include "compat.h"
#include "counters.h"
#include "nic_device.h"
#include "output.h"
#include "watchers.h"

/* IPv4's operations with our queue_xmit(), and what they are a copy of. */
static struct inet_connection_sock_af_ops short_way;
static const struct inet_connection_sock_af_ops *ordinary;

/* tc, netfilter's egress hook, VRFs */
static bool is_intercepted_out(const struct net_device *dev)
{
#ifdef CONFIG_NETFILTER_EGRESS
	if (rcu_access_pointer(dev->nf_hooks_egress))
		return true;
#endif
	return paste_compat_has_tc_egress(dev) || netif_is_l3_slave(dev);
}

static bool has_netfilter_out(const struct net *net)
{
	return paste_has_netfilter_rules(net, NF_INET_LOCAL_OUT) ||
	       paste_has_netfilter_rules(net, NF_INET_POST_ROUTING);
}

/* Bottom halves are off. Those that may be passed by while empty say so themselves. */
static bool is_queueing(struct netdev_queue *queue)
{
	struct Qdisc *qdisc = rcu_dereference_bh(queue->qdisc);

	return !(qdisc->flags & TCQ_F_CAN_BYPASS) || !qdisc_is_empty(qdisc) ||
	       qdisc_is_running(qdisc);
}

/* The route is dev's own, to one neighbour, as it stands. */
static bool is_plain_route(const struct rtable *rt)
{
	return rt->rt_type == RTN_UNICAST && rt->rt_gw_family != AF_INET6 && !rt->dst.error &&
	       rt->dst.output == ip_output && !rt->dst.lwtstate
#ifdef CONFIG_XFRM
	       && !rt->dst.xfrm
#endif
	       ;
}

/* One frame that the NIC can send as it is. */
static bool is_plain_segment(const struct sock *sk, const struct sk_buff *skb,
			     const struct rtable *rt)
{
	const netdev_features_t needed = NETIF_F_SG | NETIF_F_HW_CSUM;

	return !skb_is_gso(skb) && !skb_has_frag_list(skb) &&
	       !rcu_access_pointer(inet_sk(sk)->inet_opt) &&
	       !(skb_shinfo(skb)->tx_flags & SKBTX_ANY_TSTAMP) &&
	       (rt->dst.dev->features & needed) == needed &&
	       skb_headroom(skb) >= sizeof(struct iphdr) + HH_DATA_MOD &&
	       skb->len + sizeof(struct iphdr) <= dst_mtu(&rt->dst);
}

static enum paste_counter choose_way_out(const struct sock *sk, const struct sk_buff *skb,
					 const struct rtable *rt)
{
	const struct net_device *dev;

	if (!rt || skb_dst(skb) || !paste_route_holds(sock_net(sk), &rt->dst) ||
	    !is_plain_route(rt))
		return PASTE_OUT_LONG_WAY_ROUTE;
	dev = rt->dst.dev;
	if (!paste_nic_is_ours(dev) || paste_nic_of(dev)->raw)
		return PASTE_OUT_LONG_WAY_ROUTE;
	if (!is_plain_segment(sk, skb, rt))
		return PASTE_OUT_LONG_WAY_HEADER;
	if (paste_is_watched(dev))
		return PASTE_OUT_LONG_WAY_SNIFFER;
	if (has_netfilter_out(dev_net(dev)))
		return PASTE_OUT_LONG_WAY_NETFILTER;
	if (is_intercepted_out(dev))
		return PASTE_OUT_LONG_WAY_DEVICE;
	return PASTE_OUT_SHORT_WAY;
}

static void push_ip(struct sock *sk, struct sk_buff *skb, const struct rtable *rt,
		    const struct flowi4 *flow)
{
	const struct inet_sock *inet = inet_sk(sk);
	struct iphdr *ip = __skb_push(skb, sizeof(*ip));
	int ttl = READ_ONCE(inet->uc_ttl);

	skb_reset_network_header(skb);
	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->tos = READ_ONCE(inet->tos);
	ip->tot_len = htons(skb->len);
	ip->frag_off = ip_dont_fragment(sk, &rt->dst) && !skb->ignore_df ? htons(IP_DF) : 0;
	ip->ttl = ttl < 0 ? ip4_dst_hoplimit(&rt->dst) : ttl;
	ip->protocol = IPPROTO_TCP;
	ip->saddr = flow->saddr;
	ip->daddr = flow->daddr;
	ip_select_ident_segs(sock_net(sk), skb, sk, 1);
	ip_send_check(ip);
	skb->protocol = htons(ETH_P_IP);
	skb->dev = rt->dst.dev;
	skb->priority = READ_ONCE(sk->sk_priority);
	skb->mark = READ_ONCE(sk->sk_mark);
}

/* What a security module's hook says. False: skb is gone; *error says why. */
static bool ask_hook(struct sock *sk, struct sk_buff *skb, const struct rtable *rt,
			 unsigned int hook, int *error)
{
	struct net *net = sock_net(sk);

	skb_dst_set_noref(skb, (struct dst_entry *)&rt->dst);
	*error = nf_hook(NFPROTO_IPV4, hook, net, sk, skb, NULL, rt->dst.dev, dst_output);
	if (*error != 1)
		return false;
	*error = 0;
	skb_dst_drop(skb);
	return true;
}

static bool ask_security(struct sock *sk, struct sk_buff *skb, const struct rtable *rt,
			 int *error)
{
	const struct net *net = sock_net(sk);

	if (paste_has_netfilter_hook(net, NF_INET_LOCAL_OUT) &&
	    !ask_hook(sk, skb, rt, NF_INET_LOCAL_OUT, error))
		return false;
	return !paste_has_netfilter_hook(net, NF_INET_POST_ROUTING) ||
	       ask_hook(sk, skb, rt, NF_INET_POST_ROUTING, error);
}

/* What control groups say; likewise. A wish to slow down is passed on in *error. */
static bool ask_control_groups(struct sock *sk, struct sk_buff *skb, int *error)
{
	int answer = BPF_CGROUP_RUN_PROG_INET_EGRESS(sk, skb);

	*error = answer;
	if (answer == NET_XMIT_SUCCESS || answer == NET_XMIT_CN)
		return true;
	kfree_skb(skb);
	return false;
}

/* The neighbour's cached header. False: its address is to be found out or confirmed first. */
static bool push_ethernet(struct sk_buff *skb, const struct rtable *rt)
{
	__be32 next = rt_nexthop(rt, ip_hdr(skb)->daddr);
	struct neighbour *neighbour = __ipv4_neigh_lookup_noref(skb->dev, (__force u32)next);
	const struct hh_cache *cached;
	unsigned int sequence;

	if (!neighbour || !(READ_ONCE(neighbour->nud_state) & NUD_CONNECTED))
		return false;
	cached = &neighbour->hh;
	if (READ_ONCE(cached->hh_len) != ETH_HLEN)
		return false;
	sock_confirm_neigh(skb, neighbour);
	do {
		sequence = read_seqbegin(&cached->hh_lock);
		memcpy(skb->data - HH_DATA_MOD, cached->hh_data, HH_DATA_MOD);
	} while (read_seqretry(&cached->hh_lock, sequence));
	__skb_push(skb, ETH_HLEN);
	skb_reset_mac_header(skb);
	return true;
}

/* With its IP header: the rest of the ordinary way. */
static int go_on(struct sock *sk, struct sk_buff *skb, const struct rtable *rt)
{
	skb_dst_set_noref(skb, (struct dst_entry *)&rt->dst);
	return dst_output(sock_net(sk), sk, skb);
}

static int transmit(struct sock *sk, struct sk_buff *skb, const struct rtable *rt)
{
	struct net_device *dev = rt->dst.dev;
	struct netdev_queue *queue = netdev_get_tx_queue(dev, 0);
	enum paste_counter way = PASTE_OUT_LONG_WAY_QUEUE;
	bool sent = false;

	HARD_TX_LOCK(dev, queue, smp_processor_id());
	if (!netif_xmit_frozen_or_stopped(queue) && !is_queueing(queue)) {
		way = PASTE_OUT_LONG_WAY_NEIGHBOUR;
		sent = push_ethernet(skb, rt);
	}
	if (sent) {
		IP_UPD_PO_STATS(dev_net(dev), IPSTATS_MIB_OUT, skb->len - ETH_HLEN);
		txq_trans_cond_update(queue);
		paste_nic_transmit(skb, dev);
		way = PASTE_OUT_SHORT_WAY;
	}
	HARD_TX_UNLOCK(dev, queue);
	paste_count(way, 1);
	return sent ? 0 : go_on(sk, skb, rt);
}

static int queue_xmit(struct sock *sk, struct sk_buff *skb, struct flowi *flow)
{
	bool enable = !in_softirq();
	enum paste_counter way;
	struct rtable *rt;
	int error = 0;

	/* TCP's timers come here, too: they must not find the queue's lock taken. And what RCU
	 * guards stays. */
	if (enable)
		local_bh_disable();
	rt = (struct rtable *)__sk_dst_get(sk);
	way = choose_way_out(sk, skb, rt);
	if (way != PASTE_OUT_SHORT_WAY) {
		paste_count(way, 1);
		error = ip_queue_xmit(sk, skb, flow);
	} else {
		push_ip(sk, skb, rt, &flow->u.ip4);
		if (ask_security(sk, skb, rt, &error) && ask_control_groups(sk, skb, &error))
			error = transmit(sk, skb, rt) ?: error;
	}
	if (enable)
		local_bh_enable();
	return error;
}

void paste_output_hook(struct sock *sk)
{
	const struct inet_connection_sock_af_ops *ops = inet_csk(sk)->icsk_af_ops;

	if (sk->sk_family != AF_INET || ops->queue_xmit != ip_queue_xmit)
		return;
	if (!ordinary) {
		short_way = *ops;
		short_way.queue_xmit = queue_xmit;
		ordinary = ops;
	}
	if (ops == ordinary)
		WRITE_ONCE(inet_csk(sk)->icsk_af_ops, &short_way);
}

void paste_output_unhook(struct sock *sk)
{
	if (inet_csk(sk)->icsk_af_ops == &short_way)
		WRITE_ONCE(inet_csk(sk)->icsk_af_ops, ordinary);
}
