/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Longest-prefix match: a path-compressed binary trie. Readers are under RCU
 * and never wait; the caller serialises writers.
 */
#ifndef VIP_SHIM_TABLE_H
#define VIP_SHIM_TABLE_H

#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/types.h>

#define VIP_KEY_WORDS	4	/* of an IPv6 address; an IPv4 address is one */

struct vip_node;

/**
 * struct vip_prefix - a prefix in host byte order, most significant word first
 * @word:	the address; no bit beyond @length is set
 * @length:	in bits
 */
struct vip_prefix {
	u32 word[VIP_KEY_WORDS];
	u8 length;
};

/**
 * struct vip_trie - prefixes of one IP version, each with a value
 * @root:	of prefixes that are shorter than the index
 * @index:	roots by the first VIP_INDEX_BITS bits of all other prefixes
 * @lock:	held by whoever changes it
 * @bits:	of an address: 32 or 128
 * @count:	prefixes
 */
struct vip_trie {
	struct vip_node __rcu *root;
	struct vip_node __rcu * __rcu *index;
	struct mutex *lock;	/* of the namespace */
	u8 bits;
	u32 count;
};

void vip_trie_init(struct vip_trie *trie, u8 bits, struct mutex *lock);
void vip_trie_destroy(struct vip_trie *trie);

int vip_trie_set(struct vip_trie *trie, const struct vip_prefix *prefix,
		 void *value);
void *vip_trie_remove(struct vip_trie *trie, const struct vip_prefix *prefix);
void *vip_trie_get(const struct vip_trie *trie,
		   const struct vip_prefix *prefix);
bool vip_trie_next(const struct vip_trie *trie, struct vip_prefix *prefix,
		   void **value);

int vip_table_init(void);
void vip_table_exit(void);

#endif
