/* jinja_string.c - the methods of str. Every byte keeps its mark; what a change of case makes of a
 * character has the mark of that character.
 *
 * Positions are characters, as in Python. */
#include "engine/text/jinja_private.h"

#include "engine/text/letter_case.h"
#include "engine/text/unicode.h"

#include <string.h>

size_t jinja_characters(const struct jinja_string *s)
{
    const char *end = s->bytes + s->n;
    size_t n = 0;
    uint32_t c;
    for (const char *p = s->bytes; p < end; n++)
        p += utf8_decode(p, end, &c);
    return n;
}

/* A method that is one case of a function. */
#define METHOD(name, call)                                                                                                      \
    static struct jinja_value name(struct jinja *j, struct jinja_value self, struct jinja_args *a)                              \
    {                                                                                                                           \
        return call;                                                                                                            \
    }

static bool text_argument(struct jinja *j, struct jinja_args *a, int position, const char *name,
                          const struct jinja_string **out)
{
    struct jinja_value v;
    if (!jinja_arg_needed(j, a, position, name, &v))
        return false;
    *out = v.string;
    if (v.type == JINJA_STRING)
        return true;
    jinja_fail(j, "%s: '%s' is no string", a->callee, jinja_type_name(v));
    return false;
}

/* A string, or None and absent: NULL. */
static bool text_or_none(struct jinja *j, struct jinja_args *a, int position, const char *name,
                         const struct jinja_string **out)
{
    struct jinja_value v;
    *out = NULL;
    if (!jinja_arg(a, position, name, &v) || v.type == JINJA_NONE)
        return true;
    return text_argument(j, a, position, name, out);
}

/* ---- strip ---- */

static bool is_stripped(const struct jinja_string *set, uint32_t c)
{
    uint32_t member;
    if (!set)
        return unicode_is_blank(c);
    for (const char *p = set->bytes, *end = p + set->n; p < end;) {
        p += utf8_decode(p, end, &member);
        if (member == c)
            return true;
    }
    return false;
}

static struct jinja_value strip(struct jinja *j, const struct jinja_string *s, bool left, bool right,
                                const struct jinja_string *set)
{
    const char *p = s->bytes, *end = p + s->n, *last;
    uint32_t c;
    if (!jinja_step(j, (s->n / 16 + 1) * (set ? set->n / 16 + 1 : 1)))
        return jinja_string_value(s);
    while (left && p < end) {
        int n = utf8_decode(p, end, &c);
        if (!is_stripped(set, c))
            break;
        p += n;
    }
    last = right ? p : end;
    for (const char *q = p; right && q < end;) {
        q += utf8_decode(q, end, &c);
        if (!is_stripped(set, c))
            last = q;
    }
    return jinja_slice(j, s, (size_t)(p - s->bytes), (size_t)(last - s->bytes));
}

static struct jinja_value strip_method(struct jinja *j, struct jinja_value self,
                                       struct jinja_args *a, bool left, bool right)
{
    const struct jinja_string *set;
    if (!text_or_none(j, a, 0, "chars", &set) || !jinja_args_end(j, a, 1))
        return self;
    return strip(j, self.string, left, right, set);
}

METHOD(str_strip, strip_method(j, self, a, true, true))
METHOD(str_lstrip, strip_method(j, self, a, true, false))
METHOD(str_rstrip, strip_method(j, self, a, false, true))

static struct jinja_value remove_affix(struct jinja *j, struct jinja_value self,
                                       struct jinja_args *a, bool front)
{
    const struct jinja_string *s = self.string, *part;
    if (!text_argument(j, a, 0, "prefix", &part) || !jinja_args_end(j, a, 1) || part->n > s->n)
        return self;
    const char *at = front ? s->bytes : s->bytes + s->n - part->n;
    if (memcmp(at, part->bytes, part->n) != 0)
        return self;
    return front ? jinja_slice(j, s, part->n, s->n) : jinja_slice(j, s, 0, s->n - part->n);
}

METHOD(str_removeprefix, remove_affix(j, self, a, true))
METHOD(str_removesuffix, remove_affix(j, self, a, false))

/* ---- searching ---- */

/* First (or last) place of `part` in s; -1: none. */
static int64_t place(struct jinja *j, const struct jinja_string *s, const struct jinja_string *part, bool last)
{
    if (part->n > s->n)
        return -1;
    if (last) {
        for (size_t i = s->n - part->n + 1; i-- > 0 && jinja_step(j, i % 64 == 0 ? 1 : part->n / 64);)
            if (memcmp(s->bytes + i, part->bytes, part->n) == 0)
                return (int64_t)i;
        return -1;
    }
    if (part->n == 0)
        return 0;
    const char *p = memmem(s->bytes, s->n, part->bytes, part->n);
    jinja_step(j, (p ? (size_t)(p - s->bytes) : s->n) / 64); /* what was walked over */
    return p ? p - s->bytes : -1;
}

static struct jinja_value find(struct jinja *j, struct jinja_value self, struct jinja_args *a,
                               bool last, bool must)
{
    const struct jinja_string *s = self.string, *part;
    if (!text_argument(j, a, 0, "sub", &part) || !jinja_args_end(j, a, 1))
        return self;
    int64_t at = place(j, s, part, last);
    if (at < 0 && must)
        return jinja_fail(j, "substring not found");
    struct jinja_string before = {.bytes = s->bytes, .n = at < 0 ? 0 : (size_t)at};
    return jinja_int(at < 0 ? -1 : (int64_t)jinja_characters(&before));
}

METHOD(str_find, find(j, self, a, false, false))
METHOD(str_rfind, find(j, self, a, true, false))
METHOD(str_index, find(j, self, a, false, true))
METHOD(str_rindex, find(j, self, a, true, true))

static struct jinja_value str_count(struct jinja *j, struct jinja_value self, struct jinja_args *a)
{
    const struct jinja_string *s = self.string, *part;
    if (!text_argument(j, a, 0, "sub", &part) || !jinja_args_end(j, a, 1))
        return self;
    if (part->n == 0)
        return jinja_int((int64_t)jinja_characters(s) + 1);
    int64_t n = 0;
    for (int64_t at; (at = place(j, s, part, false)) >= 0 && jinja_step(j, 1); n++)
        s = jinja_slice(j, s, (size_t)at + part->n, s->n).string;
    return jinja_int(n);
}

static bool has_affix(const struct jinja_string *s, const struct jinja_string *part, bool front)
{
    return part->n <= s->n &&
           memcmp(front ? s->bytes : s->bytes + s->n - part->n, part->bytes, part->n) == 0;
}

static struct jinja_value affix(struct jinja *j, struct jinja_value self, struct jinja_args *a,
                                bool front)
{
    struct jinja_value v;
    if (!jinja_arg_needed(j, a, 0, "prefix", &v) || !jinja_args_end(j, a, 1))
        return self;
    if (v.type == JINJA_STRING)
        return jinja_bool(has_affix(self.string, v.string, front));
    if (v.type != JINJA_TUPLE)
        return jinja_fail(j, "%s needs a string or a tuple of strings, not '%s'", a->callee,
                          jinja_type_name(v));
    for (size_t i = 0; i < v.list->n; i++)
        if (v.list->items[i].type == JINJA_STRING &&
            has_affix(self.string, v.list->items[i].string, front))
            return jinja_bool(true);
    return jinja_bool(false);
}

METHOD(str_startswith, affix(j, self, a, true))
METHOD(str_endswith, affix(j, self, a, false))

/* ---- taking apart ---- */

static struct jinja_value split_blanks(struct jinja *j, const struct jinja_string *s, int64_t max)
{
    struct jinja_value out = jinja_list_new(j);
    const char *p = s->bytes, *end = p + s->n, *begin;
    uint32_t c = 0;
    int n;
    for (;;) {
        while (p < end && (n = utf8_decode(p, end, &c), unicode_is_blank(c)))
            p += n;
        if (p == end || !jinja_step(j, 1))
            return out;
        begin = p;
        if (max == 0) {
            jinja_list_add(j, out, jinja_slice(j, s, (size_t)(p - s->bytes), s->n));
            return out;
        }
        while (p < end && (n = utf8_decode(p, end, &c), !unicode_is_blank(c)))
            p += n;
        jinja_list_add(j, out, jinja_slice(j, s, (size_t)(begin - s->bytes), (size_t)(p - s->bytes)));
        max--;
    }
}

static void reverse(struct jinja_list *l)
{
    for (size_t i = 0; i < l->n / 2; i++) {
        struct jinja_value v = l->items[i];
        l->items[i] = l->items[l->n - 1 - i];
        l->items[l->n - 1 - i] = v;
    }
}

static struct jinja_value split(struct jinja *j, struct jinja_value self, struct jinja_args *a,
                                bool from_right)
{
    const struct jinja_string *s = self.string, *by;
    int64_t max = jinja_arg_int(j, a, 1, "maxsplit", -1), at;
    if (!text_or_none(j, a, 0, "sep", &by) || !jinja_args_end(j, a, 2))
        return self;
    if (by && by->n == 0)
        return jinja_fail(j, "empty separator");
    if (!by && from_right && max >= 0)
        return jinja_unknown(j, "rsplit at white space with a limit is not supported");
    if (!by)
        return split_blanks(j, s, max);
    struct jinja_value out = jinja_list_new(j);
    while (max != 0 && (at = place(j, s, by, from_right)) >= 0 && jinja_step(j, 1)) {
        struct jinja_value left = jinja_slice(j, s, 0, (size_t)at),
                           right = jinja_slice(j, s, (size_t)at + by->n, s->n);
        jinja_list_add(j, out, from_right ? right : left);
        s = from_right ? left.string : right.string;
        max--;
    }
    jinja_list_add(j, out, jinja_string_value(s));
    if (from_right && !j->failed)
        reverse(out.list);
    return out;
}

METHOD(str_split, split(j, self, a, false))
METHOD(str_rsplit, split(j, self, a, true))

static struct jinja_value partition(struct jinja *j, struct jinja_value self, struct jinja_args *a,
                                    bool from_right)
{
    const struct jinja_string *s = self.string, *by;
    if (!text_argument(j, a, 0, "sep", &by) || !jinja_args_end(j, a, 1))
        return self;
    struct jinja_value out = jinja_tuple_new(j), none = jinja_literal(j, "");
    int64_t at = place(j, s, by, from_right);
    if (at < 0) {
        jinja_list_add(j, out, from_right ? none : self);
        jinja_list_add(j, out, none);
        jinja_list_add(j, out, from_right ? self : none);
        return out;
    }
    jinja_list_add(j, out, jinja_slice(j, s, 0, (size_t)at));
    jinja_list_add(j, out, jinja_slice(j, s, (size_t)at, (size_t)at + by->n));
    jinja_list_add(j, out, jinja_slice(j, s, (size_t)at + by->n, s->n));
    return out;
}

METHOD(str_partition, partition(j, self, a, false))
METHOD(str_rpartition, partition(j, self, a, true))

static bool is_line_end(uint32_t c)
{
    return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
}

static struct jinja_value str_splitlines(struct jinja *j, struct jinja_value self,
                                         struct jinja_args *a)
{
    const struct jinja_string *s = self.string;
    bool keep = jinja_arg_bool(j, a, 0, "keepends", false);
    struct jinja_value out = jinja_list_new(j);
    if (!jinja_args_end(j, a, 1))
        return self;
    const char *end = s->bytes + s->n, *p = s->bytes, *begin = p;
    uint32_t c;
    while (p < end && jinja_step(j, 1)) {
        const char *at = p;
        p += utf8_decode(p, end, &c);
        if (!is_line_end(c))
            continue;
        if (c == '\r' && p < end && *p == '\n')
            p++;
        jinja_list_add(j, out, jinja_slice(j, s, (size_t)(begin - s->bytes),
                                           (size_t)((keep ? p : at) - s->bytes)));
        begin = p;
    }
    if (begin < end)
        jinja_list_add(j, out, jinja_slice(j, s, (size_t)(begin - s->bytes), s->n));
    return out;
}

/* ---- putting together ---- */

static struct jinja_value str_join(struct jinja *j, struct jinja_value self, struct jinja_args *a)
{
    struct jinja_value v;
    struct jinja_buffer b = {0};
    if (!jinja_arg_needed(j, a, 0, "iterable", &v) || !jinja_args_end(j, a, 1))
        return self;
    const struct jinja_list *l = jinja_iterate(j, v);
    for (size_t i = 0; l && i < l->n && jinja_step(j, 1); i++) {
        if (l->items[i].type != JINJA_STRING)
            return jinja_fail(j, "sequence item %zu: expected str instance, %s found", i,
                              jinja_type_name(l->items[i]));
        if (i)
            jinja_buffer_string(j, &b, self.string);
        jinja_buffer_string(j, &b, l->items[i].string);
    }
    return jinja_buffer_value(j, &b);
}

static struct jinja_value str_replace(struct jinja *j, struct jinja_value self,
                                      struct jinja_args *a)
{
    const struct jinja_string *s = self.string, *from, *to;
    int64_t max = jinja_arg_int(j, a, 2, "count", -1), at;
    struct jinja_buffer b = {0};
    if (!text_argument(j, a, 0, "old", &from) || !text_argument(j, a, 1, "new", &to) ||
        !jinja_args_end(j, a, 3))
        return self;
    if (from->n == 0) { /* in front of every character and at the end */
        const struct jinja_list *l = jinja_iterate(j, self);
        for (size_t i = 0; l && i <= l->n && jinja_step(j, 1); i++) {
            if (max < 0 || (int64_t)i < max)
                jinja_buffer_string(j, &b, to);
            if (i < l->n)
                jinja_buffer_string(j, &b, l->items[i].string);
        }
        return jinja_buffer_value(j, &b);
    }
    while (max != 0 && (at = place(j, s, from, false)) >= 0 && jinja_step(j, 1)) {
        jinja_buffer_add(j, &b, s->bytes, (size_t)at, s->marks);
        jinja_buffer_string(j, &b, to);
        s = jinja_slice(j, s, (size_t)at + from->n, s->n).string;
        max--;
    }
    jinja_buffer_string(j, &b, s);
    return jinja_buffer_value(j, &b);
}

/* ---- case ---- */

enum letter_case { UPPER, LOWER, TITLE, CAPITAL, SWAP };

static struct jinja_value change_case(struct jinja *j, struct jinja_value self,
                                      struct jinja_args *a, enum letter_case how)
{
    const struct jinja_string *s = self.string;
    struct jinja_buffer b = {0};
    const char *end = s->bytes + s->n;
    bool inside = false; /* of a word */
    uint32_t c, out[3];
    if (!jinja_args_end(j, a, 0))
        return self;
    for (const char *p = s->bytes; p < end && jinja_step(j, 1);) {
        const char *at = p;
        uint8_t mark = s->marks ? s->marks[p - s->bytes] : 0;
        p += utf8_decode(p, end, &c);
        bool up = how == UPPER || (how == TITLE && !inside) || (how == CAPITAL && at == s->bytes) ||
                  (how == SWAP && letter_is_lower(c));
        int n = !up                       ? letter_lower(c, out)
                : how == UPPER || how == SWAP ? letter_upper(c, out)
                                              : letter_title(c, out);
        if (n == 1 && out[0] == c)
            jinja_buffer_add(j, &b, at, (size_t)(p - at), s->marks ? s->marks + (at - s->bytes) : NULL);
        else
            for (int i = 0; i < n; i++)
                jinja_buffer_char(j, &b, out[i], mark);
        inside = letter_is_cased(c);
    }
    return jinja_buffer_value(j, &b);
}

METHOD(str_upper, change_case(j, self, a, UPPER))
METHOD(str_lower, change_case(j, self, a, LOWER))
METHOD(str_title, change_case(j, self, a, TITLE))
METHOD(str_capitalize, change_case(j, self, a, CAPITAL))
METHOD(str_swapcase, change_case(j, self, a, SWAP))

/* ---- questions ---- */

static bool is_letter_or_number(uint32_t c)
{
    return unicode_is_letter(c) || unicode_is_number(c);
}

static struct jinja_value all_are(struct jinja *j, struct jinja_value self, struct jinja_args *a,
                                  bool (*is)(uint32_t c))
{
    const struct jinja_string *s = self.string;
    bool all = s->n > 0;
    uint32_t c;
    if (!jinja_args_end(j, a, 0))
        return self;
    for (const char *p = s->bytes, *end = p + s->n; all && p < end;) {
        p += utf8_decode(p, end, &c);
        all = is(c);
    }
    return jinja_bool(all);
}

METHOD(str_isalpha, all_are(j, self, a, unicode_is_letter))
METHOD(str_isdigit, all_are(j, self, a, unicode_is_number))
METHOD(str_isalnum, all_are(j, self, a, is_letter_or_number))
METHOD(str_isspace, all_are(j, self, a, unicode_is_blank))

/* All that has case has the one asked for, and something has. */
static struct jinja_value case_is(struct jinja *j, struct jinja_value self, struct jinja_args *a,
                                  bool upper)
{
    const struct jinja_string *s = self.string;
    bool all = true, any = false;
    uint32_t c;
    if (!jinja_args_end(j, a, 0))
        return self;
    for (const char *p = s->bytes, *end = p + s->n; all && p < end;) {
        p += utf8_decode(p, end, &c);
        if (!letter_is_cased(c))
            continue;
        any = true;
        all = upper ? !letter_is_lower(c) : letter_is_lower(c);
    }
    return jinja_bool(all && any);
}

METHOD(str_isupper, case_is(j, self, a, true))
METHOD(str_islower, case_is(j, self, a, false))

/* ---- padding ---- */

static struct jinja_value pad(struct jinja *j, struct jinja_value self, struct jinja_args *a,
                              int left_share) /* of 2 */
{
    const struct jinja_string *s = self.string, *fill;
    int64_t width = jinja_arg_int(j, a, 0, "width", 0), have = (int64_t)jinja_characters(s);
    struct jinja_buffer b = {0};
    if (!text_or_none(j, a, 1, "fillchar", &fill) || !jinja_args_end(j, a, 2) || width <= have)
        return self;
    if (fill && jinja_characters(fill) != 1)
        return jinja_fail(j, "the fill character must be exactly one character long");
    int64_t gap = width - have, left = left_share == 2 ? gap : left_share == 0 ? 0
                                                   : gap / 2 + (gap & width & 1);
    for (int64_t i = 0; i <= gap && jinja_step(j, 1); i++) {
        if (i == left)
            jinja_buffer_string(j, &b, s);
        if (i < gap && fill)
            jinja_buffer_string(j, &b, fill);
        else if (i < gap)
            jinja_buffer_text(j, &b, " ");
    }
    return jinja_buffer_value(j, &b);
}

METHOD(str_ljust, pad(j, self, a, 0))
METHOD(str_center, pad(j, self, a, 1))
METHOD(str_rjust, pad(j, self, a, 2))

/* ---- the table ---- */

jinja_fn jinja_string_method(const struct jinja_string *name)
{
    static const struct jinja_named methods[] = {
        {"strip", str_strip},
        {"lstrip", str_lstrip},
        {"rstrip", str_rstrip},
        {"removeprefix", str_removeprefix},
        {"removesuffix", str_removesuffix},
        {"find", str_find},
        {"rfind", str_rfind},
        {"index", str_index},
        {"rindex", str_rindex},
        {"count", str_count},
        {"startswith", str_startswith},
        {"endswith", str_endswith},
        {"split", str_split},
        {"rsplit", str_rsplit},
        {"splitlines", str_splitlines},
        {"partition", str_partition},
        {"rpartition", str_rpartition},
        {"join", str_join},
        {"replace", str_replace},
        {"upper", str_upper},
        {"lower", str_lower},
        {"title", str_title},
        {"capitalize", str_capitalize},
        {"swapcase", str_swapcase},
        {"isalpha", str_isalpha},
        {"isdigit", str_isdigit},
        {"isnumeric", str_isdigit},
        {"isalnum", str_isalnum},
        {"isspace", str_isspace},
        {"isupper", str_isupper},
        {"islower", str_islower},
        {"ljust", str_ljust},
        {"rjust", str_rjust},
        {"center", str_center},
        {"format", jinja_format_braces},
        {NULL, NULL},
    };
    return jinja_find(methods, name);
}
