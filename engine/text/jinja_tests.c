/* jinja_tests.c - x is NAME. */
#include "engine/text/jinja_private.h"

#include "engine/text/unicode.h"

#include <string.h>

/* A test says yes or no as a value, so that one type of function serves all tables. */

static bool other(struct jinja *j, struct jinja_args *a, struct jinja_value *out)
{
    return jinja_arg_needed(j, a, 0, "other", out) && jinja_args_end(j, a, 1);
}

#define TYPE_TEST(name, condition)                                                                 \
    static struct jinja_value name(struct jinja *j, struct jinja_value v, struct jinja_args *a)    \
    {                                                                                              \
        jinja_args_end(j, a, 0);                                                                   \
        return jinja_bool(condition);                                                              \
    }

TYPE_TEST(is_defined, v.type != JINJA_UNDEFINED)
TYPE_TEST(is_undefined, v.type == JINJA_UNDEFINED)
TYPE_TEST(is_none, v.type == JINJA_NONE)
TYPE_TEST(is_boolean, v.type == JINJA_BOOL)
TYPE_TEST(is_true, v.type == JINJA_BOOL && v.boolean)
TYPE_TEST(is_false, v.type == JINJA_BOOL && !v.boolean)
TYPE_TEST(is_integer, v.type == JINJA_INT)
TYPE_TEST(is_float, v.type == JINJA_FLOAT)
TYPE_TEST(is_number, v.type == JINJA_INT || v.type == JINJA_FLOAT || v.type == JINJA_BOOL)
TYPE_TEST(is_string, v.type == JINJA_STRING)
TYPE_TEST(is_mapping, v.type == JINJA_DICT)
TYPE_TEST(is_sequence, v.type == JINJA_STRING || v.type == JINJA_LIST || v.type == JINJA_TUPLE ||
                           v.type == JINJA_DICT || v.type == JINJA_UNDEFINED)
TYPE_TEST(is_iterable, v.type == JINJA_STRING || v.type == JINJA_LIST || v.type == JINJA_TUPLE ||
                           v.type == JINJA_DICT || v.type == JINJA_UNDEFINED ||
                           v.type == JINJA_LOOP)
TYPE_TEST(is_callable,
          v.type == JINJA_FUNCTION || v.type == JINJA_MACRO || v.type == JINJA_JOINER ||
              v.type == JINJA_UNDEFINED) /* it has __call__, which complains */
TYPE_TEST(is_escaped, false)

static struct jinja_value is_lower(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    return jinja_call_method(j, "islower", v, a);
}

static struct jinja_value is_upper(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    return jinja_call_method(j, "isupper", v, a);
}

static struct jinja_value divisible(struct jinja *j, struct jinja_value v, int64_t by, int64_t rest)
{
    struct jinja_value r = jinja_binary(j, '%', v, jinja_int(by));
    return jinja_bool(!j->failed && jinja_equal(j, r, jinja_int(rest)));
}

static struct jinja_value is_odd(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    jinja_args_end(j, a, 0);
    return divisible(j, v, 2, 1);
}

static struct jinja_value is_even(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    jinja_args_end(j, a, 0);
    return divisible(j, v, 2, 0);
}

static struct jinja_value is_divisibleby(struct jinja *j, struct jinja_value v,
                                         struct jinja_args *a)
{
    int64_t by = jinja_arg_int(j, a, 0, "num", 0);
    jinja_args_end(j, a, 1);
    return divisible(j, v, by, 0);
}

static struct jinja_value is_in(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    struct jinja_value in;
    return jinja_bool(other(j, a, &in) && jinja_contains(j, v, in));
}

static struct jinja_value is_sameas(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    struct jinja_value w;
    if (!other(j, a, &w) || v.type != w.type)
        return jinja_bool(false);
    switch (v.type) {
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_DICT:
        return jinja_bool(v.list == w.list);
    default:
        return jinja_bool(jinja_equal(j, v, w));
    }
}

static struct jinja_value is_filter(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    jinja_args_end(j, a, 0);
    return jinja_bool(v.type == JINJA_STRING &&
                      (jinja_filter(v.string) || jinja_filter_of_jinja(v.string)));
}

static struct jinja_value is_test(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    jinja_args_end(j, a, 0);
    return jinja_bool(v.type == JINJA_STRING && jinja_test(v.string));
}

static struct jinja_value is_eq(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    struct jinja_value w;
    return jinja_bool(other(j, a, &w) && jinja_equal(j, v, w));
}
static struct jinja_value is_ne(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    struct jinja_value w;
    return jinja_bool(other(j, a, &w) && !jinja_equal(j, v, w));
}

static int order(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    struct jinja_value w;
    return other(j, a, &w) ? jinja_compare(j, v, w) : 2;
}

static struct jinja_value is_gt(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    return jinja_bool(order(j, v, a) == 1);
}
static struct jinja_value is_ge(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    int o = order(j, v, a);
    return jinja_bool(o == 0 || o == 1);
}
static struct jinja_value is_lt(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    return jinja_bool(order(j, v, a) == -1);
}
static struct jinja_value is_le(struct jinja *j, struct jinja_value v, struct jinja_args *a)
{
    int o = order(j, v, a);
    return jinja_bool(o == 0 || o == -1);
}

jinja_fn jinja_test(const struct jinja_string *name)
{
    static const struct jinja_named tests[] = {
        {"defined", is_defined},     {"undefined", is_undefined},
        {"none", is_none},           {"boolean", is_boolean},
        {"true", is_true},           {"false", is_false},
        {"integer", is_integer},     {"float", is_float},
        {"number", is_number},       {"string", is_string},
        {"mapping", is_mapping},     {"sequence", is_sequence},
        {"iterable", is_iterable},   {"callable", is_callable},
        {"escaped", is_escaped},     {"lower", is_lower},
        {"upper", is_upper},         {"odd", is_odd},
        {"even", is_even},           {"divisibleby", is_divisibleby},
        {"in", is_in},               {"sameas", is_sameas},
        {"filter", is_filter},       {"test", is_test},
        {"eq", is_eq},               {"equalto", is_eq},
        {"==", is_eq},               {"ne", is_ne},
        {"!=", is_ne},               {"gt", is_gt},
        {"greaterthan", is_gt},      {">", is_gt},
        {"ge", is_ge},               {">=", is_ge},
        {"lt", is_lt},               {"lessthan", is_lt},
        {"<", is_lt},                {"le", is_le},
        {"<=", is_le},
        {NULL, NULL},
    };
    return jinja_find(tests, name);
}

bool jinja_apply_test(struct jinja *j, const struct jinja_string *name, struct jinja_value self,
                      struct jinja_args *args)
{
    char callee[48];
    jinja_fn fn = jinja_test(name);
    if (j->failed)
        return false;
    if (!fn) {
        jinja_unknown(j, "test '%.*s' is not known", (int)(name->n < 60 ? name->n : 60),
                      name->bytes);
        return false;
    }
    snprintf(callee, sizeof callee, "test '%.*s'", (int)name->n, name->bytes);
    args->callee = callee;
    return jinja_truth(fn(j, self, args)) && !j->failed;
}
