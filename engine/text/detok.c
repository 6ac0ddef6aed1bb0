/* detok.c - see detok.h. */
#include "engine/text/detok.h"

#include "engine/base/mem.h"
#include "engine/text/tokenizer_private.h"

#include <string.h>

void detok_init(struct detok *d, const struct tokenizer *t)
{
    *d = (struct detok){.tokenizer = t, .strip_left = t->decode_strip_count, .skip_special = true};
}

static void emit(struct detok *d, const char *bytes, size_t n, struct str *out)
{
    while (n > 0 && d->strip_left > 0) {
        if (*bytes != d->tokenizer->decode_strip) {
            d->strip_left = 0;
            break;
        }
        d->strip_left--;
        bytes++;
        n--;
    }
    str_add_n(out, bytes, n);
}

static void emit_valid(struct detok *d, const char *p, size_t n, struct str *out)
{ /* what is no UTF-8 becomes U+FFFD */
    for (const char *end = p + n; p < end;) {
        uint32_t c;
        char bytes[4];
        p += utf8_decode(p, end, &c);
        emit(d, bytes, (size_t)utf8_encode(c, bytes), out);
    }
}

/* The end of a run of byte tokens: text if it is valid as a whole, else a mark for each byte, as
 * the library has it. */
static void end_run(struct detok *d, struct str *out)
{
    if (d->held.len == 0)
        return;
    if (utf8_valid(d->held.data, d->held.len))
        emit(d, d->held.data, d->held.len, out);
    else
        for (size_t i = 0; i < d->held.len; i++)
            emit(d, "\xEF\xBF\xBD", 3, out);
    str_clear(&d->held);
}

static void push_byte_level(struct detok *d, struct shown p, struct str *out)
{
    size_t before = d->held.len;
    for (const char *at = p.text, *end = p.text + p.len; at < end;) {
        uint32_t c;
        at += utf8_decode(at, end, &c);
        int byte = alphabet_byte(c);
        if (byte < 0) { /* one character that stands for no byte: the whole piece is plain text */
            d->held.len = before;
            str_add_n(&d->held, p.text, p.len);
            break;
        }
        str_add_char(&d->held, (char)byte);
    }
    size_t whole = utf8_complete_prefix(str_text(&d->held), d->held.len);
    if (whole == 0)
        return;
    emit_valid(d, d->held.data, whole, out);
    size_t rest = d->held.len - whole;
    memmove(d->held.data, d->held.data + whole, rest);
    d->held.len = rest;
    d->held.data[rest] = '\0';
}

static void push_rewritten(struct detok *d, struct shown p, bool first, struct str *out)
{
    const struct tokenizer *t = d->tokenizer;
    struct str now = {0};
    str_add_n(&now, p.text, p.len);
    for (int i = 0; i < t->n_decode_rules && now.len; i++) {
        const struct text_rule *r = &t->decode_rules[i];
        bool drop = first && i == 0 && t->decode_drops_first;
        struct str next = {0};
        const char *at = now.data, *end = now.data + now.len;
        for (const char *hit;
             at < end && (hit = memmem(at, (size_t)(end - at), r->from, r->from_len));
             at = hit + r->from_len) {
            str_add_n(&next, at, (size_t)(hit - at));
            if (!drop)
                str_add_n(&next, r->to, r->to_len);
        }
        str_add_n(&next, at, (size_t)(end - at));
        str_free(&now);
        now = next;
    }
    emit(d, str_text(&now), now.len, out);
    str_free(&now);
}

bool detok_push(struct detok *d, int32_t id, struct str *out)
{
    const struct tokenizer *t = d->tokenizer;
    if (id < 0 || id >= t->vocab_size)
        return false;
    const struct piece *p = &t->pieces[id];
    if (!p->flags || (d->skip_special && p->flags & PIECE_SPECIAL))
        return true;
    bool first = !d->begun;
    struct shown shown = {p->text, p->len};
    if (t->shown && t->shown[id].text)
        shown = t->shown[id];
    d->begun = true;
    if (t->byte_level) {
        push_byte_level(d, shown, out);
    } else if (t->decode_bytes && t->byte_of[id] >= 0) {
        str_add_char(&d->held, (char)t->byte_of[id]);
    } else {
        end_run(d, out);
        push_rewritten(d, shown, first, out);
    }
    return true;
}

void detok_finish(struct detok *d, struct str *out)
{
    if (d->tokenizer->byte_level)
        emit_valid(d, str_text(&d->held), d->held.len, out);
    else
        end_run(d, out);
    str_clear(&d->held);
    d->strip_left = d->tokenizer->decode_strip_count;
    d->begun = false;
}

void detok_free(struct detok *d)
{
    str_free(&d->held);
}

bool tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, bool skip_special,
                      struct str *out, struct gm_error *err)
{
    struct detok d;
    detok_init(&d, t);
    d.skip_special = skip_special;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++)
        if (!detok_push(&d, ids[i], out))
            ok = error_set(err, GM_E_INPUT, "decode id %d: the vocabulary ends at %d", ids[i],
                           t->vocab_size - 1);
    if (ok)
        detok_finish(&d, out);
    detok_free(&d);
    return ok;
}
