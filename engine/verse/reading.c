/* reading.c - sets of syllable counts and their sums. */
#include "engine/verse/reading.h"

#include <assert.h>

struct reading reading_of(int count, enum source source)
{
    struct reading r = {.n = 1, .count = {count}, .source = source};
    return r;
}

void reading_bounds(const struct reading *a, int *min, int *max)
{
    *min = *max = a->count[0];
    for (int i = 1; i < a->n; i++) {
        if (a->count[i] < *min)
            *min = a->count[i];
        if (a->count[i] > *max)
            *max = a->count[i];
    }
}

static bool holds(const struct reading *a, int count)
{
    for (int i = 0; i < a->n; i++)
        if (a->count[i] == count)
            return true;
    return false;
}

void reading_also(struct reading *a, int count)
{
    assert(a->n >= 1);
    if (count < 0 || holds(a, count))
        return;
    if (count > READING_CAP)
        count = READING_CAP;
    if (a->n < SYLLABLES_ALTERNATIVES) {
        a->count[a->n++] = count;
        return;
    }
    int min, max;
    reading_bounds(a, &min, &max);
    if (count > min && count < max)
        return;
    /* Full: the new extreme takes the place of the old one on its side, never of the likely count.
     */
    for (int i = 1; i < a->n; i++)
        if (a->count[i] == (count < min ? min : max)) {
            a->count[i] = count;
            return;
        }
    a->count[a->n - 1] = count;
}

void reading_or(struct reading *a, const struct reading *b)
{
    for (int i = 0; i < b->n; i++)
        reading_also(a, b->count[i]);
}

void reading_plus(struct reading *a, const struct reading *b)
{
    struct reading sum = {.n = 0, .source = a->source > b->source ? a->source : b->source};
    int likely = a->count[0] + b->count[0];
    sum.count[0] = likely < READING_CAP ? likely : READING_CAP;
    sum.n = 1;
    for (int i = 0; i < a->n; i++)
        for (int j = 0; j < b->n; j++)
            reading_also(&sum, a->count[i] + b->count[j]);
    *a = sum;
}

void reading_shift(struct reading *a, int by)
{
    struct reading moved = {.n = 0, .source = a->source};
    for (int i = 0; i < a->n; i++) {
        int count = a->count[i] + by < 0 ? 0 : a->count[i] + by;
        if (!holds(&moved, count))
            moved.count[moved.n++] = count;
    }
    *a = moved;
}

const char *source_name(enum source source)
{
    static const char *const names[] = {"none",    "overlay",    "dictionary", "number",
                                        "letters", "inflection", "compound",   "rules"};
    return names[source];
}
