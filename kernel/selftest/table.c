// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Longest-prefix match against a model that tries one prefix after the other:
 * run when a module with DEBUG is loaded, which fails if they do not agree.
 */

#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/random.h>
#include <linux/slab.h>

#include "../lookup.h"
#include "selftest.h"

#define VIP_ROUNDS	4000
#define VIP_MODELLED	300	/* prefixes: enough for branches, few enough to try all */

struct vip_modelled {
	struct vip_prefix prefix;
	void *value;		/* NULL: not there */
};

struct vip_model {
	struct vip_trie trie;
	struct vip_modelled known[VIP_MODELLED];
};

/* Few different bits, so that prefixes cover each other */
static void vip_random_address(u32 *word)
{
	unsigned int i;

	for (i = 0; i < VIP_KEY_WORDS; i++)
		word[i] = get_random_u32() & 0x80038003;
}

static void vip_random_prefix(struct vip_prefix *prefix, u8 bits)
{
	unsigned int i;

	vip_random_address(prefix->word);
	prefix->length = 1 + get_random_u32() % bits;
	for (i = 0; i < VIP_KEY_WORDS; i++) {
		int inside = clamp(prefix->length - (int)i * 32, 0, 32);

		prefix->word[i] &= ~(u32)(U32_MAX * 1ULL >> inside);
	}
}

static bool vip_holds(const struct vip_prefix *prefix, const u32 *word)
{
	unsigned int i;

	for (i = 0; i < prefix->length; i++)
		if ((prefix->word[i / 32] ^ word[i / 32]) >> (31 - i % 32) & 1)
			return false;
	return true;
}

static void *vip_model_lookup(const struct vip_model *model, const u32 *word)
{
	const struct vip_modelled *known = model->known, *best = NULL;

	for (; known < model->known + VIP_MODELLED; known++)
		if (known->value && vip_holds(&known->prefix, word) &&
		    (!best || known->prefix.length > best->prefix.length))
			best = known;
	return best ? best->value : NULL;
}

static void *vip_table_lookup(const struct vip_model *model, const u32 *word)
{
	__be32 address[VIP_KEY_WORDS];
	unsigned int i;
	void *found;

	for (i = 0; i < VIP_KEY_WORDS; i++)
		address[i] = cpu_to_be32(word[i]);
	rcu_read_lock();
	if (model->trie.bits == 32)
		found = vip_trie_lookup4(&model->trie, word[0]);
	else
		found = vip_trie_lookup6(&model->trie, address);
	rcu_read_unlock();
	return found;
}

/* Sets or removes one of the prefixes; the same prefix is never known twice */
static bool vip_change(struct vip_model *model)
{
	struct vip_modelled *known = &model->known[get_random_u32() % VIP_MODELLED];

	if (known->value) {
		if (vip_trie_remove(&model->trie, &known->prefix) != known->value)
			return false;
		known->value = NULL;
		return !vip_trie_get(&model->trie, &known->prefix);
	}
	vip_random_prefix(&known->prefix, model->trie.bits);
	if (vip_trie_get(&model->trie, &known->prefix))
		return true;
	if (vip_trie_set(&model->trie, &known->prefix, known))
		return false;
	known->value = known;
	return vip_trie_get(&model->trie, &known->prefix) == known;
}

/* Whether going through the table meets each prefix that the model has, once */
static bool vip_walk(struct vip_model *model)
{
	struct vip_prefix at = {};
	u32 expected = 0, met = 0;
	unsigned int i;
	void *value;

	for (i = 0; i < VIP_MODELLED; i++)
		expected += !!model->known[i].value;
	while (vip_trie_next(&model->trie, &at, &value)) {
		struct vip_modelled *known = value;

		if (known->value != value || known->prefix.length != at.length ||
		    memcmp(known->prefix.word, at.word, model->trie.bits / 8))
			return false;
		met++;
	}
	return met == expected && model->trie.count == expected;
}

static bool vip_agrees(struct vip_model *model)
{
	u32 word[VIP_KEY_WORDS];
	unsigned int round;

	for (round = 0; round < VIP_ROUNDS; round++) {
		if (!vip_change(model))
			return false;
		vip_random_address(word);
		if (vip_table_lookup(model, word) != vip_model_lookup(model, word))
			return false;
	}
	return vip_walk(model);
}

static bool __init vip_selftest_of(u8 bits)
{
	static DEFINE_MUTEX(lock);
	struct vip_model *model;
	bool good;

	model = kvzalloc(sizeof(*model), GFP_KERNEL);
	if (!model)
		return false;
	mutex_lock(&lock);
	vip_trie_init(&model->trie, bits, &lock);
	good = vip_agrees(model);
	vip_trie_destroy(&model->trie);
	mutex_unlock(&lock);
	kvfree(model);
	return good;
}

/**
 * vip_table_selftest - try the table
 *
 * Return: 0, or -ENOTRECOVERABLE, explained in the kernel's log.
 */
int __init vip_table_selftest(void)
{
	if (!vip_selftest_of(32) || !vip_selftest_of(128)) {
		pr_err("vip_shim: selftest of the table failed\n");
		return -ENOTRECOVERABLE;
	}
	pr_info("vip_shim: selftest of the table passed\n");
	return 0;
}
