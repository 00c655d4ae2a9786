// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The trie against a naive model. Input: a byte of which the lowest bit is the IP version, then
 * operations of OPERATION bytes: what to do, a prefix length, and four bytes of an address. Of an
 * IPv6 address each of them is the ends of a word.
 */

#include <stdio.h>

#include "kernel.h"
#include "lookup.h"
#include "node.h"

#define MODEL_SIZE 64
#define OPERATION 6
#define MAYBE_FAIL 0x80		/* in the first byte of an operation: an allocation fails */

long allocations_until_failure = -1;
long objects;

struct entry {
	struct vip_prefix prefix;
	void *value;
};

static struct entry model[MODEL_SIZE];
static struct mutex lock = { .held = 1 };
static u8 bits;

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "line %d: not %s\n", __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

static bool holds(const struct vip_prefix *prefix, const u32 *word)
{
	for (int i = 0, left = prefix->length; left > 0; i++, left -= 32)
		if ((prefix->word[i] ^ word[i]) >> (left < 32 ? 32 - left : 0))
			return false;
	return true;
}

static struct entry *find(const struct vip_prefix *prefix)
{
	for (int i = 0; i < MODEL_SIZE; i++)
		if (model[i].value && model[i].prefix.length == prefix->length &&
		    holds(prefix, model[i].prefix.word))
			return &model[i];
	return NULL;
}

static struct entry *vacant(void)
{
	for (int i = 0; i < MODEL_SIZE; i++)
		if (!model[i].value)
			return &model[i];
	return NULL;
}

static unsigned int used(void)
{
	unsigned int count = 0;

	for (int i = 0; i < MODEL_SIZE; i++)
		count += model[i].value != NULL;
	return count;
}

static void *longest(const u32 *word)
{
	struct entry *best = NULL;

	for (int i = 0; i < MODEL_SIZE; i++)
		if (model[i].value && holds(&model[i].prefix, word) &&
		    (!best || model[i].prefix.length > best->prefix.length))
			best = &model[i];
	return best ? best->value : NULL;
}

/* The order of a walk: those that are not in the index first, then by address, then by length */
static int compare(const struct vip_prefix *left, const struct vip_prefix *right)
{
	int indexed = (left->length >= VIP_INDEX_BITS) - (right->length >= VIP_INDEX_BITS);

	if (indexed)
		return indexed;
	for (int i = 0; i < VIP_KEY_WORDS; i++)
		if (left->word[i] != right->word[i])
			return left->word[i] < right->word[i] ? -1 : 1;
	return left->length - right->length;
}

static struct entry *following(const struct vip_prefix *prefix)
{
	struct entry *best = NULL;

	for (int i = 0; i < MODEL_SIZE; i++)
		if (model[i].value && compare(&model[i].prefix, prefix) > 0 &&
		    (!best || compare(&model[i].prefix, &best->prefix) < 0))
			best = &model[i];
	return best;
}

static void check_lookup(const struct vip_trie *trie, const u32 *word)
{
	__be32 address[4];

	for (int i = 0; i < 4; i++)
		address[i] = htonl(word[i]);
	CHECK((bits == 32 ? vip_trie_lookup4(trie, word[0]) : vip_trie_lookup6(trie, address)) ==
	      longest(word));
}

/* Also from a prefix that is not there. Returns whether there is a next one, and steps to it */
static bool check_next(const struct vip_trie *trie, struct vip_prefix *prefix)
{
	struct entry *expected = following(prefix);
	void *value = NULL;

	CHECK(vip_trie_next(trie, prefix, &value) == (expected != NULL));
	if (!expected)
		return false;
	CHECK(!compare(prefix, &expected->prefix));
	CHECK(value == expected->value);
	return true;
}

static void check_walk(const struct vip_trie *trie)
{
	struct vip_prefix prefix = {};
	unsigned int count = 0;

	while (check_next(trie, &prefix))
		CHECK(++count <= MODEL_SIZE);
	CHECK(count == used());
}

/* As many branches as that many prefixes can need, and no other object but the index */
static void check_size(const struct vip_trie *trie, long before)
{
	long nodes = objects - before - (trie->index != NULL);

	CHECK(trie->count == used());
	CHECK(nodes >= trie->count);
	CHECK(nodes < 2 * (long)trie->count || !nodes);
}

static void set(struct vip_trie *trie, const struct vip_prefix *prefix, void *value)
{
	struct entry *entry = find(prefix) ?: vacant();
	int err;

	if (!entry)
		return;
	err = vip_trie_set(trie, prefix, value);
	CHECK(err == 0 || err == -ENOMEM);
	if (!err)
		*entry = (struct entry){ *prefix, value };
}

static void take_out(struct vip_trie *trie, const struct vip_prefix *prefix)
{
	struct entry *entry = find(prefix);

	CHECK(vip_trie_remove(trie, prefix) == (entry ? entry->value : NULL));
	if (entry)
		entry->value = NULL;
}

static void check_get(const struct vip_trie *trie, const struct vip_prefix *prefix)
{
	struct entry *entry = find(prefix);

	CHECK(vip_trie_get(trie, prefix) == (entry ? entry->value : NULL));
}

static void destroy(struct vip_trie *trie)
{
	vip_trie_destroy(trie);
	memset(model, 0, sizeof(model));
}

static void parse(const u8 *data, struct vip_prefix *prefix, u32 *word)
{
	memset(word, 0, VIP_KEY_WORDS * sizeof(*word));
	for (unsigned int i = 0; i < 4; i++) {
		if (bits == 32)
			word[0] |= (u32)data[2 + i] << (24 - 8 * i);
		else
			word[i] = (u32)(data[2 + i] & 0xf0) << 24 | (data[2 + i] & 0x0f);
	}
	memset(prefix, 0, sizeof(*prefix));
	prefix->length = 1 + data[1] % bits;
	for (int i = 0, left = prefix->length; left > 0; i++, left -= 32)
		prefix->word[i] = word[i] & (left < 32 ? ~0U << (32 - left) : ~0U);
}

static void operate(struct vip_trie *trie, const u8 *data)
{
	struct vip_prefix prefix;
	u32 word[VIP_KEY_WORDS];

	parse(data, &prefix, word);
	allocations_until_failure = data[0] & MAYBE_FAIL ? data[0] >> 4 & 3 : -1;
	switch (data[0] & 7) {
	case 0:
	case 1:
	case 2:
		set(trie, &prefix, &model[data[0] >> 3 & 15]);
		break;
	case 3:
	case 4:
		take_out(trie, &prefix);
		break;
	case 5:
		check_next(trie, &prefix);
		break;
	case 6:
		check_lookup(trie, word);
		break;
	case 7:
		if (!data[1])
			destroy(trie);
	}
	allocations_until_failure = -1;
	check_get(trie, &prefix);
	check_lookup(trie, prefix.word);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct vip_trie trie;
	long before = objects;

	if (!size)
		return 0;
	bits = data[0] & 1 ? 128 : 32;
	memset(model, 0, sizeof(model));
	CHECK(!vip_table_init());
	vip_trie_init(&trie, bits, &lock);
	for (size_t at = 1; at + OPERATION <= size; at += OPERATION) {
		operate(&trie, data + at);
		check_size(&trie, before);
	}
	check_walk(&trie);
	destroy(&trie);
	CHECK(objects == before);
	vip_table_exit();
	return 0;
}
