// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The module's commands, as netlink hands them over. Input: commands, each of them a byte for which
 * one and from which socket, one for the allocation that fails, one for the attributes that it has,
 * then those. Whatever comes: what is refused changes nothing and says why, the numbers that are
 * kept are those of a count, a dump tells of all there is, and in the end no object is left.
 */

#include <stdio.h>

#include "hook.h"
#include "net.h"
#include "netlink.h"
#include "node.h"

#define SOCKET 0x10		/* in a command's byte: from another socket */
#define GOES 0x20		/* the socket goes instead */
#define FAILS 0x80		/* in the byte of allocations */
#define WRONG 0x80		/* in a length: bits beyond it stay */

long allocations_until_failure = -1;
long objects;
unsigned int vip_net_id;
struct notifier_block *netlink_notifier;

static struct vip_net vn;
static struct net net = { .generic = &vn };
static struct nlattr *attrs[VIP_SHIM_A_MAX + 1];

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "line %d: not %s\n", __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

struct input {
	const u8 *data;
	size_t left;
};

static u8 take(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->data++;
}

/* Hooks, which can fail */

int vip_hook_start(struct vip_net *of, struct netlink_ext_ack *extack)
{
	(void)extack;
	CHECK(of->lock.held);
	if (!of->hooked && fails())
		return -ENOMEM;
	of->hooked = true;
	return 0;
}

void vip_hook_stop(struct vip_net *of)
{
	of->hooked = false;
}

int vip_hook_defrag(struct vip_net *of)
{
	CHECK(of->lock.held);
	if (!of->defrags && fails())
		return -ENOMEM;
	of->defrags = true;
	return 0;
}

void vip_hook_defrag_end(struct vip_net *of)
{
	of->defrags = false;
}

/* Attributes */

static void *attribute(int type, size_t size)
{
	attrs[type] = malloc(NLA_HDRLEN + size);	/* of exactly its size, for the sanitizer */
	attrs[type]->nla_type = type;
	attrs[type]->nla_len = NLA_HDRLEN + size;
	return nla_data(attrs[type]);
}

static void put_number(int type, u32 number)
{
	memcpy(attribute(type, sizeof(number)), &number, sizeof(number));
}

static void put_ports(struct input *in)
{
	static const u8 protocols[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMP };
	u8 size = take(in) % 18, *data = attribute(VIP_SHIM_A_PORTS, size);

	for (u8 at = 0; at < size; at++)
		data[at] = at % 4 == 2 ? protocols[take(in) & 3] : at % 4 == 3 ? 0 : take(in);
}

/* Words of an address, most significant first, that meet others */
static void put_prefix(struct input *in, __be32 *to, int words)
{
	u8 address = take(in), length = take(in), shown = (length & ~WRONG) % (32 * words + 2);

	for (int i = 0, left = shown; i < words; i++, left -= 32) {
		u32 word = (u32)address << (i ? 0 : 24) | (address & 0x0f) | (i ? 0 : 0x00640000);
		u32 mask = left >= 32 ? ~0U : left > 0 ? ~0U << (32 - left) : 0;

		to[i] = htonl(length & WRONG ? word : word & mask);
	}
	to[words] = htonl((u32)shown << 24);
}

static void put_prefixes(struct input *in, int type, int words)
{
	u8 many = take(in), count = many % 6, more = many >> 6;
	__be32 *data = attribute(type, count * 4 * (words + 1) + more);

	for (u8 at = 0; at < count; at++)
		put_prefix(in, data + at * (words + 1), words);
	memset(data + count * (words + 1), 0, more);
}

static void put_owner(struct input *in)
{
	u8 size = take(in) % (VIP_SHIM_MAX_OWNER + 2);

	memset(attribute(VIP_SHIM_A_OWNER, size), size, size);
}

static void put_attributes(struct input *in)
{
	u8 which = take(in);

	if (which & 0x01)
		put_number(VIP_SHIM_A_MARK, take(in) & 7);
	if (which & 0x02)
		put_number(VIP_SHIM_A_FLAGS, take(in) & 0x3f);
	if (which & 0x04)
		put_ports(in);
	if (which & 0x08)
		put_number(VIP_SHIM_A_PLANE, take(in) & 3);
	if (which & 0x10)
		put_prefixes(in, VIP_SHIM_A_PREFIXES4, 1);
	if (which & 0x20)
		put_prefixes(in, VIP_SHIM_A_PREFIXES6, 4);
	if (which & 0x40)
		attribute(VIP_SHIM_A_STAGED, 0);
	if (which & 0x80)
		put_owner(in);
	if (which & 0x80)
		put_number(VIP_SHIM_A_ROLE, take(in) & 3);
}

static void free_attributes(void)
{
	for (int type = 0; type <= VIP_SHIM_A_MAX; type++) {
		free(attrs[type]);
		attrs[type] = NULL;
	}
}

/* As the kernel does before the module sees a command */
static bool are_allowed(void)
{
	for (int type = 0; type <= VIP_SHIM_A_MAX; type++) {
		const struct nla_policy *policy = &vip_family.policy[type];
		u32 number;

		if (!attrs[type])
			continue;
		if (policy->type == NLA_BINARY && policy->len && nla_len(attrs[type]) > policy->len)
			return false;
		if (policy->type != NLA_U32)
			continue;
		number = nla_get_u32(attrs[type]);
		if (number < policy->least || number > policy->most ||
		    (policy->mask && number & ~policy->mask))
			return false;
	}
	return true;
}

/* What there is, counted */

struct sum {
	u64 prefixes, whole, digest;
	u32 services;
};

static void mix(struct sum *sum, const void *data, size_t size)
{
	for (const u8 *byte = data; size--; byte++)
		sum->digest = (sum->digest ^ *byte) * 0x100000001b3;
}

/* Prefixes of one trie, of a service alone if there is one */
static u64 count_trie(struct sum *sum, const struct vip_trie *trie, const struct vip_service *of)
{
	struct vip_prefix prefix = {};
	u64 count = 0;
	void *value;

	while (vip_trie_next(trie, &prefix, &value)) {
		const struct vip_service *service = value;

		count += !of || service == of;
		mix(sum, prefix.word, sizeof(prefix.word));
		mix(sum, &prefix.length, sizeof(prefix.length));
		mix(sum, &service->mark, sizeof(service->mark));
	}
	return count;
}

static u64 count_planes(struct sum *sum, const struct vip_state *state,
			const struct vip_service *of)
{
	u64 total = 0;

	for (u32 plane = 0; plane < VIP_SHIM_MAX_PLANES; plane++) {
		u64 count = count_trie(sum, &state->plane[plane].v4, of) +
			    count_trie(sum, &state->plane[plane].v6, of);

		CHECK(plane + 1 != state->planes || of || count);
		CHECK(plane < state->planes || !count);
		mix(sum, &count, sizeof(count));
		total += count;
	}
	return total;
}

static void count_service(struct sum *sum, struct vip_state *state,
			  const struct vip_service *service)
{
	const struct vip_config *config = service->config;
	struct sum ignored = {};

	CHECK(service->prefixes == count_planes(&ignored, state, service));
	for (u32 i = 1; i < config->count; i++)
		CHECK(config->ports[i - 1] <= config->ports[i]);
	sum->whole += config->count || config->flags & VIP_SHIM_F_PING;
	sum->services++;
	mix(sum, &service->mark, sizeof(service->mark));
	mix(sum, &config->flags, sizeof(config->flags));
	mix(sum, config->ports, config->count * sizeof(*config->ports));
}

static struct sum count_state(struct vip_state *state)
{
	struct vip_service *service;
	struct sum sum = {};
	unsigned long mark;

	if (!state)
		return sum;
	sum.digest = 1;
	xa_for_each(&state->services, mark, service)
		count_service(&sum, state, service);
	sum.prefixes = count_planes(&sum, state, NULL);
	mix(&sum, state->owner, state->owner_size);
	mix(&sum, &state->role, sizeof(state->role));
	CHECK(sum.services == state->count);
	CHECK(sum.whole == state->whole);
	CHECK(sum.prefixes == vip_state_count(state));
	CHECK(sum.prefixes <= VIP_SHIM_MAX_PREFIXES && sum.services <= VIP_SHIM_MAX_SERVICES);
	return sum;
}

static struct sum count_all(void)
{
	struct sum used, staged;

	mutex_lock(&vn.lock);
	used = count_state(vn.state);
	staged = count_state(vn.staged);
	mutex_unlock(&vn.lock);
	CHECK(vn.hooked == !!vn.state);
	CHECK(!vn.state || used.services);
	CHECK(vn.defrags == (used.whole || staged.whole));
	CHECK(!vn.staged == !vn.stager);
	mix(&used, &staged.digest, sizeof(staged.digest));
	mix(&used, &vn.generation, sizeof(vn.generation));
	mix(&used, &vn.stager, sizeof(vn.stager));
	return used;
}

/* Dumps */

static const struct nlattr *find(const struct nlmsghdr *message, int type)
{
	const char *at = (const char *)NLMSG_DATA(message) + GENL_HDRLEN;
	const char *end = (const char *)message + message->nlmsg_len;

	while (at < end) {
		const struct nlattr *found = (const struct nlattr *)at;

		CHECK(at + found->nla_len <= end && found->nla_len >= NLA_HDRLEN);
		if (found->nla_type == type)
			return found;
		at += NLA_ALIGN(found->nla_len);
	}
	return NULL;
}

static u64 size_of(const struct nlmsghdr *message, int type)
{
	const struct nlattr *found = find(message, type);

	return found ? nla_len(found) : 0;
}

static void read_messages(const struct sk_buff *skb, u64 *services, u64 *prefixes)
{
	unsigned int at = 0;

	while (at < skb->len) {
		const struct nlmsghdr *message = (struct nlmsghdr *)(skb->data + at);

		CHECK(message->nlmsg_len && at + message->nlmsg_len <= skb->len);
		CHECK(find(message, VIP_SHIM_A_MARK));
		*services += !!find(message, VIP_SHIM_A_COUNT);
		*prefixes += size_of(message, VIP_SHIM_A_PREFIXES4) / sizeof(struct vip_shim_prefix4);
		*prefixes += size_of(message, VIP_SHIM_A_PREFIXES6) / sizeof(struct vip_shim_prefix6);
		at += NLMSG_ALIGN(message->nlmsg_len);
	}
}

static int dump(const struct genl_ops *op, u32 portid, const struct sum *there)
{
	struct sock sock = { &net };
	struct sk_buff asked = { .sk = &sock, .portid = portid };
	struct nlmsghdr header = { .nlmsg_seq = 1 };
	struct netlink_callback cb = { .skb = &asked, .nlh = &header };
	u64 services = 0, prefixes = 0;
	int err = op->start(&cb), said = err;

	allocations_until_failure = -1;
	while (said >= 0) {
		struct sk_buff *skb = alloc_skb(cb.min_dump_alloc, 0);

		said = op->dumpit(skb, &cb);
		CHECK(said >= 0);
		read_messages(skb, &services, &prefixes);
		kfree_skb(skb);
		if (!said)
			break;
	}
	if (err)
		return err;
	op->done(&cb);
	CHECK(services == (op->cmd == VIP_SHIM_CMD_GET_SERVICE ? there->services : 0));
	CHECK(prefixes == (op->cmd == VIP_SHIM_CMD_GET ? there->prefixes : 0));
	return 0;
}

/* Commands */

static int command(const struct genl_ops *op, u32 portid, const struct sum *before)
{
	struct netlink_ext_ack extack = {};
	struct genl_info info = { portid, 1, attrs, &extack, &net };
	int err;

	if (!op->doit)
		return dump(op, portid, before);
	err = op->doit(NULL, &info);
	allocations_until_failure = -1;
	CHECK(err <= 0);
	CHECK(!err || err == -ENOMEM || extack.words);
	return err;
}

static void socket_goes(u32 portid)
{
	struct netlink_notify notify = { &net, portid, NETLINK_GENERIC };

	netlink_notifier->notifier_call(netlink_notifier, NETLINK_URELEASE, &notify);
	CHECK(vn.stager != portid);
}

static void operate(struct input *in)
{
	u8 what = take(in), failing = take(in);
	u32 portid = what & SOCKET ? 2 : 1;
	const struct genl_ops *op = &vip_family.ops[(what & 0x0f) % vip_family.n_ops];
	struct sum before = count_all(), after;

	put_attributes(in);
	if (what & GOES) {
		socket_goes(portid);
	} else if (are_allowed()) {
		int err;

		allocations_until_failure = failing & FAILS ? failing & 0x0f : -1;
		err = command(op, portid, &before);
		after = count_all();
		CHECK(!(err || !op->doit) || before.digest == after.digest);
	}
	allocations_until_failure = -1;
	free_attributes();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct input in = { data, size };

	vn = (struct vip_net){};
	CHECK(!vip_table_init() && !vip_states_init() && !vip_netlink_init());
	while (in.left)
		operate(&in);
	count_all();
	vip_net_flush(&vn);
	CHECK(!vn.state && !vn.staged && !vn.hooked && !vn.defrags);
	CHECK(!objects);
	vip_netlink_exit();
	vip_states_exit();
	vip_table_exit();
	return 0;
}
