/* ollama_template.c - asks a chat template what it does, writes the same for Ollama, and holds one against the other. */
#include "engine/export/ollama_template.h"

#include "engine/base/mem.h"
#include "engine/text/unicode.h"

#include <limits.h>
#include <string.h>

const char *ollama_differs_text(unsigned bit)
{
    switch (bit) {
    case OLLAMA_SPECIAL:
        return "special tokens spelled out in a message (like an end-of-turn mark) become special tokens in Ollama; in training they were text";
    case OLLAMA_SAME_ROLE:
        return "Ollama joins messages in a row of one role with a blank line between; in training they stayed apart or were refused";
    case OLLAMA_TRIMS_USER: return "white space around what the user writes is trimmed in training and kept by Ollama, whose templates cannot trim";
    case OLLAMA_TRIMS_ASSISTANT: return "white space around earlier answers is trimmed in training and kept by Ollama, whose templates cannot trim";
    case OLLAMA_TRIMS_SYSTEM: return "white space around the system text is trimmed in training and kept by Ollama, whose templates cannot trim";
    case OLLAMA_REFUSED: return "some conversations that the chat template refuses (roles out of turn) get a prompt in Ollama";
    case OLLAMA_SYSTEM_LEFT_OUT: return "the chat template has no place for a system message: Ollama leaves it out of the prompt";
    case OLLAMA_DATE: return "the chat template tells the day; the TEMPLATE keeps the day of the export";
    case OLLAMA_LATER_SYSTEM: return "a system message further down in a conversation is put in another way than in training";
    default: return "for no known reason";
    }
}

void ollama_template_free(struct ollama_template *o)
{
    mem_free(o->text);
    *o = (struct ollama_template){0};
}

/* ---- asking the chat template ---- */

enum { PIECES_MAX = 6 };

/* What stands before, between and behind the marked contents of one rendering. */
struct probe {
    struct str text;
    const char *piece[PIECES_MAX];
    size_t len[PIECES_MAX];
    int n;
};

struct asker {
    const struct chat_template *tpl;
    const struct tokenizer *tokenizer;
    const char *bos; /* cut off the front of what is rendered; NULL: nothing is */
};

static const char *role_of(char letter) { return letter == 's' ? "system" : letter == 'u' ? "user" : "assistant"; }

static bool render(const struct asker *a, const char *roles, const char *const *contents, bool generation, struct str *out, struct gm_error *err)
{
    struct chat_message m[PIECES_MAX];
    size_t n = strlen(roles);
    struct str text = {0};
    for (size_t i = 0; i < n; i++)
        m[i] = (struct chat_message){role_of(roles[i]), contents[i]};
    bool ok = chat_render(a->tpl, m, n, generation, &text, NULL, err);
    size_t skip = ok && a->bos ? strlen(a->bos) : 0;
    if (ok && strncmp(str_text(&text), a->bos ? a->bos : "", skip) != 0)
        ok = error_set(err, GM_E_UNSUPPORTED, "it begins with %.40s in some conversations only", a->bos);
    if (ok)
        str_add_n(out, str_text(&text) + skip, text.len - skip);
    str_free(&text);
    return ok;
}

/* Roles "suau": renders with marks for contents and cuts the text at them. Marks are plain letters, so that nothing is done to them. */
static bool ask(const struct asker *a, const char *roles, bool generation, struct probe *out, struct gm_error *err)
{
    static const char *const marks[PIECES_MAX] = {"Quoziel", "Vexambru", "Jyfthono", "Wulkspar", "Zeblikto", "Pyxmorda"};
    size_t n = strlen(roles);
    str_clear(&out->text);
    if (!render(a, roles, marks, generation, &out->text, err))
        return false;
    const char *at = str_text(&out->text), *end = at + out->text.len;
    for (size_t i = 0; i < n; i++) {
        const char *mark = strstr(at, marks[i]);
        if (!mark || strstr(mark + 1, marks[i]))
            return error_set(err, GM_E_UNSUPPORTED, "the content of message %zu of \"%s\" is not once in the text, in its place", i + 1, roles);
        out->piece[i] = at;
        out->len[i] = (size_t)(mark - at);
        at = mark + strlen(marks[i]);
    }
    out->piece[n] = at;
    out->len[n] = (size_t)(end - at);
    out->n = (int)n + 1;
    return true;
}

static char *piece(const struct probe *p, int i) { return mem_copy_n(p->piece[i], p->len[i]); }

static bool begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* ---- taking it apart ---- */

enum system_form { SYSTEM_NONE, SYSTEM_TURN, SYSTEM_IN_USER };

/* Texts around the contents. A conversation is head, then the turns, then `ask`. */
struct parts {
    char *head;                       /* in front of the first turn, where no system message leads */
    char *user_before, *user_after;
    char *answer_before, *answer_after;
    char *ask;                        /* what asks for an answer */
    enum system_form form;
    char *system_before, *system_after; /* of a first turn of its own, head included; or around the system text inside the user's */
    bool system_in_last;                /* of the user's turns the last one, not the first */
    char *later_before, *later_after;   /* of a system turn further down; NULL: there is none */
    bool empty_system_skipped;
    unsigned differs;
};

static void parts_free(struct parts *p)
{
    char *const all[] = {p->head, p->user_before,   p->user_after,   p->answer_before, p->answer_after,
                         p->ask,  p->system_before, p->system_after, p->later_before,  p->later_after};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mem_free(all[i]);
}

static size_t common(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] && a[n] == b[n])
        n++;
    return n;
}

/* How much of `text` is `n` bytes, cut back to where one of its tokens begins: marks stay whole. */
static size_t at_token(const struct tokenizer *t, const char *text, size_t n)
{
    struct id_list ids = {0};
    size_t cut = 0, len = strlen(text);
    if (n == len)
        cut = n;
    else if (tokenizer_encode(t, text, len, 0, &ids, NULL))
        for (size_t i = 0; i < ids.n; i++)
            if (ids.starts[i] <= n)
                cut = ids.starts[i];
    id_list_free(&ids);
    return cut;
}

static bool unlike(struct gm_error *err, const char *what)
{
    return error_set(err, GM_E_UNSUPPORTED, "%s: no TEMPLATE of Ollama is known for that", what);
}

/* user, answer, user, answer, user: the same pieces have to come again. */
static bool take_turns(const struct asker *a, struct parts *p, struct probe *q, struct gm_error *err)
{
    if (!ask(a, "uauau", true, q, err))
        return false;
    char *first = piece(q, 0), *to_answer = piece(q, 1), *to_user = piece(q, 2), *again = piece(q, 3), *to_user_again = piece(q, 4),
         *last = piece(q, 5);
    bool ok = true;
    size_t user_end = common(to_answer, last), answer_end = strlen(to_user);
    if (strcmp(to_answer, again) != 0 || strcmp(to_user, to_user_again) != 0)
        ok = unlike(err, "its turns do not repeat");
    if (ok && ask(a, "u", false, q, NULL)) {
        char *behind = piece(q, 1);
        size_t n = common(behind, to_answer);
        user_end = n < user_end ? n : user_end;
        mem_free(behind);
    }
    if (ok && ask(a, "ua", false, q, NULL)) {
        char *behind = piece(q, 2);
        answer_end = common(behind, to_user);
        mem_free(behind);
    }
    if (ok) {
        user_end = at_token(a->tokenizer, to_answer, user_end);
        answer_end = at_token(a->tokenizer, to_user, answer_end);
        p->user_after = mem_copy_n(to_answer, user_end);
        p->answer_before = mem_copy(to_answer + user_end);
        p->ask = mem_copy(last + user_end);
        p->answer_after = mem_copy_n(to_user, answer_end);
        p->user_before = mem_copy(to_user + answer_end);
        if (text_ends(first, p->user_before))
            p->head = mem_copy_n(first, strlen(first) - strlen(p->user_before));
        else
            ok = unlike(err, "its first user turn is unlike the others");
    }
    char *const all[] = {first, to_answer, to_user, again, to_user_again, last};
    for (int i = 0; i < 6; i++)
        mem_free(all[i]);
    return ok;
}

static bool renders_as(const struct asker *a, const char *roles, const char *const *contents, const char *want)
{
    struct str got = {0};
    bool same = render(a, roles, contents, true, &got, NULL) && strcmp(str_text(&got), want) == 0;
    str_free(&got);
    return same;
}

/* Of two user turns, is it the second that the system text stands in? */
static bool is_in_last(const struct asker *a)
{
    static const char *const contents[] = {"Systematic", "Userly", "Answering", "Userly"};
    struct str text = {0};
    bool ok = render(a, "suau", contents, true, &text, NULL);
    const char *system = ok ? strstr(str_text(&text), contents[0]) : NULL, *answer = ok ? strstr(str_text(&text), contents[2]) : NULL;
    bool last = system && answer && system > answer;
    str_free(&text);
    return last;
}

/* Where the system text goes. */
static bool take_system(const struct asker *a, struct parts *p, struct probe *q, struct gm_error *err)
{
    static const char *const contents[] = {"Systematic", "Userly"}, *const empty[] = {"", "Userly"};
    struct str without = {0};
    if (!render(a, "u", contents + 1, true, &without, err))
        return false;
    bool refused = !render(a, "su", contents, true, &q->text, NULL), ok = true;
    if (refused || renders_as(a, "su", contents, str_text(&without))) {
        p->differs |= OLLAMA_SYSTEM_LEFT_OUT;
    } else if ((ok = ask(a, "su", true, q, err))) {
        char *before = piece(q, 0), *between = piece(q, 1);
        char *inside = mem_printf("%s%s", p->head, p->user_before);
        if (text_ends(between, p->user_before) && strlen(p->user_before) > 0) {
            p->form = SYSTEM_TURN;
            p->system_before = mem_copy(before);
            p->system_after = mem_copy_n(between, strlen(between) - strlen(p->user_before));
        } else if (begins(before, inside)) {
            p->form = SYSTEM_IN_USER;
            p->system_before = mem_copy(before + strlen(inside));
            p->system_after = mem_copy(between);
            p->system_in_last = is_in_last(a);
        } else
            ok = unlike(err, "its system message stands neither in a turn of its own nor in the first user turn");
        p->empty_system_skipped = ok && renders_as(a, "su", empty, str_text(&without));
        mem_free(before);
        mem_free(between);
        mem_free(inside);
    }
    if (ok && p->form == SYSTEM_TURN && ask(a, "uasu", true, q, NULL)) {
        char *before = piece(q, 2), *after = piece(q, 3);
        if (begins(before, p->answer_after) && text_ends(after, p->user_before)) {
            p->later_before = mem_copy(before + strlen(p->answer_after));
            p->later_after = mem_copy_n(after, strlen(after) - strlen(p->user_before));
        }
        mem_free(before);
        mem_free(after);
    }
    str_free(&without);
    return ok;
}

/* Are blanks around the content of the last message of `roles` gone? */
static bool trims(const struct asker *a, const char *roles)
{
    static const char padded[] = " \n Padded \n ";
    const char *contents[] = {"One", "Two", "Three"};
    size_t n = strlen(roles);
    contents[roles[0] == 's' ? 0 : n - 1] = padded;
    struct str text = {0};
    bool gone = render(a, roles, contents, false, &text, NULL) && !strstr(str_text(&text), padded);
    str_free(&text);
    return gone;
}

/* The template's own BOS is left to the runner; a token that also opens turns is none (SmolLM2). */
static bool own_bos(const struct asker *a, const char *bos, struct gm_error *err, bool *found)
{
    static const char *const contents[] = {"One", "Two", "Three"};
    struct str text = {0};
    bool ok = render(a, "uau", contents, true, &text, err);
    *found = ok && bos[0] && begins(str_text(&text), bos) && !strstr(str_text(&text) + strlen(bos), bos);
    str_free(&text);
    return ok;
}

static bool take_apart(struct asker *a, struct parts *p, struct gm_error *err)
{
    struct probe q = {0};
    const char *bos = tokenizer_bos(a->tokenizer) >= 0 ? tokenizer_piece(a->tokenizer, tokenizer_bos(a->tokenizer), NULL) : NULL;
    bool found, ok = own_bos(a, bos ? bos : "", err, &found);
    if (ok && found)
        a->bos = bos;
    ok = ok && take_turns(a, p, &q, err) && take_system(a, p, &q, err);
    if (ok) {
        p->differs |= (trims(a, "u") ? OLLAMA_TRIMS_USER : 0u) | (trims(a, "ua") ? OLLAMA_TRIMS_ASSISTANT : 0u);
        p->differs |= p->form != SYSTEM_NONE && trims(a, "su") ? OLLAMA_TRIMS_SYSTEM : 0u;
        p->differs |= strstr(chat_template_text(a->tpl), "strftime_now") ? OLLAMA_DATE : 0u;
        p->differs |= !ask(a, "uu", true, &q, NULL) || !ask(a, "au", true, &q, NULL) ? OLLAMA_REFUSED : 0u;
    }
    str_free(&q.text);
    return ok;
}

/* ---- writing it for Ollama ---- */

static void quote(struct str *out, const char *text) { go_template_quote(out, text, strlen(text)); }

static void add_turn(struct str *out, const char *before, const char *after)
{
    quote(out, before);
    str_add(out, "{{ .Content }}");
    quote(out, after);
}

static void write_system_turn(struct str *out, const struct parts *p)
{
    bool later = p->later_before != NULL,
         alike = later && strcmp(p->system_before, p->later_before) == 0 && strcmp(p->system_after, p->later_after) == 0;
    if (alike) {
        add_turn(out, p->system_before, p->system_after);
        return;
    }
    str_add(out, "{{ if eq $i 0 }}");
    add_turn(out, p->system_before, p->system_after);
    if (later) {
        str_add(out, "{{ else }}");
        add_turn(out, p->later_before, p->later_after);
    }
    str_add(out, "{{ end }}");
}

static char *write_go(const struct parts *p)
{
    struct str s = {0};
    const char *leads = p->empty_system_skipped ? "and (eq $first.Role \"system\") $first.Content" : "eq $first.Role \"system\"";
    bool conditional_head = p->form == SYSTEM_TURN && p->head[0];
    if (conditional_head || p->form == SYSTEM_IN_USER)
        str_add(&s, "{{ $first := index .Messages 0 }}");
    if (conditional_head)
        str_printf(&s, "{{ if not (%s) }}", leads);
    quote(&s, p->head);
    if (conditional_head)
        str_add(&s, "{{ end }}");
    str_add(&s, "{{ range $i, $_ := .Messages }}");
    if (p->form == SYSTEM_TURN) {
        str_add(&s, p->empty_system_skipped ? "{{ if and (eq .Role \"system\") .Content }}" : "{{ if eq .Role \"system\" }}");
        write_system_turn(&s, p);
        str_add(&s, "{{ else if eq .Role \"user\" }}");
    } else
        str_add(&s, "{{ if eq .Role \"user\" }}");
    quote(&s, p->user_before);
    if (p->form == SYSTEM_IN_USER) {
        str_printf(&s, "{{ if and (%s) (%s) }}", p->system_in_last ? "eq (len (slice $.Messages $i)) 1" : "eq $i 1", leads);
        quote(&s, p->system_before);
        str_add(&s, "{{ $first.Content }}");
        quote(&s, p->system_after);
        str_add(&s, "{{ end }}");
    }
    add_turn(&s, "", p->user_after);
    str_add(&s, "{{ else if eq .Role \"assistant\" }}");
    add_turn(&s, p->answer_before, p->answer_after);
    str_add(&s, "{{ end }}{{ end }}");
    quote(&s, p->ask);
    return str_take(&s);
}

/* ---- holding one against the other ---- */

bool ollama_ids(const struct go_template *go, bool add_bos, const struct tokenizer *t, const struct chat_message *messages, size_t n,
                struct id_list *ids, struct str *text, struct gm_error *err)
{
    struct str own = {0};
    struct str *out = text ? text : &own;
    size_t from = out->len;
    id_list_clear(ids);
    if (add_bos && tokenizer_bos(t) >= 0)
        id_list_add(ids, tokenizer_bos(t), 0);
    bool ok = go_template_prompt(go, messages, n, out, err) && tokenizer_encode(t, str_text(out) + from, out->len - from, 0, ids, err);
    str_free(&own);
    return ok;
}

/* Both ways of one prompt. *equal is set where both gave one; *refused where the chat template would not. */
static bool compare(const struct go_template *go, bool add_bos, const struct chat_template *tpl, const struct tokenizer *t,
                    const struct tokenizer *theirs, const struct chat_message *messages, size_t n, bool *equal, bool *refused,
                    struct gm_error *err)
{
    struct id_list trained = {0}, built = {0};
    struct gm_error why = {0};
    *refused = !chat_encode(tpl, t, messages, n, true, &trained, NULL, &why);
    bool ok = ollama_ids(go, add_bos, theirs, messages, n, &built, NULL, err);
    *equal = ok && !*refused && id_list_same(&trained, &built);
    id_list_free(&trained);
    id_list_free(&built);
    return ok;
}

static bool has_special(const struct tokenizer *t, const char *text)
{
    struct id_list parsed = {0}, literal = {0};
    size_t n = strlen(text);
    bool differ = tokenizer_encode(t, text, n, 0, &parsed, NULL) && tokenizer_encode(t, text, n, TOKENIZE_LITERAL, &literal, NULL)
                  && !id_list_same(&parsed, &literal);
    id_list_free(&parsed);
    id_list_free(&literal);
    return differ;
}

static char *trimmed(const char *text)
{
    const char *from = text, *to = text + strlen(text), *p = text;
    uint32_t scalar;
    bool leading = true;
    const char *last = text;
    while (p < to) {
        int n = utf8_decode(p, to, &scalar);
        bool space = unicode_is_blank(scalar);
        if (leading && space)
            from = p + n;
        leading &= space;
        if (!space)
            last = p + n;
        p += n;
    }
    return last > from ? mem_copy_n(from, (size_t)(last - from)) : mem_copy("");
}

static unsigned trim_bit(const char *role)
{
    return strcmp(role, "user") == 0 ? OLLAMA_TRIMS_USER : strcmp(role, "assistant") == 0 ? OLLAMA_TRIMS_ASSISTANT : OLLAMA_TRIMS_SYSTEM;
}

/* The same messages with the differences of `what` undone: contents of those roles without white space around them, and without special
 * tokens. Returns the bits for which there was something to undo. */
static unsigned undo(const struct tokenizer *t, const struct chat_message *messages, size_t n, unsigned what, struct chat_message *out)
{
    unsigned undone = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned trim = what & trim_bit(messages[i].role);
        char *text = trim ? trimmed(messages[i].content) : mem_copy(messages[i].content);
        if (strcmp(text, messages[i].content) != 0)
            undone |= trim;
        if ((what & OLLAMA_SPECIAL) && has_special(t, text)) {
            undone |= OLLAMA_SPECIAL;
            for (char *c = text; *c; c++) /* signs that special tokens are made of */
                if (strchr("<>[]|", *c))
                    *c = '_';
            if (has_special(t, text))
                text[0] = 0;
        }
        out[i] = (struct chat_message){messages[i].role, text};
    }
    return undone;
}

unsigned ollama_explain(const struct go_template *go, bool add_bos, const struct chat_template *tpl, const struct tokenizer *t,
                        const struct chat_message *messages, size_t n, struct gm_error *err)
{
    bool equal, refused;
    if (!compare(go, add_bos, tpl, t, t, messages, n, &equal, &refused, err))
        return UINT_MAX;
    if (equal)
        return 0;
    if (refused)
        return OLLAMA_REFUSED;
    static const unsigned bits[] = {OLLAMA_TRIMS_USER, OLLAMA_TRIMS_ASSISTANT, OLLAMA_TRIMS_SYSTEM, OLLAMA_SPECIAL};
    unsigned answer = UINT_MAX;
    struct chat_message *m = mem_new(n, sizeof *m);
    for (int size = 1; size <= 4 && answer == UINT_MAX; size++) /* the fewest reasons that explain it */
        for (unsigned set = 1; set < 16 && answer == UINT_MAX; set++) {
            unsigned what = 0;
            for (unsigned b = 0; b < 4; b++)
                what |= set >> b & 1 ? bits[b] : 0;
            if (__builtin_popcount(set) != size)
                continue;
            if (undo(t, messages, n, what, m) == what && compare(go, add_bos, tpl, t, t, m, n, &equal, &refused, err) && equal)
                answer = what;
            for (size_t i = 0; i < n; i++)
                mem_free((char *)m[i].content);
        }
    mem_free(m);
    for (size_t i = 1; i < n && answer == UINT_MAX; i++)
        if (strcmp(messages[i].role, messages[i - 1].role) == 0)
            answer = OLLAMA_SAME_ROLE;
        else if (strcmp(messages[i].role, "system") == 0)
            answer = OLLAMA_LATER_SYSTEM;
    return answer;
}

/* ---- deriving ---- */

bool ollama_template_verify(struct ollama_template *o, const struct chat_template *tpl, const struct tokenizer *trained,
                            const struct tokenizer *built, struct gm_error *err)
{
    static const char *const contents[] = {"Write a haiku about rain.",
                                           "old pond\na frog jumps in\nthe sound of water",
                                           "two  spaces, a\ttab\n\n  and lines",
                                           "\xca\xbbO ke kai e\xcc\x81 \xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80",
                                           "{{ .System }} }} {% if x %} {{- end }}",
                                           "7,5",
                                           " kept where nothing trims "};
    static const char *const roles[] = {"u", "uau", "uauau", "su", "suau", "suauau", "uasu"};
    enum { N_CONTENTS = sizeof contents / sizeof *contents };
    struct go_template *go = go_template_parse(o->text, strlen(o->text), err);
    bool ok = go != NULL;
    o->verified = 0;
    for (size_t r = 0; ok && r < sizeof roles / sizeof *roles; r++)
        for (size_t turn = 0; ok && turn < N_CONTENTS; turn++) {
            struct chat_message m[PIECES_MAX];
            size_t n = strlen(roles[r]);
            bool equal, refused;
            for (size_t i = 0; i < n; i++) {
                const char *role = role_of(roles[r][i]), *content = contents[(i + turn) % N_CONTENTS];
                m[i] = (struct chat_message){role, content[0] == ' ' && (o->differs & trim_bit(role)) ? "trimmed" : content};
            }
            if (!(ok = compare(go, o->add_bos, tpl, trained, built, m, n, &equal, &refused, err)) || refused)
                continue;
            o->verified += equal;
            if (!equal && strcmp(roles[r], "uasu") == 0)
                o->differs |= OLLAMA_LATER_SYSTEM;
            else if (!equal)
                ok = error_set(err, GM_E_UNSUPPORTED, "what Ollama would build for \"%s\" is not what was trained", roles[r]);
        }
    go_template_free(go);
    return ok;
}

bool ollama_template_derive(struct ollama_template *out, const struct chat_template *tpl, const struct tokenizer *t, struct gm_error *err)
{
    struct asker a = {.tpl = tpl, .tokenizer = t};
    struct parts p = {0};
    *out = (struct ollama_template){0};
    bool ok = take_apart(&a, &p, err);
    if (ok) {
        *out = (struct ollama_template){.text = write_go(&p), .add_bos = a.bos != NULL, .differs = p.differs};
        ok = ollama_template_verify(out, tpl, t, t, err);
    }
    parts_free(&p);
    if (!ok) {
        ollama_template_free(out);
        error_context(err, "write a TEMPLATE for Ollama from the chat template");
    }
    return ok;
}
