/* sequences.c - see sequences.h. */
#include "engine/export/sequences.h"

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/model/decode.h"

#include <string.h>

enum { RANDOM_LENGTH = 24, PROMPT_MAX = 64, ANSWER_MAX = SEQUENCE_MAX - PROMPT_MAX };

static const char *const PROMPTS[SEQUENCES_ASKED] = {"Write a haiku about an old pond.",
                                                     "Rain on the window, late in autumn: three lines, please.", "What is the capital of France?",
                                                     "Caf\xc3\xa9 \xe4\xbf\xb3\xe5\x8f\xa5, 1234 -- it's \"quoted\""};

static void add_random(struct sequences *s, int vocab)
{
    struct rng rng = rng_stream(0, "proof", 0);
    for (int i = 0; i < SEQUENCES_RANDOM; i++) {
        struct sequence *q = &s->list[s->n++];
        *q = (struct sequence){.n = RANDOM_LENGTH, .answer = -1};
        for (int t = 0; t < RANDOM_LENGTH; t++)
            q->ids[t] = (int32_t)rng_below(&rng, (uint64_t)vocab);
    }
}

static bool encode(const struct export_request *r, const char *prompt, struct id_list *ids)
{
    struct chat_message messages[2];
    size_t n = 0;
    if (!r->tpl)
        return tokenizer_encode(r->tokenizer, prompt, strlen(prompt), TOKENIZE_ADD_SPECIAL | TOKENIZE_LITERAL, ids, NULL);
    if (r->system && *r->system)
        messages[n++] = (struct chat_message){"system", r->system};
    messages[n++] = (struct chat_message){"user", prompt};
    return chat_encode(r->tpl, r->tokenizer, messages, n, true, ids, NULL, NULL);
}

/* A template or a tokenizer may refuse one: then it is done without. Of a long prompt the end is taken, where the answer begins. */
static void add_prompts(struct sequences *s, const struct export_request *r)
{
    for (int i = 0; i < SEQUENCES_ASKED; i++) {
        struct id_list ids = {0};
        if (encode(r, PROMPTS[i], &ids) && ids.n > 0) {
            struct sequence *q = &s->list[s->n++];
            int n = ids.n < PROMPT_MAX ? (int)ids.n : PROMPT_MAX;
            memcpy(q->ids, ids.ids + (ids.n - (size_t)n), (size_t)n * sizeof *ids.ids);
            q->n = n;
            q->answer = n - 1;
        }
        id_list_free(&ids);
    }
}

static int32_t likeliest(const float *logits, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        best = logits[i] > logits[best] ? i : best;
    return best;
}

static bool is_end(const struct export_request *r, const int32_t *stops, size_t n, int32_t id)
{
    for (size_t i = 0; i < n; i++)
        if (stops[i] == id)
            return true;
    return id == tokenizer_eos(r->tokenizer);
}

/* All answers grow together, a token a round; one that has ended leaves. */
static bool answer(struct sequences *s, const struct export_job *j, const struct compute *exact, struct gm_error *err)
{
    const struct export_request *r = &j->r;
    const int vocab = r->model->config.vocab_size;
    int32_t stops[8];
    size_t n_stops = r->tpl ? chat_stop_ids(r->tpl, r->tokenizer, stops) : 0;
    struct decode_item items[SEQUENCES_ASKED];
    struct sequence *of[SEQUENCES_ASKED];
    int n = 0;
    struct decoder *d = decoder_new(r->model, SEQUENCES_ASKED, SEQUENCE_MAX, true, err);
    float *logits = d ? mem_alloc((size_t)SEQUENCES_ASKED * (size_t)vocab * sizeof *logits, "proof", err) : NULL;
    for (int i = 0; logits && i < s->n; i++) {
        struct sequence *q = &s->list[i];
        if (q->answer < 0)
            continue;
        of[n] = q;
        items[n] = (struct decode_item){
            .slot = decoder_take(d), .lora = r->lora, .ids = q->ids, .n = q->n, .logits = logits + (size_t)n * (size_t)vocab};
        n++;
    }
    bool ok = logits != NULL;
    while (ok && n > 0) {
        ok = decoder_run(d, exact, items, n, err) && !export_cancelled(j, err);
        int kept = 0;
        for (int i = 0; ok && i < n; i++) {
            struct sequence *q = of[i];
            int32_t id = likeliest(items[i].logits, vocab);
            if (is_end(r, stops, n_stops, id) || q->n - q->answer > ANSWER_MAX || q->n == SEQUENCE_MAX)
                continue;
            q->ids[q->n++] = id;
            items[kept] = items[i];
            items[kept].ids = &q->ids[q->n - 1];
            items[kept].n = 1;
            of[kept++] = q;
        }
        n = kept;
    }
    mem_free(logits);
    decoder_free(d);
    return ok;
}

bool sequences_make(struct sequences *s, const struct export_job *j, const struct compute *exact, struct gm_error *err)
{
    *s = (struct sequences){0};
    add_random(s, j->r.model->config.vocab_size);
    add_prompts(s, &j->r);
    return s->n == SEQUENCES_RANDOM || answer(s, j, exact, err);
}
