// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * demux.c -- the short way from the NIC to TCP.
 *
 * What ip_rcv(), ip_local_deliver() and tcp_v4_rcv() would do for an ordinary segment of an
 * established connection is done here. Everybody between who may want to see or change it is
 * looked for first: packet sockets, netfilter, tc, XDP, bridges, IPsec, socket filters, time
 * stamps. If one is there the frame goes the ordinary way, and is counted by reason.
 */
#include <linux/hash.h>
#include <net/dsfield.h>
#include <net/inet_sock.h>
#include <net/ip.h>
#include <net/tcp.h>

#include "compat.h"
#include "counters.h"
#include "demux.h"
#include "paste_os.h"
#include "socket.h"
#include "watchers.h"

static bool has_netfilter_in(const struct net_device *dev)
{
	return paste_has_netfilter_hook(dev_net(dev), NF_INET_PRE_ROUTING) ||
	       paste_has_netfilter_hook(dev_net(dev), NF_INET_LOCAL_IN);
}

/* tc, XDP, netfilter's ingress hook, bridges and their like, VRFs */
static bool is_intercepted_in(const struct net_device *dev)
{
#ifdef CONFIG_NETFILTER_INGRESS
	if (rcu_access_pointer(dev->nf_hooks_ingress))
		return true;
#endif
	return paste_compat_has_tc_ingress(dev) || rcu_access_pointer(dev->rx_handler) ||
	       rcu_access_pointer(dev->xdp_prog) || netif_is_l3_slave(dev);
}

static bool has_policy(const struct net_device *dev, const struct sock *sk)
{
#ifdef CONFIG_XFRM
	return dev_net(dev)->xfrm.policy_count[XFRM_POLICY_IN] ||
	       rcu_access_pointer(sk->sk_policy[XFRM_POLICY_IN]);
#else
	return false;
#endif
}

/* The socket wants more than its data, or has no route cached that says the frame may come in. */
static bool wants_more(const struct net_device *dev, const struct sock *sk)
{
	struct dst_entry *dst = rcu_dereference_bh(sk->sk_rx_dst);

	if (rcu_access_pointer(sk->sk_filter) || (sk->sk_flags & SK_FLAGS_TIMESTAMP) ||
	    READ_ONCE(inet_sk(sk)->min_ttl))
		return true;
#ifdef CONFIG_TCP_MD5SIG
	if (rcu_access_pointer(tcp_sk(sk)->md5sig_info))
		return true;
#endif
	return !dst || sk->sk_rx_dst_ifindex != dev->ifindex ||
	       !paste_route_holds(dev_net(dev), dst);
}

/* IPv4 without options, for us, and nothing but an acknowledgement and perhaps data. The headers
 * lie in the head: paste_frame_parse() has looked at their lengths. */
static bool is_plain(const struct sk_buff *skb)
{
	const struct iphdr *ip = (void *)skb->data;
	const struct tcphdr *tcp = (void *)(ip + 1);

	return skb->protocol == htons(ETH_P_IP) && skb->pkt_type == PACKET_HOST && ip->ihl == 5 &&
	       !ip_fast_csum(ip, 5) && tcp->ack && !tcp->fin && !tcp->syn && !tcp->rst &&
	       !tcp->urg;
}

static enum paste_counter choose_way_in(const struct sk_buff *skb, const struct sock *sk)
{
	const struct net_device *dev = skb->dev;

	if (!is_plain(skb))
		return PASTE_LONG_WAY_HEADER;
	if (skb->ip_summed == CHECKSUM_NONE)
		return PASTE_LONG_WAY_CHECKSUM;
	if (paste_is_watched(dev))
		return PASTE_LONG_WAY_SNIFFER;
	if (has_netfilter_in(dev))
		return PASTE_LONG_WAY_NETFILTER;
	if (is_intercepted_in(dev))
		return PASTE_LONG_WAY_DEVICE;
	if (has_policy(dev, sk))
		return PASTE_LONG_WAY_IPSEC;
	return wants_more(dev, sk) ? PASTE_LONG_WAY_SOCKET : PASTE_SHORT_WAY;
}

static void append_frame(struct paste_demux *demux, struct sk_buff *skb, struct sock *sk)
{
	unsigned int i = hash_ptr(sk, ilog2(PASTE_DEMUX_SOCKETS));

	skb->next = NULL;
	while (demux->table[i].sk && demux->table[i].sk != sk)
		i = (i + 1) % PASTE_DEMUX_SOCKETS;
	if (demux->table[i].sk) {
		demux->table[i].last->next = skb;
		sock_put(sk); /* one reference for all */
	} else {
		demux->table[i].sk = sk;
		demux->table[i].first = skb;
		demux->used[demux->count++] = i;
	}
	demux->table[i].last = skb;
}

bool paste_demux_take(struct paste_demux *demux, struct sk_buff *skb, struct sock *sk)
{
	enum paste_counter way = choose_way_in(skb, sk);

	if (way != PASTE_SHORT_WAY) {
		paste_count(way, 1);
		return false;
	}
	append_frame(demux, skb, sk);
	if (demux->count == PASTE_DEMUX_SOCKETS)
		paste_demux_flush(demux);
	return true;
}

/* What the IP layer and tcp_v4_fill_cb() leave behind. skb->data is the TCP header then. */
static void prepare(struct sk_buff *skb, const struct sock *sk)
{
	const struct iphdr *ip = (void *)skb->data;
	const struct net_device *dev = skb->dev;
	const struct tcphdr *tcp;

	skb_orphan(skb); /* from now on the buffer's reference is counted; see zerocopy.c */
	skb->skb_iif = dev->ifindex;
	skb_reset_network_header(skb);
	skb_reset_mac_len(skb);
	__IP_UPD_PO_STATS(dev_net(dev), IPSTATS_MIB_IN, skb->len);
	__IP_INC_STATS(dev_net(dev), IPSTATS_MIB_NOECTPKTS + (ip->tos & INET_ECN_MASK));
	__IP_INC_STATS(dev_net(dev), IPSTATS_MIB_INDELIVERS);
	__TCP_INC_STATS(dev_net(dev), TCP_MIB_INSEGS);
	skb_dst_set_noref(skb, rcu_dereference(sk->sk_rx_dst));
	__skb_pull(skb, sizeof(*ip));
	skb_reset_transport_header(skb);
	tcp = tcp_hdr(skb);
	memset(TCP_SKB_CB(skb), 0, sizeof(struct tcp_skb_cb));
	TCP_SKB_CB(skb)->header.h4.iif = skb->skb_iif;
	TCP_SKB_CB(skb)->seq = ntohl(tcp->seq);
	TCP_SKB_CB(skb)->end_seq = ntohl(tcp->seq) + skb->len - tcp->doff * 4;
	TCP_SKB_CB(skb)->ack_seq = ntohl(tcp->ack_seq);
	TCP_SKB_CB(skb)->tcp_flags = tcp_flag_byte(tcp);
	TCP_SKB_CB(skb)->ip_dsfield = ipv4_get_dsfield(ip);
}

/* Under the socket's spinlock. */
static void give(struct sock *sk, struct sk_buff *skb)
{
	prepare(skb, sk);
	/* Security modules and control groups may object. */
	if (sk_filter_trim_cap(sk, skb, tcp_hdr(skb)->doff * 4)) {
		kfree_skb(skb);
		return;
	}
	skb->dev = NULL;
	tcp_segs_in(tcp_sk(sk), skb);
	tcp_v4_do_rcv(sk, skb);
	paste_count(PASTE_SHORT_WAY, 1);
}

/* The socket is busy, or not what it was: back to the ordinary way, which knows what to do. */
static void go_ordinary_way(struct sk_buff *skb)
{
	paste_count(PASTE_LONG_WAY_BUSY, 1);
	netif_receive_skb(skb);
}

/* Captures what came, and wakes its port, unless that is the NIC's. Under the lock likewise. */
static void end_batch(struct paste_demux *demux, struct sock *sk)
{
	struct paste_port *port = paste_socket_batch_end(sk);

	if (port && port == demux->port)
		demux->news = true;
	else if (port)
		paste_os_port_wake(port);
}

static void flush_socket(struct paste_demux *demux, struct sock *sk, struct sk_buff *skb)
{
	struct sk_buff *next;
	bool able;

	bh_lock_sock_nested(sk);
	able = !sock_owned_by_user(sk) && sk->sk_state == TCP_ESTABLISHED &&
	       rcu_access_pointer(sk->sk_rx_dst);
	if (able)
		paste_socket_batch_begin(sk, &demux->cache);
	for (; able && skb; skb = next) {
		next = skb->next;
		skb_mark_not_on_list(skb);
		give(sk, skb);
		able = sk->sk_state == TCP_ESTABLISHED && rcu_access_pointer(sk->sk_rx_dst);
	}
	end_batch(demux, sk);
	bh_unlock_sock(sk);
	for (; skb; skb = next) {
		next = skb->next;
		skb_mark_not_on_list(skb);
		go_ordinary_way(skb);
	}
	sock_put(sk);
}

void paste_demux_flush(struct paste_demux *demux)
{
	unsigned int i, at;

	rcu_read_lock();
	for (i = 0; i < demux->count; i++) {
		at = demux->used[i];
		flush_socket(demux, demux->table[at].sk, demux->table[at].first);
		memset(&demux->table[at], 0, sizeof(demux->table[at]));
	}
	demux->count = 0;
	rcu_read_unlock();
	if (demux->news)
		paste_os_port_wake(demux->port);
	demux->news = false;
}
