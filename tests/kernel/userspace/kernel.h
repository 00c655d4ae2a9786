/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the trie needs of the kernel, in user space: one thread, no RCU. */
#ifndef USERSPACE_KERNEL_H
#define USERSPACE_KERNEL_H

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef uint32_t __be32;

struct mutex { int held; };
struct rcu_head { void (*func)(struct rcu_head *head); };
struct kmem_cache { size_t size; };

extern long allocations_until_failure;	/* negative: never */
extern long objects;			/* allocated and not freed */

static inline bool fails(void)
{
	return allocations_until_failure >= 0 && !allocations_until_failure--;
}

static inline void *counted(void *object)
{
	objects += object ? 1 : 0;
	return object;
}

static inline void uncounted(const void *object)
{
	objects -= object ? 1 : 0;
	free((void *)object);
}

static inline int fls(u32 word)
{
	return word ? 32 - __builtin_clz(word) : 0;
}

static inline struct kmem_cache *kmem_cache_create(const char *name, size_t size, size_t align,
						   unsigned long flags, void (*make)(void *))
{
	struct kmem_cache *cache = calloc(1, sizeof(*cache));

	(void)name, (void)align, (void)flags, (void)make;
	cache->size = size;
	return cache;
}

#define __rcu
#define __init
#define __read_mostly
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define GFP_KERNEL_ACCOUNT 0
#define SLAB_ACCOUNT 0
#define BITS_PER_BYTE 8
#define BIT(number) (1UL << (number))
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define min(left, right) ((left) < (right) ? (left) : (right))
#define container_of(pointer, type, member) \
	((type *)((char *)(pointer) - offsetof(type, member)))
#define struct_size(pointer, member, count) \
	(sizeof(*(pointer)) + (count) * sizeof((pointer)->member[0]))
#define be32_to_cpu(word) ntohl(word)
#define cond_resched()
#define lockdep_is_held(lock) ((lock)->held)
#define rcu_dereference(pointer) (pointer)
#define rcu_dereference_protected(pointer, condition) \
	({ if (!(condition)) abort(); (pointer); })
#define rcu_access_pointer(pointer) (pointer)
#define rcu_assign_pointer(pointer, value) ((pointer) = (value))
#define RCU_INIT_POINTER(pointer, value) ((pointer) = (value))
#define rcu_barrier()
#define call_rcu(head, function) (function)(head)
#define kmem_cache_zalloc(cache, flags) \
	(fails() ? NULL : counted(calloc(1, (cache)->size)))
#define kmem_cache_free(cache, object) ((void)(cache), uncounted(object))
#define kmem_cache_destroy(cache) free(cache)
#define kvcalloc(count, size, flags) (fails() ? NULL : counted(calloc(count, size)))
#define kvfree(object) uncounted(object)

#endif
