/* encode.c - see encode.h. Rows are encoded in chunks: the pool fills one slot per row, then the
 * slots are copied into the store in order, so that memory is what the ids need and the result does
 * not depend on the number of threads. */
#include "engine/train/encode.h"

#include "engine/base/mem.h"
#include "engine/train/gate.h"

#include <string.h>

enum { CHUNK_ROWS = 2048, BLOCK_ROWS = 8 };

struct encoded {
    struct id_list ids;
    uint8_t *supervised;  /* of a conversation; NULL: every token */
    struct gm_error *why; /* NULL: went well */
};
struct encoding {
    const struct raw_row *raw;
    struct encoded *out;
    int n;
    const struct dataset_options *o;
    const struct tokenizer *t;
    const struct chat_template *tpl;
};

static bool encode_turns(const struct encoding *e, const struct raw_row *raw, struct encoded *out,
                         struct gm_error *err)
{
    const struct chat_message *messages = raw->messages;
    struct chat_message *longer = NULL;
    size_t n = (size_t)raw->n_messages;
    if (!e->tpl)
        return error_set(
            err, GM_E_INPUT,
            "the row is a conversation, but the model has no chat template (give --chat-template)");
    if (e->o->system && *e->o->system && strcmp(messages[0].role, "system") != 0) {
        longer = mem_new(n + 1, sizeof *longer);
        longer[0] = (struct chat_message){"system", e->o->system};
        memcpy(longer + 1, messages, n * sizeof *longer);
        messages = longer;
        n++;
    }
    bool ok = chat_encode(e->tpl, e->t, messages, n, false, &out->ids,
                          e->o->mask_prompt ? &out->supervised : NULL, err);
    mem_free(longer);
    return ok;
}

static bool encode_text(const struct encoding *e, const struct raw_row *raw, struct encoded *out,
                        struct gm_error *err)
{
    int32_t eos = tokenizer_eos(e->t);
    if (!tokenizer_encode(e->t, raw->text, strlen(raw->text),
                          TOKENIZE_ADD_SPECIAL | TOKENIZE_LITERAL, &out->ids, err))
        return false;
    if (eos >= 0 && (out->ids.n == 0 || out->ids.ids[out->ids.n - 1] != eos))
        id_list_add(&out->ids, eos, (uint32_t)strlen(raw->text));
    return true;
}

static void encode_one(const struct encoding *e, const struct raw_row *raw, struct encoded *out)
{
    struct gm_error why = {0};
    id_list_clear(&out->ids);
    out->supervised = NULL;
    out->why = NULL;
    if (raw->form == ROW_IDS)
        return;
    bool ok =
        raw->form == ROW_TEXT ? encode_text(e, raw, out, &why) : encode_turns(e, raw, out, &why);
    if (ok)
        return;
    error_context(&why, "read %s:%d", raw->file, raw->line);
    out->why = mem_new(1, sizeof why);
    *out->why = why;
}

static void encode_block(void *arg, int block, int slot)
{
    struct encoding *e = arg;
    int end = (block + 1) * BLOCK_ROWS < e->n ? (block + 1) * BLOCK_ROWS : e->n;
    for (int i = block * BLOCK_ROWS; i < end; i++)
        encode_one(e, &e->raw[i], &e->out[i]);
}

static void cut(struct row *r, int n_full, int max)
{
    r->n_full = n_full;
    r->n = n_full < max ? n_full : max;
}

static void count_supervised(struct row *r)
{
    r->n_supervised = 0;
    for (int t = 1; t < r->n; t++)
        r->n_supervised += r->supervised[t];
}

/* Ids are taken as they are; labels that say something else than the ids become targets of their
 * own. */
static void keep_ids(struct row *r, const struct raw_row *raw, struct store *store, int max)
{
    bool other = false;
    cut(r, raw->n_ids, max);
    r->ids = raw->ids;
    r->supervised = store_take(store, (size_t)r->n);
    for (int t = 0; t < r->n; t++) {
        r->supervised[t] = t > 0 && raw->labels[t] != -100;
        other |= r->supervised[t] && raw->labels[t] != raw->ids[t];
    }
    r->targets = other ? raw->labels : NULL;
    count_supervised(r);
}

/* A conversation without an answer teaches nothing but to say nothing: it is kept, and not supervised. */
static void keep_encoded(struct row *r, const struct raw_row *raw, const struct encoded *e, struct store *store, int max)
{
    bool silent = e->supervised && gate_no_answer(raw);
    cut(r, (int)e->ids.n, max);
    r->ids = store_take(store, (size_t)r->n * sizeof *r->ids);
    r->supervised = store_take(store, (size_t)r->n);
    memcpy(r->ids, e->ids.ids, (size_t)r->n * sizeof *r->ids);
    for (int t = 0; t < r->n; t++)
        r->supervised[t] = t > 0 && !silent && (!e->supervised || e->supervised[t]);
    count_supervised(r);
}

void encode_rows(struct row *rows, struct row_list *raw, struct store *store,
                 const struct dataset_options *o, const struct tokenizer *t,
                 const struct chat_template *tpl)
{
    int room = raw->n < CHUNK_ROWS ? raw->n : CHUNK_ROWS;
    struct encoded *out = mem_new((size_t)room + 1, sizeof *out);
    for (int at = 0, n; at < raw->n; at += n) {
        n = at == 0 ? BLOCK_ROWS : CHUNK_ROWS; /* a template that fails is told by a few rows */
        n = n < raw->n - at ? n : raw->n - at;
        struct encoding e = {.raw = raw->rows + at,
                             .out = out,
                             .n = n,
                             .o = o,
                             .t = t,
                             .tpl = tpl};
        int blocks = (e.n + BLOCK_ROWS - 1) / BLOCK_ROWS;
        if (o->pool)
            pool_run(o->pool, GM_TRAIN, encode_block, &e, blocks);
        else
            for (int b = 0; b < blocks; b++)
                encode_block(&e, b, 0);
        for (int i = 0; i < e.n; i++) {
            if (out[i].why)
                rows_count_bad(raw, out[i].why);
            else if (e.raw[i].form == ROW_IDS)
                keep_ids(&rows[at + i], &e.raw[i], store, o->max_seq_length);
            else
                keep_encoded(&rows[at + i], &e.raw[i], &out[i], store, o->max_seq_length);
            mem_free(out[i].why);
            mem_free(out[i].supervised);
        }
        if (at == 0 && raw->n_bad == n && n == BLOCK_ROWS) {
            raw->n_unseen = raw->n - n;
            break;
        }
    }
    for (int i = 0; i < room; i++)
        id_list_free(&out[i].ids);
    mem_free(out);
}
