// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Longest-prefix match.
 *
 * A node stands for a prefix; all nodes below it begin with that prefix. A node
 * without a value is a branch and has two children. Prefixes of at least
 * VIP_INDEX_BITS bits are in tries that an array has by their first bits: a lookup
 * among a million scattered addresses then begins four levels above its leaf and not
 * twenty. Shorter prefixes, of which there are few, have a trie of their own.
 */

#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <asm/byteorder.h>

#include "node.h"

/* Nodes of IPv4 and IPv6, which differ in their size */
static struct kmem_cache *vip_nodes[2] __read_mostly;

static unsigned int vip_words(u8 bits)
{
	return bits / 32;
}

static struct kmem_cache *vip_cache(u8 bits)
{
	return vip_nodes[bits == 128];
}

static struct vip_node *vip_node_new(const struct vip_trie *trie,
				     const u32 *word, u8 length, void *value)
{
	struct vip_node *node;
	unsigned int i;

	node = kmem_cache_zalloc(vip_cache(trie->bits), GFP_KERNEL_ACCOUNT);
	if (!node)
		return NULL;
	node->bits = trie->bits;
	node->length = length;
	for (i = 0; i * 32 < length; i++)
		node->word[i] = word[i];
	if (length % 32)
		node->word[length / 32] &= ~0U << (32 - length % 32);
	RCU_INIT_POINTER(node->value, value);
	return node;
}

static void vip_node_free_rcu(struct rcu_head *head)
{
	struct vip_node *node = container_of(head, struct vip_node, rcu);

	kmem_cache_free(vip_cache(node->bits), node);
}

static void vip_node_free(struct vip_node *node)
{
	call_rcu(&node->rcu, vip_node_free_rcu);
}

/* Where the search for a prefix begins; NULL if there is no such place yet */
static struct vip_node __rcu **vip_top(const struct vip_trie *trie,
				       const struct vip_prefix *prefix)
{
	struct vip_node __rcu **index = vip_locked(trie, trie->index);

	if (prefix->length < VIP_INDEX_BITS)
		return (struct vip_node __rcu **)&trie->root;
	return index ? &index[prefix->word[0] >> (32 - VIP_INDEX_BITS)] : NULL;
}

static int vip_index_new(struct vip_trie *trie)
{
	struct vip_node __rcu **index;

	index = kvcalloc(VIP_INDEX_SIZE, sizeof(*index), GFP_KERNEL_ACCOUNT);
	if (!index)
		return -ENOMEM;
	rcu_assign_pointer(trie->index, index);
	return 0;
}

static struct vip_node __rcu **vip_child(struct vip_node *node, const u32 *word)
{
	return &node->child[vip_bit(word, node->length)];
}

/* Descends to the place of the first node that is not a shorter prefix of this one */
static struct vip_node __rcu **vip_descend(const struct vip_trie *trie,
					   struct vip_node __rcu **place,
					   const struct vip_prefix *prefix,
					   struct vip_node __rcu ***above)
{
	struct vip_node *node;

	*above = NULL;
	while ((node = vip_locked(trie, *place)) &&
	       node->length < prefix->length &&
	       vip_common(node->word, prefix->word, node->length) == node->length) {
		*above = place;
		place = vip_child(node, prefix->word);
	}
	return place;
}

static bool vip_is(const struct vip_node *node, const struct vip_prefix *prefix)
{
	return node && node->length == prefix->length &&
	       vip_common(node->word, prefix->word, prefix->length) == prefix->length;
}

/* Puts a node in the place of an old one: above it, or both below a new branch */
static int vip_split(struct vip_trie *trie, struct vip_node __rcu **place,
		     struct vip_node *node, struct vip_node *old)
{
	unsigned int common = vip_common(node->word, old->word,
					 min(node->length, old->length));
	struct vip_node *branch = node;

	if (common < node->length) {
		branch = vip_node_new(trie, node->word, common, NULL);
		if (!branch)
			return -ENOMEM;
		RCU_INIT_POINTER(*vip_child(branch, node->word), node);
	}
	RCU_INIT_POINTER(*vip_child(branch, old->word), old);
	rcu_assign_pointer(*place, branch);
	return 0;
}

/**
 * vip_trie_set - give a prefix a value, whether or not it has one
 * @trie:	changed, unless this fails
 * @prefix:	the prefix
 * @value:	not NULL
 *
 * Return: 0, or -ENOMEM.
 */
int vip_trie_set(struct vip_trie *trie, const struct vip_prefix *prefix,
		 void *value)
{
	struct vip_node __rcu **place, **above;
	struct vip_node *node, *old;
	int err;

	place = vip_top(trie, prefix);
	if (!place) {
		err = vip_index_new(trie);
		if (err)
			return err;
		place = vip_top(trie, prefix);
	}
	place = vip_descend(trie, place, prefix, &above);
	old = vip_locked(trie, *place);
	if (vip_is(old, prefix)) {
		trie->count += !rcu_access_pointer(old->value);
		rcu_assign_pointer(old->value, value);
		return 0;
	}
	node = vip_node_new(trie, prefix->word, prefix->length, value);
	if (!node)
		return -ENOMEM;
	if (!old) {
		rcu_assign_pointer(*place, node);
	} else {
		err = vip_split(trie, place, node, old);
		if (err) {
			kmem_cache_free(vip_cache(trie->bits), node);
			return err;
		}
	}
	trie->count++;
	return 0;
}

/* Removes a node without a value, unless it has two children */
static void vip_prune(struct vip_trie *trie, struct vip_node __rcu **place)
{
	struct vip_node *node = vip_locked(trie, *place);
	struct vip_node *left = vip_locked(trie, node->child[0]);
	struct vip_node *right = vip_locked(trie, node->child[1]);

	if (rcu_access_pointer(node->value) || (left && right))
		return;
	rcu_assign_pointer(*place, left ?: right);
	vip_node_free(node);
}

/**
 * vip_trie_remove - take a prefix out
 * @trie:	changed, if it has the prefix
 * @prefix:	the prefix
 *
 * Return: its value, or NULL if it has none.
 */
void *vip_trie_remove(struct vip_trie *trie, const struct vip_prefix *prefix)
{
	struct vip_node __rcu **place = vip_top(trie, prefix), **above;
	struct vip_node *node;
	void *value;

	if (!place)
		return NULL;
	place = vip_descend(trie, place, prefix, &above);
	node = vip_locked(trie, *place);
	if (!vip_is(node, prefix))
		return NULL;
	value = vip_locked(trie, node->value);
	if (!value)
		return NULL;
	RCU_INIT_POINTER(node->value, NULL);
	vip_prune(trie, place);
	if (above)
		vip_prune(trie, above);
	trie->count--;
	return value;
}

/**
 * vip_trie_get - the value of exactly this prefix
 * @trie:	not changed
 * @prefix:	the prefix
 *
 * Return: NULL if the trie has no such prefix.
 */
void *vip_trie_get(const struct vip_trie *trie, const struct vip_prefix *prefix)
{
	struct vip_node __rcu **place = vip_top(trie, prefix), **above;
	struct vip_node *node;

	if (!place)
		return NULL;
	node = vip_locked(trie, *vip_descend(trie, place, prefix, &above));
	return vip_is(node, prefix) ? vip_locked(trie, node->value) : NULL;
}

/* For a trie that nobody else can reach any more: no lock is needed */
#define vip_alone(pointer) rcu_dereference_protected(pointer, true)

/* Frees all nodes without recursion: rotates until a node has no left child */
static void vip_free_below(const struct vip_trie *trie, struct vip_node *node)
{
	struct vip_node *left;

	while (node) {
		left = vip_alone(node->child[0]);
		if (left) {
			RCU_INIT_POINTER(node->child[0],
					 vip_alone(left->child[1]));
			RCU_INIT_POINTER(left->child[1], node);
			node = left;
		} else {
			left = vip_alone(node->child[1]);
			kmem_cache_free(vip_cache(trie->bits), node);
			node = left;
			cond_resched();
		}
	}
}

void vip_trie_init(struct vip_trie *trie, u8 bits, struct mutex *lock)
{
	memset(trie, 0, sizeof(*trie));
	trie->bits = bits;
	trie->lock = lock;
}

/**
 * vip_trie_destroy - free all nodes
 * @trie:	one that no reader can find any more
 */
void vip_trie_destroy(struct vip_trie *trie)
{
	struct vip_node __rcu **index = vip_alone(trie->index);
	unsigned int at;

	vip_free_below(trie, vip_alone(trie->root));
	for (at = 0; index && at < VIP_INDEX_SIZE; at++) {
		vip_free_below(trie, vip_alone(index[at]));
		cond_resched();
	}
	kvfree(index);
	vip_trie_init(trie, trie->bits, trie->lock);
}

int __init vip_table_init(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(vip_nodes); i++) {
		size_t words = vip_words(i ? 128 : 32);

		vip_nodes[i] = kmem_cache_create(i ? "vip_shim_node6" : "vip_shim_node4",
						 offsetof(struct vip_node, word[words]),
						 0, SLAB_ACCOUNT, NULL);
		if (!vip_nodes[i]) {
			vip_table_exit();
			return -ENOMEM;
		}
	}
	return 0;
}

void vip_table_exit(void)
{
	rcu_barrier();
	kmem_cache_destroy(vip_nodes[0]);
	kmem_cache_destroy(vip_nodes[1]);
}
