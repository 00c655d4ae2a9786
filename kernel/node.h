/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The nodes of tries: for table.c and walk.c. */
#ifndef VIP_SHIM_NODE_H
#define VIP_SHIM_NODE_H

#include <linux/bits.h>
#include <linux/kernel.h>

#include "table.h"

#define VIP_INDEX_BITS	16
#define VIP_INDEX_SIZE	BIT(VIP_INDEX_BITS)

struct vip_node {
	struct vip_node __rcu *child[2];
	void __rcu *value;
	struct rcu_head rcu;
	u8 bits;
	u8 length;
	u32 word[];
};

#define vip_locked(trie, pointer) \
	rcu_dereference_protected(pointer, lockdep_is_held((trie)->lock))

/* How many leading bits two addresses have in common, at most @limit */
static inline unsigned int vip_common(const u32 *left, const u32 *right,
				      unsigned int limit)
{
	unsigned int word, at;

	for (word = 0; word * 32 < limit; word++) {
		u32 differs = left[word] ^ right[word];

		if (differs) {
			at = word * 32 + 32 - fls(differs);
			return min(at, limit);
		}
	}
	return limit;
}

static inline unsigned int vip_bit(const u32 *word, u8 at)
{
	return word[at / 32] >> (31 - at % 32) & 1;
}

#endif
