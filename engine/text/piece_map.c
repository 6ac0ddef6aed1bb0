/* piece_map.c - see piece_map.h. */
#include "engine/text/piece_map.h"

#include "engine/base/mem.h"

#include <string.h>

uint32_t piece_hash(const char *text, size_t len)
{
    uint64_t h = 0x9E3779B97F4A7C15u ^ len;
    while (len >= 8) {
        uint64_t w;
        memcpy(&w, text, 8);
        h = (h ^ w) * 0xFF51AFD7ED558CCDu;
        h ^= h >> 32;
        text += 8;
        len -= 8;
    }
    uint64_t w = 0;
    memcpy(&w, text, len);
    h = (h ^ w) * 0xFF51AFD7ED558CCDu;
    h ^= h >> 29;
    h *= 0xC4CEB9FE1A85EC53u;
    return (uint32_t)(h >> 32);
}

static struct piece_slot *piece_place(const struct piece_map *m, const char *text, size_t len,
                                      uint32_t hash)
{
    size_t mask = m->n_slots - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct piece_slot *s = &m->slots[i];
        if (!s->text || (s->hash == hash && s->len == len && memcmp(s->text, text, len) == 0))
            return s;
    }
}

int32_t piece_map_find(const struct piece_map *m, const char *text, size_t len)
{
    if (m->n == 0)
        return -1;
    const struct piece_slot *s = piece_place(m, text, len, piece_hash(text, len));
    return s->text ? s->id : -1;
}

int32_t piece_map_add(struct piece_map *m, const char *text, size_t len, int32_t id)
{
    if (m->n * 2 >= m->n_slots) {
        struct piece_map grown = {.n = m->n, .n_slots = m->n_slots ? 2 * m->n_slots : 64};
        grown.slots = mem_new(grown.n_slots, sizeof *grown.slots);
        for (size_t i = 0; i < m->n_slots; i++) {
            const struct piece_slot *s = &m->slots[i];
            if (s->text)
                *piece_place(&grown, s->text, s->len, s->hash) = *s;
        }
        mem_free(m->slots);
        *m = grown;
    }
    uint32_t hash = piece_hash(text, len);
    struct piece_slot *s = piece_place(m, text, len, hash);
    if (s->text)
        return s->id;
    *s = (struct piece_slot){.text = text, .len = (uint32_t)len, .hash = hash, .id = id};
    m->n++;
    return -1;
}

void piece_map_free(struct piece_map *m)
{
    mem_free(m->slots);
    *m = (struct piece_map){0};
}

static uint64_t pair_key(int32_t left, int32_t right)
{
    return ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) + 1;
}

static struct pair_slot *pair_place(const struct pair_map *m, uint64_t key)
{
    size_t mask = m->n_slots - 1;
    uint64_t h = key * 0x9E3779B97F4A7C15u;
    for (size_t i = (h ^ h >> 32) & mask;; i = (i + 1) & mask)
        if (m->slots[i].key == key || m->slots[i].key == 0)
            return &m->slots[i];
}

const struct pair_slot *pair_map_find(const struct pair_map *m, int32_t left, int32_t right)
{
    if (m->n == 0 || left < 0 || right < 0)
        return NULL;
    const struct pair_slot *s = pair_place(m, pair_key(left, right));
    return s->key ? s : NULL;
}

void pair_map_set(struct pair_map *m, int32_t left, int32_t right, uint32_t rank, int32_t id)
{
    if (m->n * 2 >= m->n_slots) {
        struct pair_map grown = {.n = m->n, .n_slots = m->n_slots ? 2 * m->n_slots : 64};
        grown.slots = mem_new(grown.n_slots, sizeof *grown.slots);
        for (size_t i = 0; i < m->n_slots; i++)
            if (m->slots[i].key)
                *pair_place(&grown, m->slots[i].key) = m->slots[i];
        mem_free(m->slots);
        *m = grown;
    }
    uint64_t key = pair_key(left, right);
    struct pair_slot *s = pair_place(m, key);
    if (!s->key)
        m->n++;
    *s = (struct pair_slot){.key = key, .rank = rank, .id = id};
}

void pair_map_free(struct pair_map *m)
{
    mem_free(m->slots);
    *m = (struct pair_map){0};
}
