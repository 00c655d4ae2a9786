// SPDX-License-Identifier: GPL-2.0-or-later
/* Adding and removing prefixes, thousands in a message: all of them or none. */

#include <net/genetlink.h>

#include "hook.h"
#include "netlink.h"
#include "node.h"

/* An array of prefixes of one IP version */
struct vip_array {
	const struct nlattr *attribute;
	u8 bits;
	u32 count;
};

/* Reads one prefix. Returns its reserved bytes, which must be zero. */
static u8 vip_unpack(const struct vip_array *array, u32 at,
		     struct vip_prefix *prefix)
{
	const struct vip_shim_prefix4 *v4;
	const struct vip_shim_prefix6 *v6;
	unsigned int i;

	memset(prefix, 0, sizeof(*prefix));
	if (array->bits == 32) {
		v4 = (struct vip_shim_prefix4 *)nla_data(array->attribute) + at;
		prefix->word[0] = be32_to_cpu(v4->address);
		prefix->length = v4->length;
		return v4->zero[0] | v4->zero[1] | v4->zero[2];
	}
	v6 = (struct vip_shim_prefix6 *)nla_data(array->attribute) + at;
	for (i = 0; i < VIP_KEY_WORDS; i++)
		prefix->word[i] = be32_to_cpu(v6->address[i]);
	prefix->length = v6->length;
	return v6->zero[0] | v6->zero[1] | v6->zero[2];
}

static bool vip_prefix_is_valid(const struct vip_prefix *prefix, u8 bits)
{
	unsigned int i;

	if (!prefix->length || prefix->length > bits)
		return false;
	for (i = 0; i < bits / 32; i++) {
		int inside = clamp(prefix->length - (int)i * 32, 0, 32);

		if ((u64)prefix->word[i] << inside & U32_MAX)
			return false;
	}
	return true;
}

static int vip_check_array(struct vip_array *array, struct genl_info *info,
			   int attribute, u8 bits)
{
	size_t size = bits == 32 ? sizeof(struct vip_shim_prefix4) :
				   sizeof(struct vip_shim_prefix6);
	struct vip_prefix prefix;
	u32 at;

	array->attribute = info->attrs[attribute];
	array->bits = bits;
	array->count = array->attribute ? nla_len(array->attribute) / size : 0;
	if (array->attribute && nla_len(array->attribute) % size)
		goto malformed;
	for (at = 0; at < array->count; at++) {
		if (vip_unpack(array, at, &prefix) ||
		    !vip_prefix_is_valid(&prefix, bits))
			goto malformed;
	}
	return 0;

malformed:
	NL_SET_ERR_MSG_ATTR(info->extack, array->attribute,
			    "a prefix has a length, and no bit set beyond it");
	return -EINVAL;
}

/* Addresses that no VIP can have; IPv4, then IPv6 */
static const struct vip_prefix vip_reserved4[] = {
	{ { 0x00000000 }, 8 },		/* this network */
	{ { 0x7f000000 }, 8 },		/* loopback */
	{ { 0xa9fe0000 }, 16 },		/* link-local */
	{ { 0xe0000000 }, 4 },		/* multicast */
	{ { 0xffffffff }, 32 },		/* broadcast */
};

static const struct vip_prefix vip_reserved6[] = {
	{ { 0, 0, 0, 0 }, 128 },	/* unspecified */
	{ { 0, 0, 0, 1 }, 128 },	/* loopback */
	{ { 0, 0, 0xffff, 0 }, 96 },	/* IPv4-mapped */
	{ { 0xfe800000 }, 10 },		/* link-local */
	{ { 0xff000000 }, 8 },		/* multicast */
};

static bool vip_overlaps(const struct vip_prefix *left, const struct vip_prefix *right)
{
	u8 length = min(left->length, right->length);

	return vip_common(left->word, right->word, length) == length;
}

static bool vip_prefix_is_reserved(const struct vip_prefix *prefix, u8 bits)
{
	const struct vip_prefix *reserved = bits == 32 ? vip_reserved4 : vip_reserved6;
	size_t left = bits == 32 ? ARRAY_SIZE(vip_reserved4) : ARRAY_SIZE(vip_reserved6);

	while (left--)
		if (vip_overlaps(prefix, &reserved[left]))
			return true;
	return false;
}

static int vip_check_reserved(const struct vip_array *array, struct genl_info *info)
{
	struct vip_prefix prefix;
	u32 at;

	for (at = 0; at < array->count; at++) {
		vip_unpack(array, at, &prefix);
		if (!vip_prefix_is_reserved(&prefix, array->bits))
			continue;
		NL_SET_ERR_MSG_ATTR(info->extack, array->attribute,
				    "a prefix has addresses that no host can have");
		return -EINVAL;
	}
	return 0;
}

static int vip_check_arrays(struct vip_array arrays[2], struct genl_info *info)
{
	return vip_check_array(&arrays[0], info, VIP_SHIM_A_PREFIXES4, 32) ?:
	       vip_check_array(&arrays[1], info, VIP_SHIM_A_PREFIXES6, 128);
}

static u32 vip_plane_of(const struct genl_info *info)
{
	const struct nlattr *plane = info->attrs[VIP_SHIM_A_PLANE];

	return plane ? nla_get_u32(plane) : 0;
}

/* Undoes adding the first @count prefixes; @before: the services that had them */
static void vip_undo(struct vip_state *state, u32 plane,
		     const struct vip_array *array, u32 count,
		     struct vip_service **before)
{
	struct vip_prefix prefix;

	while (count--) {
		vip_unpack(array, count, &prefix);
		if (before[count])
			WARN_ON_ONCE(vip_state_add(state, before[count], plane,
						   array->bits, &prefix));
		else
			vip_state_remove(state, plane, array->bits, &prefix);
	}
}

/* Adds all of an array or nothing; fills @before with the services that had them */
static int vip_add_array(struct vip_state *state, struct vip_service *service,
			 u32 plane, const struct vip_array *array,
			 struct vip_service **before)
{
	struct vip_prefix prefix;
	u32 at;
	int err;

	for (at = 0; at < array->count; at++) {
		vip_unpack(array, at, &prefix);
		before[at] = vip_trie_get(vip_trie_of(state, plane, array->bits),
					  &prefix);
		err = -ENOSPC;
		if (before[at] || vip_state_count(state) < VIP_SHIM_MAX_PREFIXES)
			err = vip_state_add(state, service, plane, array->bits,
					    &prefix);
		if (err) {
			vip_undo(state, plane, array, at, before);
			return err;
		}
	}
	return 0;
}

static int vip_add_arrays(struct vip_state *state, struct vip_array arrays[2],
			  struct genl_info *info)
{
	struct vip_service *service, **before;
	u32 plane = vip_plane_of(info);
	int err;

	service = xa_load(&state->services,
			  nla_get_u32(info->attrs[VIP_SHIM_A_MARK]));
	if (!service) {
		GENL_SET_ERR_MSG(info, "no service has this mark");
		return -ENOENT;
	}
	before = kvcalloc(arrays[0].count + arrays[1].count, sizeof(*before),
			  GFP_KERNEL_ACCOUNT);
	if (!before)
		return -ENOMEM;
	err = vip_add_array(state, service, plane, &arrays[0], before);
	if (!err) {
		err = vip_add_array(state, service, plane, &arrays[1],
				    before + arrays[0].count);
		if (err)
			vip_undo(state, plane, &arrays[0], arrays[0].count, before);
	}
	if (err == -ENOSPC)
		GENL_SET_ERR_MSG(info, "there would be too many prefixes");
	kvfree(before);
	return err;
}

/**
 * vip_add_prefixes - VIP_SHIM_CMD_ADD
 * @skb:	the command
 * @info:	likewise, its attributes validated
 */
int vip_add_prefixes(struct sk_buff *skb, struct genl_info *info)
{
	struct vip_net *vn = vip_net(genl_info_net(info));
	struct vip_array arrays[2];
	struct vip_state *state;
	int err;

	if (!info->attrs[VIP_SHIM_A_MARK])
		return vip_missing(info, VIP_SHIM_A_MARK);
	err = vip_check_arrays(arrays, info) ?:
	      vip_check_reserved(&arrays[0], info) ?:
	      vip_check_reserved(&arrays[1], info);
	if (err)
		return err;
	mutex_lock(&vn->lock);
	state = vip_target(vn, info);
	err = PTR_ERR_OR_ZERO(state);
	if (!err)
		err = vip_add_arrays(state, arrays, info);
	if (!err)
		vip_changed(vn, info);
	mutex_unlock(&vn->lock);
	return err;
}

/**
 * vip_del_prefixes - VIP_SHIM_CMD_DEL
 * @skb:	the command
 * @info:	likewise, its attributes validated
 */
int vip_del_prefixes(struct sk_buff *skb, struct genl_info *info)
{
	struct vip_net *vn = vip_net(genl_info_net(info));
	struct vip_array arrays[2];
	struct vip_prefix prefix;
	struct vip_state *state;
	unsigned int i;
	u32 at;
	int err;

	err = vip_check_arrays(arrays, info);
	if (err)
		return err;
	mutex_lock(&vn->lock);
	if (!info->attrs[VIP_SHIM_A_STAGED] && !vip_state_locked(vn)) {
		mutex_unlock(&vn->lock);
		return 0;
	}
	state = vip_target(vn, info);
	err = PTR_ERR_OR_ZERO(state);
	for (i = 0; !err && i < 2; i++) {
		for (at = 0; at < arrays[i].count; at++) {
			vip_unpack(&arrays[i], at, &prefix);
			vip_state_remove(state, vip_plane_of(info),
					 arrays[i].bits, &prefix);
		}
	}
	if (!err)
		vip_changed(vn, info);
	mutex_unlock(&vn->lock);
	return err;
}
