/* jinja_op.c - operators, subscripts and attributes, as Python and Jinja have them. */
#include "engine/text/jinja_private.h"

#include <math.h>
#include <string.h>

static struct jinja_value too_large(struct jinja *j)
{
    return jinja_fail(j, "the number has more than 64 bits");
}

static struct jinja_value whole_power(struct jinja *j, int64_t base, int64_t exponent)
{
    int64_t result = 1;
    if (exponent < 0)
        return base == 0 ? jinja_fail(j, "0 cannot be raised to a negative power")
                         : jinja_float(pow((double)base, (double)exponent));
    while (exponent > 0) {
        if ((exponent & 1) && __builtin_mul_overflow(result, base, &result))
            return too_large(j);
        exponent >>= 1;
        if (exponent > 0 && __builtin_mul_overflow(base, base, &base))
            return too_large(j);
    }
    return jinja_int(result);
}

static struct jinja_value whole(struct jinja *j, int op, int64_t a, int64_t b)
{
    int64_t r;
    switch (op) {
    case '+':
        return __builtin_add_overflow(a, b, &r) ? too_large(j) : jinja_int(r);
    case '-':
        return __builtin_sub_overflow(a, b, &r) ? too_large(j) : jinja_int(r);
    case '*':
        return __builtin_mul_overflow(a, b, &r) ? too_large(j) : jinja_int(r);
    case JINJA_OP2('*', '*'):
        return whole_power(j, a, b);
    default:
        break;
    }
    if (b == 0)
        return jinja_fail(j, "division by zero");
    if (op == '/')
        return jinja_float((double)a / (double)b);
    if (b == -1) /* INT64_MIN / -1 */
        return op == '%' ? jinja_int(0) : whole(j, '-', 0, a);
    int64_t q = a / b, rest = a % b;
    if (rest != 0 && (rest < 0) != (b < 0)) { /* towards minus infinity */
        q--;
        rest += b;
    }
    return jinja_int(op == '%' ? rest : q);
}

static struct jinja_value real(struct jinja *j, int op, double a, double b)
{
    switch (op) {
    case '+':
        return jinja_float(a + b);
    case '-':
        return jinja_float(a - b);
    case '*':
        return jinja_float(a * b);
    case JINJA_OP2('*', '*'):
        return jinja_float(pow(a, b));
    default:
        break;
    }
    if (b == 0)
        return jinja_fail(j, "division by zero");
    if (op == '/')
        return jinja_float(a / b);
    double rest = fmod(a, b);
    if (rest != 0 && (rest < 0) != (b < 0))
        rest += b;
    if (op == '%')
        return jinja_float(rest == 0 ? copysign(0, b) : rest);
    double q = (a - rest) / b, f = floor(q);
    return jinja_float(q - f > 0.5 ? f + 1 : f);
}

static struct jinja_value joined(struct jinja *j, struct jinja_value a, struct jinja_value b)
{
    if (a.type == JINJA_STRING) {
        struct jinja_buffer buffer = {0};
        jinja_buffer_string(j, &buffer, a.string);
        jinja_buffer_string(j, &buffer, b.string);
        return jinja_buffer_value(j, &buffer);
    }
    struct jinja_value out = a.type == JINJA_LIST ? jinja_list_new(j) : jinja_tuple_new(j);
    for (size_t i = 0; i < a.list->n && jinja_step(j, 1); i++)
        jinja_list_add(j, out, a.list->items[i]);
    for (size_t i = 0; i < b.list->n && jinja_step(j, 1); i++)
        jinja_list_add(j, out, b.list->items[i]);
    return out;
}

static bool is_sequence(struct jinja_value v)
{
    return v.type == JINJA_STRING || v.type == JINJA_LIST || v.type == JINJA_TUPLE;
}

static struct jinja_value repeated(struct jinja *j, struct jinja_value v, int64_t times)
{
    struct jinja_buffer b = {0};
    struct jinja_value out = v.type == JINJA_TUPLE ? jinja_tuple_new(j) : jinja_list_new(j);
    if (v.type == JINJA_STRING && v.string->n == 0)
        return v;
    for (int64_t i = 0; i < times && jinja_step(j, 1); i++) {
        if (v.type == JINJA_STRING)
            jinja_buffer_string(j, &b, v.string);
        for (size_t k = 0; v.type != JINJA_STRING && k < v.list->n && jinja_step(j, 1); k++)
            jinja_list_add(j, out, v.list->items[k]);
        if (v.type != JINJA_STRING && v.list->n == 0)
            break;
    }
    return v.type == JINJA_STRING ? jinja_buffer_value(j, &b) : out;
}

static struct jinja_value complain(struct jinja *j, struct jinja_value v)
{
    return jinja_fail(j, "%.*s", (int)v.string->n, v.string->bytes);
}

struct jinja_value jinja_binary(struct jinja *j, int op, struct jinja_value a, struct jinja_value b)
{
    int64_t i, k;
    double x, y;
    if (j->failed)
        return a;
    if (a.type == JINJA_UNDEFINED)
        return complain(j, a);
    if (op == '%' && a.type == JINJA_STRING)
        return jinja_format_percent(j, a.string, b);
    if (b.type == JINJA_UNDEFINED)
        return complain(j, b);
    if (jinja_as_int(a, &i) && jinja_as_int(b, &k))
        return whole(j, op, i, k);
    if (jinja_as_float(a, &x) && jinja_as_float(b, &y))
        return real(j, op, x, y);
    if (op == '+' && a.type == b.type && is_sequence(a))
        return joined(j, a, b);
    if (op == '*' && is_sequence(a) && jinja_as_int(b, &k))
        return repeated(j, a, k);
    if (op == '*' && is_sequence(b) && jinja_as_int(a, &k))
        return repeated(j, b, k);
    if (op == '+' && a.type == JINJA_STRING)
        return jinja_fail(j, "can only concatenate str (not \"%s\") to str", jinja_type_name(b));
    char name[3] = {(char)(op > 255 ? op >> 8 : op), (char)(op > 255 ? op & 255 : 0), 0};
    return jinja_fail(j, "unsupported operand type(s) for %s: '%s' and '%s'", name,
                      jinja_type_name(a), jinja_type_name(b));
}

struct jinja_value jinja_negative(struct jinja *j, struct jinja_value v)
{
    int64_t i;
    if (j->failed)
        return v;
    if (v.type == JINJA_FLOAT)
        return jinja_float(-v.number);
    if (jinja_as_int(v, &i))
        return whole(j, '-', 0, i);
    if (v.type == JINJA_UNDEFINED)
        return complain(j, v);
    return jinja_fail(j, "bad operand type for unary -: '%s'", jinja_type_name(v));
}

/* ---- subscripts ---- */

/* Byte of character number i; n: one behind the last. */
static size_t byte_of(const struct jinja_string *s, size_t i)
{
    const char *p = s->bytes, *end = s->bytes + s->n;
    uint32_t c;
    for (; i > 0 && p < end; i--)
        p += utf8_decode(p, end, &c);
    return (size_t)(p - s->bytes);
}

static size_t length(struct jinja_value v)
{
    return v.type == JINJA_STRING ? jinja_characters(v.string) : v.list->n;
}

struct jinja_value jinja_item(struct jinja *j, struct jinja_value v, struct jinja_value key)
{
    struct jinja_value out;
    int64_t i;
    if (j->failed)
        return v;
    if (v.type == JINJA_UNDEFINED)
        return complain(j, v);
    if (v.type == JINJA_LOOP && key.type != JINJA_STRING)
        return jinja_undefined(j, "'LoopContext' object has no element");
    if (v.type == JINJA_DICT && key.type != JINJA_LIST && key.type != JINJA_DICT) {
        if (jinja_dict_get(j, v.dict, key, &out))
            return out;
    } else if (is_sequence(v) && jinja_as_int(key, &i)) {
        int64_t n = (int64_t)length(v);
        jinja_step(j, v.type == JINJA_STRING ? v.string->n / 64 : 0);
        if (i < 0)
            i += n;
        if (i < 0 || i >= n)
            return jinja_undefined(j, "'%s' object has no element %lld", jinja_type_name(v),
                                   (long long)i);
        if (v.type != JINJA_STRING)
            return v.list->items[i];
        size_t begin = byte_of(v.string, (size_t)i);
        const char *p = v.string->bytes + begin;
        uint32_t c;
        return jinja_slice(j, v.string, begin,
                           begin + (size_t)utf8_decode(p, v.string->bytes + v.string->n, &c));
    }
    if (key.type == JINJA_STRING)
        return jinja_attribute(j, v, key.string);
    struct jinja_buffer b = {0};
    jinja_repr(j, &b, key);
    return jinja_undefined(j, "'%s' object has no attribute %.*s", jinja_type_name(v), (int)b.n,
                           b.n ? b.bytes : "");
}

/* A bound of a slice over n members, as slice.indices() has it. */
static int64_t bound(struct jinja *j, struct jinja_value v, int64_t n, int64_t step, int64_t absent)
{
    int64_t i;
    if (v.type == JINJA_NONE)
        return absent;
    if (!jinja_as_int(v, &i)) {
        if (v.type == JINJA_UNDEFINED)
            complain(j, v);
        else
            jinja_fail(j, "slice indices must be integers or None");
        return absent;
    }
    if (i < 0)
        i = i < -n ? (step < 0 ? -1 : 0) : i + n;
    else if (i >= n)
        i = step < 0 ? n - 1 : n;
    return i;
}

struct jinja_value jinja_item_slice(struct jinja *j, struct jinja_value v, struct jinja_value start,
                                    struct jinja_value stop, struct jinja_value step)
{
    int64_t by = 1;
    if (j->failed)
        return v;
    if (v.type == JINJA_UNDEFINED)
        return complain(j, v);
    if (!is_sequence(v))
        return jinja_fail(j, "'%s' object has no slices", jinja_type_name(v));
    if (step.type != JINJA_NONE && !jinja_as_int(step, &by))
        return jinja_fail(j, "slice indices must be integers or None");
    if (by == 0)
        return jinja_fail(j, "slice step cannot be zero");
    int64_t n = (int64_t)length(v), from = bound(j, start, n, by, by < 0 ? n - 1 : 0),
            to = bound(j, stop, n, by, by < 0 ? -1 : n);
    if (j->failed)
        return v;
    if (v.type == JINJA_STRING && by == 1) {
        size_t begin = byte_of(v.string, (size_t)from);
        size_t end = to > from ? byte_of(v.string, (size_t)to) : begin;
        jinja_step(j, v.string->n / 64);
        return jinja_slice(j, v.string, begin, end);
    }
    struct jinja_value all = v, out = v.type == JINJA_TUPLE ? jinja_tuple_new(j)
                                                            : jinja_list_new(j);
    if (v.type == JINJA_STRING) {
        all.list = (struct jinja_list *)jinja_iterate(j, v);
        all.type = JINJA_LIST;
    }
    struct jinja_buffer b = {0};
    for (int64_t i = from; (by > 0 ? i < to : i > to) && jinja_step(j, 1); i += by) {
        if (v.type == JINJA_STRING)
            jinja_buffer_string(j, &b, all.list->items[i].string);
        else
            jinja_list_add(j, out, all.list->items[i]);
        if (by > n || by < -n)
            break;
    }
    return v.type == JINJA_STRING ? jinja_buffer_value(j, &b) : out;
}
