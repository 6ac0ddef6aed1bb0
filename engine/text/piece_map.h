/* piece_map.h - the two look-ups of BPE: bytes of a piece to its id, and a pair of ids to its
 * merge.
 *
 * Open addressing, grown by doubling. Memory: zero-initialise, free with *_free; a piece_map points
 * to the bytes that it is given, which must outlive it. Threads: look-ups from any thread once
 * nothing is added any more.
 */
#ifndef GM_TEXT_PIECE_MAP_H
#define GM_TEXT_PIECE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct piece_map {
    struct piece_slot {
        const char *text;
        uint32_t len;
        uint32_t hash;
        int32_t id;
    } *slots;
    size_t n, n_slots;
};
int32_t piece_map_find(const struct piece_map *m, const char *text, size_t len); /* -1: not there */
/* Returns the id that stands there already, or -1 after adding this one. */
int32_t piece_map_add(struct piece_map *m, const char *text, size_t len, int32_t id);
void piece_map_free(struct piece_map *m);
uint32_t piece_hash(const char *text, size_t len);

struct pair_map {
    struct pair_slot {
        uint64_t key; /* left << 32 | right, plus 1 */
        uint32_t rank;
        int32_t id;
    } *slots;
    size_t n, n_slots;
};
/* NULL: these two never merge. */
const struct pair_slot *pair_map_find(const struct pair_map *m, int32_t left, int32_t right);
void pair_map_set(struct pair_map *m, int32_t left, int32_t right, uint32_t rank,
                  int32_t id); /* a later one replaces */
void pair_map_free(struct pair_map *m);

#endif
