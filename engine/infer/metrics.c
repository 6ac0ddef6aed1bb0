/* metrics.c - n-grams are compared by 64-bit hashes, sorted: two texts of n units cost n log n. */
#include "engine/infer/metrics.h"

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/base/str.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct units { /* tokens or characters, as hashes */
    uint64_t *hash;
    size_t n, cap;
};

static void units_add(struct units *u, const char *bytes, size_t n)
{
    u->hash = mem_room(u->hash, u->n, &u->cap, sizeof *u->hash);
    u->hash[u->n++] = hash64(bytes, n, 1);
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* The characters that mteval-v13a always sets apart. */
static bool stands_alone(unsigned char c)
{
    return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') || (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') || (c >= ':' && c <= '@') || c == '/';
}

/* One substitution of mteval-v13a over a text: where first(a) and second(b) hold for neighbours, spaces are put in. Matches do not overlap. */
static void split_pairs(struct str *out, const struct str *in, bool (*first)(char), bool (*second)(char), bool space_before_first)
{
    str_clear(out);
    for (size_t i = 0; i < in->len; i++) {
        char a = in->data[i];
        if (i + 1 < in->len && first(a) && second(in->data[i + 1])) {
            if (space_before_first)
                str_add_char(out, ' ');
            str_add_char(out, a);
            str_add_char(out, ' ');
            str_add_char(out, in->data[++i]);
            if (!space_before_first)
                str_add_char(out, ' ');
        } else {
            str_add_char(out, a);
        }
    }
}

static bool no_digit(char c) { return !is_digit(c); }
static bool is_point(char c) { return c == '.' || c == ','; }
static bool is_dash(char c) { return c == '-'; }

static void unescape(struct str *out, const char *text)
{
    static const struct { const char *from; char to; } entities[] = {{"&quot;", '"'}, {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}};
    str_add_char(out, ' ');
    for (const char *p = text; *p;) {
        size_t used = 0;
        for (int k = 0; k < 4 && used == 0; k++)
            if (strncmp(p, entities[k].from, strlen(entities[k].from)) == 0) {
                str_add_char(out, entities[k].to);
                used = strlen(entities[k].from);
            }
        if (used == 0 && p[0] == '-' && p[1] == '\n')
            used = 2; /* a word broken at the end of a line */
        if (used == 0) {
            str_add_char(out, *p == '\n' ? ' ' : *p);
            used = 1;
        }
        p += used;
    }
    str_add_char(out, ' ');
}

static void tokenise_13a(struct units *out, const char *text)
{
    struct str a = {0}, b = {0};
    unescape(&a, text);
    for (size_t i = 0; i < a.len; i++) {
        bool alone = stands_alone((unsigned char)a.data[i]);
        if (alone)
            str_add_char(&b, ' ');
        str_add_char(&b, a.data[i]);
        if (alone)
            str_add_char(&b, ' ');
    }
    split_pairs(&a, &b, no_digit, is_point, false);
    split_pairs(&b, &a, is_point, no_digit, true);
    split_pairs(&a, &b, is_digit, is_dash, false);
    for (size_t i = 0; i < a.len;) {
        size_t start = i;
        while (i < a.len && !is_space(a.data[i]))
            i++;
        if (i > start)
            units_add(out, a.data + start, i - start);
        while (i < a.len && is_space(a.data[i]))
            i++;
    }
    str_free(&a);
    str_free(&b);
}

static void characters(struct units *out, const char *text)
{
    const char *end = text + strlen(text);
    for (const char *p = text; p < end;) {
        uint32_t scalar;
        int n = utf8_decode(p, end, &scalar);
        if (!(n == 1 && is_space(*p)))
            units_add(out, p, (size_t)n);
        p += n;
    }
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static size_t ngrams(uint64_t **out, const struct units *u, int order)
{
    size_t n = u->n >= (size_t)order ? u->n - (size_t)order + 1 : 0;
    *out = mem_new(n ? n : 1, sizeof **out);
    for (size_t i = 0; i < n; i++)
        (*out)[i] = hash64(u->hash + i, (size_t)order * sizeof *u->hash, 2);
    qsort(*out, n, sizeof **out, by_value);
    return n;
}

static void count(const struct units *hyp, const struct units *ref, int order, int64_t *match, int64_t *n_hyp, int64_t *n_ref)
{
    uint64_t *a, *b;
    size_t na = ngrams(&a, hyp, order), nb = ngrams(&b, ref, order);
    for (size_t i = 0, j = 0; i < na && j < nb;) {
        if (a[i] == b[j]) {
            (*match)++;
            i++;
            j++;
        } else if (a[i] < b[j]) {
            i++;
        } else {
            j++;
        }
    }
    *n_hyp += (int64_t)na;
    *n_ref += (int64_t)nb;
    mem_free(a);
    mem_free(b);
}

void metrics_add(struct metrics *m, const char *hypothesis, const char *reference)
{
    struct units hyp = {0}, ref = {0};
    int64_t unused = 0;
    tokenise_13a(&hyp, hypothesis);
    tokenise_13a(&ref, reference);
    m->hypothesis_tokens += (int64_t)hyp.n;
    m->reference_tokens += (int64_t)ref.n;
    for (int k = 0; k < BLEU_ORDER; k++)
        count(&hyp, &ref, k + 1, &m->bleu_match[k], &m->bleu_total[k], &unused);
    hyp.n = ref.n = 0;
    characters(&hyp, hypothesis);
    characters(&ref, reference);
    for (int k = 0; k < CHRF_ORDER; k++)
        count(&hyp, &ref, k + 1, &m->chrf_match[k], &m->chrf_hypothesis[k], &m->chrf_reference[k]);
    mem_free(hyp.hash);
    mem_free(ref.hash);
}

double metrics_bleu(const struct metrics *m)
{
    double log_sum = 0, smooth = 1;
    for (int k = 0; k < BLEU_ORDER; k++) {
        if (m->bleu_total[k] == 0)
            return 0;
        double precision;
        if (m->bleu_match[k] == 0) {
            smooth *= 2;
            precision = 1 / (smooth * (double)m->bleu_total[k]);
        } else {
            precision = (double)m->bleu_match[k] / (double)m->bleu_total[k];
        }
        log_sum += log(precision);
    }
    double brevity = 1;
    if (m->hypothesis_tokens < m->reference_tokens)
        brevity = m->hypothesis_tokens > 0 ? exp(1 - (double)m->reference_tokens / (double)m->hypothesis_tokens) : 0;
    return 100 * brevity * exp(log_sum / BLEU_ORDER);
}

double metrics_chrf(const struct metrics *m)
{
    const double factor = 4; /* beta 2, squared */
    double precision = 0, recall = 0;
    int orders = 0;
    for (int k = 0; k < CHRF_ORDER; k++) {
        if (m->chrf_hypothesis[k] == 0 || m->chrf_reference[k] == 0)
            continue;
        precision += (double)m->chrf_match[k] / (double)m->chrf_hypothesis[k];
        recall += (double)m->chrf_match[k] / (double)m->chrf_reference[k];
        orders++;
    }
    if (orders == 0 || precision + recall == 0)
        return 0;
    precision /= orders;
    recall /= orders;
    return 100 * (1 + factor) * precision * recall / (factor * precision + recall);
}
