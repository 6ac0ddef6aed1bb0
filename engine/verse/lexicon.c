/* lexicon.c - opens, checks and searches the pronunciation table and the overlay. */
#include "engine/verse/lexicon.h"

#include "engine/base/mem.h"
#include "engine/builtin/builtin.h"

#include <stdlib.h>
#include <string.h>

enum {
    HEADER_BYTES = 24,
    SET_BYTES = 8,
    BLOCK_WORDS = 32,
    OVERLAY_WORDS_MAX = 100000,
    COUNT_MAX = 60
};

static uint32_t u32_at(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Decodes the entry at *at onto `word` (the one before, n bytes). The table is known to be sound.
 */
static unsigned next_entry(const struct syllables *s, size_t *at, char *word, size_t *n)
{
    size_t length = s->entries[(*at)++];
    while (s->entries[*at] < 0x80)
        word[length++] = (char)s->entries[(*at)++];
    *n = length;
    return s->entries[(*at)++] - 0x80u;
}

static struct reading set_reading(const struct syllables *s, unsigned set)
{
    const unsigned char *row = s->sets + (size_t)set * SET_BYTES;
    struct reading r = {.n = row[0], .source = FROM_DICTIONARY};
    for (int i = 0; i < r.n; i++)
        r.count[i] = row[1 + i];
    return r;
}

static int compare(const char *a, size_t na, const char *b, size_t nb)
{
    int order = memcmp(a, b, na < nb ? na : nb);
    return order ? order : (na > nb) - (na < nb);
}

static bool table_find(const struct syllables *s, const char *word, size_t n, struct reading *r)
{
    char entry[LEXICON_WORD_MAX + 1];
    size_t length;
    uint32_t low = 0, high = s->n_blocks; /* the block that may hold it: the last one whose first
                                             word is not above it */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        size_t at = u32_at(s->blocks + (size_t)middle * 4);
        next_entry(s, &at, entry, &length);
        if (compare(entry, length, word, n) <= 0)
            low = middle;
        else
            high = middle;
    }
    if (s->n_blocks == 0)
        return false;
    size_t at = u32_at(s->blocks + (size_t)low * 4);
    size_t end = low + 1 < s->n_blocks ? u32_at(s->blocks + ((size_t)low + 1) * 4) : s->entry_bytes;
    while (at < end) {
        unsigned set = next_entry(s, &at, entry, &length);
        int order = compare(entry, length, word, n);
        if (order > 0)
            return false;
        if (order == 0) {
            *r = set_reading(s, set);
            return true;
        }
    }
    return false;
}

static bool overlay_find(const struct syllables *s, const char *word, size_t n, struct reading *r)
{
    size_t low = 0, high = s->n_overlay;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct overlay_word *o = &s->overlay[middle];
        int order = compare(word, n, o->word, strlen(o->word));
        if (order == 0) {
            *r = o->reading;
            return true;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

bool lexicon_find(const struct lexicon *x, const char *word, size_t n, struct reading *r)
{
    if (n == 0 || n > LEXICON_WORD_MAX || (x->without & SYLLABLES_RULES_ONLY))
        return false;
    if (x->hidden && compare(word, n, x->hidden, x->hidden_n) == 0)
        return false;
    return overlay_find(x->s, word, n, r) || table_find(x->s, word, n, r);
}

void lexicon_word(const struct syllables *s, uint32_t i, char word[LEXICON_WORD_MAX + 1],
                  struct reading *r)
{
    size_t at = u32_at(s->blocks + (size_t)(i / BLOCK_WORDS) * 4), n = 0;
    unsigned set = 0;
    for (uint32_t k = 0; k <= i % BLOCK_WORDS; k++)
        set = next_entry(s, &at, word, &n);
    word[n] = '\0';
    *r = set_reading(s, set);
}

/* Walks the whole table: words in order, every reference inside, every count plausible. */
static bool table_check(const struct syllables *s, struct gm_error *err)
{
    for (uint32_t i = 0; i < s->n_sets; i++) {
        const unsigned char *row = s->sets + (size_t)i * SET_BYTES;
        if (row[0] < 1 || row[0] > SET_BYTES - 1)
            return error_set(err, GM_E_INPUT, "read pronunciation table: list %u holds %u counts",
                             i, row[0]);
        for (int k = 1; k <= row[0]; k++)
            if (row[k] > COUNT_MAX)
                return error_set(err, GM_E_INPUT,
                                 "read pronunciation table: list %u holds the count %u", i, row[k]);
    }
    char word[LEXICON_WORD_MAX + 1], before[LEXICON_WORD_MAX + 1];
    size_t at = 0, n = 0, before_n = 0;
    for (uint32_t i = 0; i < s->n_words; i++) {
        bool first = i % BLOCK_WORDS == 0;
        if (first && u32_at(s->blocks + (size_t)(i / BLOCK_WORDS) * 4) != at)
            return error_set(err, GM_E_INPUT,
                             "read pronunciation table: block %u does not begin at byte %zu",
                             i / BLOCK_WORDS, at);
        if (at >= s->entry_bytes || s->entries[at] > n || (first && s->entries[at] != 0))
            return error_set(err, GM_E_INPUT, "read pronunciation table: word %u is broken", i);
        n = s->entries[at++];
        while (at < s->entry_bytes && s->entries[at] < 0x80 && n < LEXICON_WORD_MAX)
            word[n++] = (char)s->entries[at++];
        if (at >= s->entry_bytes || s->entries[at] < 0x80 || s->entries[at] - 0x80u >= s->n_sets)
            return error_set(err, GM_E_INPUT, "read pronunciation table: word %u does not end", i);
        at++;
        if (i > 0 && compare(before, before_n, word, n) >= 0)
            return error_set(err, GM_E_INPUT, "read pronunciation table: word %u is out of order",
                             i);
        memcpy(before, word, n);
        before_n = n;
    }
    if (at != s->entry_bytes)
        return error_set(err, GM_E_INPUT,
                         "read pronunciation table: %zu bytes follow the last word",
                         (size_t)s->entry_bytes - at);
    return true;
}

static bool table_open(struct syllables *s, const unsigned char *table, size_t n,
                       struct gm_error *err)
{
    if (n < HEADER_BYTES || memcmp(table, "GMSYLL01", 8) != 0)
        return error_set(err, GM_E_INPUT, "read pronunciation table: not a table of this program");
    s->n_words = u32_at(table + 8);
    s->n_blocks = u32_at(table + 12);
    s->n_sets = u32_at(table + 16);
    s->entry_bytes = u32_at(table + 20);
    uint64_t want =
        HEADER_BYTES + (uint64_t)s->n_sets * SET_BYTES + (uint64_t)s->n_blocks * 4 + s->entry_bytes;
    if (s->n_sets > 128 || want != n ||
        s->n_blocks != ((uint64_t)s->n_words + BLOCK_WORDS - 1) / BLOCK_WORDS)
        return error_set(err, GM_E_INPUT,
                         "read pronunciation table: the header speaks of %llu bytes, there are %zu",
                         (unsigned long long)want, n);
    s->sets = table + HEADER_BYTES;
    s->blocks = s->sets + (size_t)s->n_sets * SET_BYTES;
    s->entries = s->blocks + (size_t)s->n_blocks * 4;
    return table_check(s, err);
}

static int by_word(const void *a, const void *b)
{
    return strcmp(((const struct overlay_word *)a)->word, ((const struct overlay_word *)b)->word);
}

/* One "word<TAB>3,2..." line. */
static bool overlay_line(struct syllables *s, const char *line, size_t n, struct gm_error *err)
{
    const char *tab = memchr(line, '\t', n);
    size_t word_n = tab ? (size_t)(tab - line) : 0;
    if (!tab || word_n == 0 || word_n > LEXICON_WORD_MAX || memchr(line, '\0', word_n))
        return error_set(err, GM_E_INPUT,
                         "read overlay: line %zu does not begin with a word and a tab",
                         s->n_overlay + 1);
    struct reading r = {.n = 0, .source = FROM_OVERLAY};
    const char *p = tab + 1, *end = line + n;
    for (;;) {
        int count = 0, digits = 0;
        while (p < end && *p >= '0' && *p <= '9' && digits < 3)
            count = count * 10 + (*p++ - '0'), digits++;
        if (digits == 0 || count > COUNT_MAX || r.n == SYLLABLES_ALTERNATIVES)
            return error_set(err, GM_E_INPUT, "read overlay: bad counts for %.*s", (int)word_n,
                             line);
        r.count[r.n++] = count;
        if (p == end || *p != ',')
            break;
        p++;
    }
    if (p < end && *p != '\t')
        return error_set(err, GM_E_INPUT, "read overlay: bad counts for %.*s", (int)word_n, line);
    s->overlay[s->n_overlay].word = mem_copy_n(line, word_n);
    s->overlay[s->n_overlay++].reading = r;
    return true;
}

static bool overlay_open(struct syllables *s, const char *text, size_t n, struct gm_error *err)
{
    size_t lines = 1;
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    if (lines > OVERLAY_WORDS_MAX)
        return error_set(err, GM_E_INPUT, "read overlay: %zu lines (at most %d)", lines,
                         OVERLAY_WORDS_MAX);
    s->overlay = mem_new(lines, sizeof *s->overlay);
    bool header = true;
    for (const char *p = text, *end = text + n; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop)
            stop = end;
        size_t length = (size_t)(stop - p);
        if (length && p[length - 1] == '\r')
            length--;
        if (length && *p != '#' && !header && !overlay_line(s, p, length, err))
            return false;
        header = false;
        p = stop + (stop < end);
    }
    if (s->n_overlay)
        qsort(s->overlay, s->n_overlay, sizeof *s->overlay, by_word);
    for (size_t i = 1; i < s->n_overlay; i++)
        if (strcmp(s->overlay[i - 1].word, s->overlay[i].word) == 0)
            return error_set(err, GM_E_INPUT, "read overlay: %s stands there twice",
                             s->overlay[i].word);
    return true;
}

struct syllables *syllables_open_bytes(const unsigned char *table, size_t n, const char *overlay,
                                       size_t n_overlay, struct gm_error *err)
{
    struct syllables *s = mem_new(1, sizeof *s);
    if (table_open(s, table, n, err) && (!overlay || overlay_open(s, overlay, n_overlay, err)))
        return s;
    syllables_free(s);
    return NULL;
}

struct syllables *syllables_open(struct gm_error *err)
{
    const struct builtin_file *table = builtin_find("verse/counts.bin"),
                              *overlay = builtin_find("verse/overlay.tsv");
    if (!table || !overlay) {
        error_set(
            err, GM_E_UNSUPPORTED,
            "open pronunciation table: it is not in this build (build with engine/builtin/verse)");
        return NULL;
    }
    return syllables_open_bytes(table->data, table->size, (const char *)overlay->data,
                                overlay->size, err);
}

void syllables_free(struct syllables *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_overlay; i++)
        mem_free(s->overlay[i].word);
    mem_free(s->overlay);
    mem_free(s);
}
