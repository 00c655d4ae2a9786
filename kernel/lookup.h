/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Longest-prefix match: the lookup, inline for the data path. */
#ifndef VIP_SHIM_LOOKUP_H
#define VIP_SHIM_LOOKUP_H

#include <asm/byteorder.h>

#include "node.h"

static __always_inline bool vip_covers(unsigned int words,
				       const struct vip_node *node,
				       const u32 *word)
{
	unsigned int left = node->length, i;

	for (i = 0; i + 1 < words && left >= 32; i++, left -= 32)
		if (node->word[i] != word[i])
			return false;
	return !((u64)(node->word[i] ^ word[i]) >> (32 - left));
}

/* The child of a node on the way to an address; prefixes of full length have none */
static __always_inline const struct vip_node *
vip_below(unsigned int words, const struct vip_node *node, const u32 *word)
{
	if (words == 1)
		return rcu_dereference(node->child[(u64)word[0] << node->length >> 31 & 1]);
	if (node->length == words * 32)
		return NULL;
	return rcu_dereference(node->child[vip_bit(word, node->length)]);
}

/*
 * The value of the longest prefix from @node on that covers the address. Only
 * nodes with a value are compared: all that cover the address are on the path
 * that its bits lead along.
 */
static __always_inline void *vip_search(unsigned int words,
					const struct vip_node *node,
					const u32 *word)
{
	void *found = NULL, *value;

	for (; node; node = vip_below(words, node, word)) {
		value = rcu_dereference(node->value);
		if (!value)
			continue;
		if (!vip_covers(words, node, word))
			break;
		found = value;
	}
	return found;
}

static __always_inline void *vip_lookup(unsigned int words,
					const struct vip_trie *trie,
					const u32 *word)
{
	struct vip_node __rcu **index = rcu_dereference(trie->index);
	const struct vip_node *node;
	void *found = NULL;

	if (index) {
		node = rcu_dereference(index[word[0] >> (32 - VIP_INDEX_BITS)]);
		found = vip_search(words, node, word);
	}
	return found ?: vip_search(words, rcu_dereference(trie->root), word);
}

/**
 * vip_trie_lookup4 - the value of the longest prefix that holds an address
 * @trie:	of IPv4
 * @address:	in host byte order
 *
 * Return: NULL if none does. Call it under rcu_read_lock().
 */
static __always_inline void *vip_trie_lookup4(const struct vip_trie *trie,
					      u32 address)
{
	return vip_lookup(1, trie, &address);
}

/**
 * vip_trie_lookup6 - the value of the longest prefix that holds an address
 * @trie:	of IPv6
 * @address:	in network byte order
 *
 * Return: NULL if none does. Call it under rcu_read_lock().
 */
static __always_inline void *vip_trie_lookup6(const struct vip_trie *trie,
					      const __be32 address[4])
{
	u32 word[VIP_KEY_WORDS];
	unsigned int i;

	for (i = 0; i < VIP_KEY_WORDS; i++)
		word[i] = be32_to_cpu(address[i]);
	return vip_lookup(VIP_KEY_WORDS, trie, word);
}

#endif
