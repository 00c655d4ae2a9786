// SPDX-License-Identifier: GPL-2.0-or-later
/* Longest-prefix match: going through all prefixes, for dumps. */

#include <linux/kernel.h>

#include "node.h"

/* The first prefix below a node, itself included */
static struct vip_node *vip_first(const struct vip_trie *trie,
				  struct vip_node *node)
{
	while (node && !rcu_access_pointer(node->value))
		node = vip_locked(trie, node->child[0]);
	return node;
}

/* The first prefix below @node that comes after this one */
static struct vip_node *vip_after(const struct vip_trie *trie,
				  struct vip_node *node,
				  const struct vip_prefix *prefix)
{
	struct vip_node *later = NULL;
	unsigned int common, bit;

	while (node) {
		common = vip_common(node->word, prefix->word,
				    min(node->length, prefix->length));
		if (common < min(node->length, prefix->length)) {
			if (vip_bit(node->word, common))
				later = node;
			break;
		}
		if (node->length > prefix->length) {
			later = node;
			break;
		}
		if (node->length == prefix->length) {
			later = vip_locked(trie, node->child[0]) ?:
				vip_locked(trie, node->child[1]) ?: later;
			break;
		}
		bit = vip_bit(prefix->word, node->length);
		if (!bit)
			later = vip_locked(trie, node->child[1]) ?: later;
		node = vip_locked(trie, node->child[bit]);
	}
	return vip_first(trie, later);
}

static struct vip_node *vip_after_indexed(const struct vip_trie *trie,
					  const struct vip_prefix *prefix)
{
	struct vip_node __rcu **index = vip_locked(trie, trie->index);
	unsigned int at = prefix->word[0] >> (32 - VIP_INDEX_BITS);
	struct vip_node *found = NULL;

	if (!index)
		return NULL;
	if (prefix->length >= VIP_INDEX_BITS)
		found = vip_after(trie, vip_locked(trie, index[at++]), prefix);
	for (; !found && at < VIP_INDEX_SIZE; at++)
		found = vip_first(trie, vip_locked(trie, index[at]));
	return found;
}

/**
 * vip_trie_next - the prefix that follows this one
 * @trie:	not changed
 * @prefix:	this one, whether or not it is there; becomes the next one
 * @value:	becomes the value of the next one
 *
 * Prefixes shorter than VIP_INDEX_BITS come first. A prefix of length 0 that is
 * not there comes before all.
 *
 * Return: whether there is one.
 */
bool vip_trie_next(const struct vip_trie *trie, struct vip_prefix *prefix,
		   void **value)
{
	struct vip_node *found = NULL;
	struct vip_prefix first = {};

	if (prefix->length < VIP_INDEX_BITS) {
		found = vip_after(trie, vip_locked(trie, trie->root), prefix);
		if (!found)
			prefix = memcpy(prefix, &first, sizeof(first));
	}
	if (!found)
		found = vip_after_indexed(trie, prefix);
	if (!found)
		return false;
	memset(prefix, 0, sizeof(*prefix));
	memcpy(prefix->word, found->word, trie->bits / BITS_PER_BYTE);
	prefix->length = found->length;
	*value = vip_locked(trie, found->value);
	return true;
}
