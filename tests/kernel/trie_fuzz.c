// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The trie against a naive model. Input: operations of 18 bytes each; what it does, a prefix length,
 * an address of which a few bits vary, so that prefixes meet.
 */

#include <stdio.h>

#include "kernel.h"
#include "table.h"

#define MODEL_SIZE 64
#define OPERATION 18

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

static bool bit_of(const u32 *word, unsigned int at)
{
	return word[at / 32] >> (31 - at % 32) & 1;
}

static bool holds(const struct vip_prefix *prefix, const u32 *word)
{
	for (unsigned int at = 0; at < prefix->length; at++)
		if (bit_of(prefix->word, at) != bit_of(word, at))
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

static void check_lookup(const struct vip_trie *trie, const u32 *word)
{
	__be32 address[4];

	for (int i = 0; i < 4; i++)
		address[i] = htonl(word[i]);
	CHECK((bits == 32 ? vip_trie_lookup4(trie, word[0]) : vip_trie_lookup6(trie, address)) ==
	      longest(word));
}

/* Every prefix once, in an order that does not depend on how they came there */
static void check_walk(const struct vip_trie *trie)
{
	struct vip_prefix prefix = {};
	unsigned int count = 0;
	void *value;

	while (vip_trie_next(trie, &prefix, &value)) {
		struct entry *entry = find(&prefix);

		CHECK(entry && entry->value == value);
		CHECK(++count <= MODEL_SIZE);
	}
	CHECK(count == used());
	CHECK(trie->count == count);
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

	CHECK(vip_trie_get(trie, prefix) == (entry ? entry->value : NULL));
	CHECK(vip_trie_remove(trie, prefix) == (entry ? entry->value : NULL));
	if (entry)
		entry->value = NULL;
}

static void parse(const u8 *data, struct vip_prefix *prefix, u32 *word)
{
	memset(word, 0, 4 * sizeof(*word));
	for (unsigned int i = 0; i < bits / 32; i++)
		word[i] = (u32)data[2 + 4 * i] << 24 | (data[3 + 4 * i] & 3) << 16 |
			  (data[4 + 4 * i] & 1) << 8 | (data[5 + 4 * i] & 7);
	memset(prefix, 0, sizeof(*prefix));
	prefix->length = 1 + data[1] % bits;
	for (unsigned int at = 0; at < prefix->length; at++)
		prefix->word[at / 32] |= (u32)bit_of(word, at) << (31 - at % 32);
}

static void operate(struct vip_trie *trie, const u8 *data, unsigned int number)
{
	struct vip_prefix prefix;
	u32 word[4];

	parse(data, &prefix, word);
	allocations_until_failure = data[0] & 0x80 ? data[0] >> 4 & 3 : -1;
	if ((data[0] & 3) < 2)
		set(trie, &prefix, &model[number % MODEL_SIZE]);
	else if ((data[0] & 3) == 2)
		take_out(trie, &prefix);
	allocations_until_failure = -1;
	check_lookup(trie, word);
	check_lookup(trie, prefix.word);
	check_walk(trie);
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
	for (size_t at = 1; at + OPERATION <= size; at += OPERATION)
		operate(&trie, data + at, at / OPERATION);
	vip_trie_destroy(&trie);
	vip_table_exit();
	CHECK(objects == before);
	return 0;
}

#ifndef LIBFUZZER
int main(int argc, char **argv)
{
	unsigned int rounds = argc > 1 ? atoi(argv[1]) : 100;
	u8 data[1 + 200 * OPERATION];

	srandom(argc > 2 ? atoi(argv[2]) : 1);
	for (unsigned int round = 0; round < rounds; round++) {
		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = random() >> 8;
		LLVMFuzzerTestOneInput(data, sizeof(data));
	}
	printf("%u rounds of %u operations: the trie and the model agree\n", rounds, 200);
	return 0;
}
#endif
