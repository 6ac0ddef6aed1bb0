/* jinja_private.h - what the interpreter is made of; for the files jinja_*.c alone.
 *
 *     text -> jinja_lex.c -> tokens -> jinja_parse*.c -> nodes -> jinja_exec.c, jinja_eval.c
 *
 * Errors are sticky: jinja_fail() sets them in the rendering, the first one counts, and from then
 * on every function returns at once with a value that nobody looks at. Callers check j->failed
 * before loops and before they rely on a value.
 */
#ifndef GM_TEXT_JINJA_PRIVATE_H
#define GM_TEXT_JINJA_PRIVATE_H

#include "engine/text/jinja.h"

/* ---- memory: blocks that go all at once ---- */

struct jinja_heap {
    struct jinja_block *blocks;
    char *at;
    size_t left, used;
};
void *jinja_take(struct jinja_heap *h, size_t bytes); /* zeroed */
void jinja_heap_free(struct jinja_heap *h);

/* ---- values ---- */

struct jinja_string {
    const char *bytes;
    const uint8_t *marks; /* one per byte; NULL: all are 0 */
    size_t n;
};
struct jinja_list {
    struct jinja_value *items;
    size_t n, cap;
};
struct jinja_dict { /* in the order of insertion */
    struct jinja_value *keys, *values;
    size_t n, cap;
};
struct jinja_loop {
    const struct jinja_list *items;
    size_t index0;
    struct jinja_value changed; /* JINJA_UNDEFINED: never asked */
};
struct jinja_macro {
    const struct jinja_node *node; /* NODE_MACRO or NODE_CALL_BLOCK */
    struct jinja_scope *scope;     /* where it was defined */
};
struct jinja_args;
typedef struct jinja_value (*jinja_fn)(struct jinja *j, struct jinja_value self,
                                       struct jinja_args *args);
struct jinja_function {
    const char *name;
    jinja_fn fn;
    struct jinja_value self;
};
struct jinja_cycler {
    struct jinja_list *items;
    struct jinja_value text; /* of a joiner */
    size_t pos;
};

struct jinja_args {
    struct jinja_value *values;
    int n;
    struct jinja_keyword {
        const struct jinja_string *name;
        struct jinja_value value;
        bool used;
    } *keywords;
    int n_keywords;
    const char *callee; /* for errors */
};
/* The argument at `position` or of that name; false: neither was given. */
bool jinja_arg(struct jinja_args *a, int position, const char *name, struct jinja_value *out);
bool jinja_arg_needed(struct jinja *j, struct jinja_args *a, int position, const char *name,
                      struct jinja_value *out);
int64_t jinja_arg_int(struct jinja *j, struct jinja_args *a, int position, const char *name,
                      int64_t absent);
bool jinja_arg_bool(struct jinja *j, struct jinja_args *a, int position, const char *name,
                    bool absent);
/* Nothing was given beyond `max` positions and the names asked for. */
bool jinja_args_end(struct jinja *j, struct jinja_args *a, int max);

/* ---- a rendering ---- */

struct jinja_buffer { /* text in the making, with its marks */
    char *bytes;
    uint8_t *marks;
    size_t n, cap;
};
struct jinja_scope {
    struct jinja_scope *parent;
    struct jinja_variable {
        const struct jinja_string *name;
        struct jinja_value value;
    } *variables;
    size_t n, cap;
    bool kept; /* a macro looks into it */
};
struct jinja {
    struct jinja_heap heap;
    const struct jinja_template *tpl;
    struct jinja_scope globals, *scope;
    struct jinja_buffer *out;
    size_t given; /* bytes of the strings put in: the limits grow with them */
    uint64_t steps;
    int depth, line;
    time_t now;
    bool failed;
    struct gm_error error;
};
enum { JINJA_DEPTH_MAX = 300, JINJA_RANGE_MAX = 100000 };

struct jinja_value jinja_fail(struct jinja *j, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* with template and line in front */
struct jinja_value jinja_unknown(struct jinja *j, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* the same, GM_E_UNSUPPORTED */
/* Work done, in units of about one node or 64 bytes; false: over the limit. */
bool jinja_step(struct jinja *j, size_t work);
bool jinja_room(struct jinja *j, size_t bytes); /* may that much be taken? */
bool jinja_deeper(struct jinja *j);             /* pairs with j->depth-- when true */

/* ---- jinja_value.c ---- */

struct jinja_value jinja_undefined(struct jinja *j, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
struct jinja_value jinja_int(int64_t i);
struct jinja_value jinja_float(double x);
struct jinja_value jinja_literal(struct jinja *j, const char *text); /* not copied */
struct jinja_value jinja_string_value(const struct jinja_string *s);
struct jinja_value jinja_slice(struct jinja *j, const struct jinja_string *s, size_t begin,
                               size_t end); /* bytes */
struct jinja_value jinja_tuple_new(struct jinja *j);
struct jinja_value jinja_pair(struct jinja *j, struct jinja_value a, struct jinja_value b);
struct jinja_value jinja_method(struct jinja *j, const char *name, jinja_fn fn,
                                struct jinja_value self);
bool jinja_dict_get(struct jinja *j, const struct jinja_dict *d, struct jinja_value key,
                    struct jinja_value *out);
bool jinja_dict_get_text(struct jinja *j, const struct jinja_dict *d,
                         const struct jinja_string *key, struct jinja_value *out);
bool jinja_is(const struct jinja_string *s, const char *text);
bool jinja_same_text(const struct jinja_string *a, const struct jinja_string *b);
bool jinja_truth(struct jinja_value v);
bool jinja_equal(struct jinja *j, struct jinja_value a, struct jinja_value b);
int jinja_compare(struct jinja *j, struct jinja_value a, struct jinja_value b); /* <0, 0, >0 */
const char *jinja_type_name(struct jinja_value v); /* as Python calls it */
bool jinja_as_int(struct jinja_value v, int64_t *out); /* int or bool */
bool jinja_as_float(struct jinja_value v, double *out);
/* The members of an iterable (of a string its characters, of a dict its keys); NULL: an error. */
const struct jinja_list *jinja_iterate(struct jinja *j, struct jinja_value v);
bool jinja_contains(struct jinja *j, struct jinja_value item, struct jinja_value in);

void jinja_buffer_add(struct jinja *j, struct jinja_buffer *b, const char *bytes, size_t n,
                      const uint8_t *marks);
void jinja_buffer_text(struct jinja *j, struct jinja_buffer *b, const char *text);
void jinja_buffer_char(struct jinja *j, struct jinja_buffer *b, uint32_t scalar, uint8_t mark);
void jinja_buffer_string(struct jinja *j, struct jinja_buffer *b, const struct jinja_string *s);
struct jinja_value jinja_buffer_value(struct jinja *j, const struct jinja_buffer *b);

/* ---- jinja_print.c ---- */

void jinja_print(struct jinja *j, struct jinja_buffer *b, struct jinja_value v); /* str() */
void jinja_repr(struct jinja *j, struct jinja_buffer *b, struct jinja_value v);
const struct jinja_string *jinja_str(struct jinja *j, struct jinja_value v);
void jinja_float_text(double x, char out[40]);
struct jinja_value jinja_tojson(struct jinja *j, struct jinja_value self, struct jinja_args *args);

/* ---- jinja_string.c, jinja_format.c, jinja_filters*.c, jinja_tests.c, jinja_call.c, jinja_op.c */

size_t jinja_characters(const struct jinja_string *s);
/* Tables by name, {NULL, NULL} behind the last; NULL: not there. */
struct jinja_named {
    const char *name;
    jinja_fn fn;
};
jinja_fn jinja_find(const struct jinja_named *list, const struct jinja_string *name);
jinja_fn jinja_string_method(const struct jinja_string *name);
jinja_fn jinja_filter(const struct jinja_string *name);
jinja_fn jinja_list_filter(const struct jinja_string *name); /* those over members */
bool jinja_filter_of_jinja(const struct jinja_string *name); /* exists, but not here */
jinja_fn jinja_test(const struct jinja_string *name);
/* A method of str on the text of any value. */
struct jinja_value jinja_call_method(struct jinja *j, const char *name, struct jinja_value self,
                                     struct jinja_args *a);
struct jinja_value jinja_format_braces(struct jinja *j, struct jinja_value self,
                                       struct jinja_args *a);
struct jinja_value jinja_format_percent(struct jinja *j, const struct jinja_string *format,
                                        struct jinja_value args);
struct jinja_value jinja_global(struct jinja *j, const struct jinja_string *name);
struct jinja_value jinja_attribute(struct jinja *j, struct jinja_value v,
                                   const struct jinja_string *name); /* v.name */
struct jinja_value jinja_item(struct jinja *j, struct jinja_value v, struct jinja_value key);
struct jinja_value jinja_item_slice(struct jinja *j, struct jinja_value v, struct jinja_value start,
                                    struct jinja_value stop, struct jinja_value step);
struct jinja_value jinja_call(struct jinja *j, struct jinja_value callee, struct jinja_args *args);
struct jinja_value jinja_binary(struct jinja *j, int op, struct jinja_value a,
                                struct jinja_value b);
struct jinja_value jinja_negative(struct jinja *j, struct jinja_value v);
struct jinja_value jinja_apply_filter(struct jinja *j, const struct jinja_string *name,
                                      struct jinja_value self, struct jinja_args *args);
bool jinja_apply_test(struct jinja *j, const struct jinja_string *name, struct jinja_value self,
                      struct jinja_args *args);

/* ---- tokens ---- */

enum jinja_token_type {
    TOKEN_DATA,
    TOKEN_VARIABLE_BEGIN,
    TOKEN_VARIABLE_END,
    TOKEN_BLOCK_BEGIN,
    TOKEN_BLOCK_END,
    TOKEN_NAME,
    TOKEN_STRING,
    TOKEN_INT,
    TOKEN_FLOAT,
    TOKEN_OPERATOR,
    TOKEN_END
};
#define JINJA_OP2(a, b) ((a) << 8 | (b)) /* an operator of two characters */
struct jinja_token {
    enum jinja_token_type type;
    int line, op;
    const char *text; /* DATA, NAME, STRING (unescaped) */
    size_t n;
    int64_t integer;
    double number;
};
struct jinja_tokens {
    struct jinja_token *list; /* mem_free */
    size_t n, cap;
};
/* `text` has normal newlines and outlives the tokens; unescaped strings go to the heap. */
bool jinja_lex(const char *text, size_t n, const char *label, struct jinja_heap *heap,
               struct jinja_tokens *out, struct gm_error *err);

/* ---- nodes ---- */

enum jinja_kind {
    /* statements */
    NODE_DATA,
    NODE_PRINT,
    NODE_FOR,   /* a: target, b: iterable, c: condition; list: body; other: else */
    NODE_IF,    /* a: condition or NULL; list: body; b: the next branch */
    NODE_SET,   /* a: target, b: value */
    NODE_SET_BLOCK, /* a: target, b: filters or NULL; list: body */
    NODE_MACRO,     /* name; args: parameters; list: body */
    NODE_CALL_BLOCK, /* a: the call; args: parameters of the caller; list: body */
    NODE_FILTER_BLOCK, /* b: filters; list: body */
    NODE_WITH,         /* args: name = value; list: body */
    NODE_SCOPE,        /* list: body, in a scope of its own ({% generation %}) */
    NODE_BREAK,
    NODE_CONTINUE,
    /* expressions */
    NODE_CONST,
    NODE_NAME,
    NODE_NAMESPACE_TARGET, /* name, second: ns.attribute, as a target */
    NODE_LIST,
    NODE_TUPLE,
    NODE_DICT,      /* list: key, value, key, value */
    NODE_ATTRIBUTE, /* a.name */
    NODE_ITEM,      /* a[b] */
    NODE_SLICE,     /* a[b:c:d] as NODE_ITEM's b: a, b, c are the bounds */
    NODE_CALL,      /* a(args) */
    NODE_FILTER,    /* a | name(args); a == NULL: what a block wrote */
    NODE_TEST,      /* a is name(args) */
    NODE_NOT,
    NODE_NEGATIVE,
    NODE_POSITIVE,
    NODE_AND,
    NODE_OR,
    NODE_CONDITION, /* b if a else c */
    NODE_BINARY,    /* a op b */
    NODE_CONCAT,    /* list */
    NODE_COMPARE,   /* a, then list of NODE_OPERAND */
    NODE_OPERAND,   /* op, a */
    NODE_ARGUMENT   /* a; name for keywords and parameters (a: default or NULL); op 1: *a, 2: **a */
};
enum { /* what a macro looks at besides its parameters */
    USES_VARARGS = 1,
    USES_KWARGS = 2,
    USES_CALLER = 4
};
struct jinja_node {
    enum jinja_kind kind;
    int line, op; /* NODE_MACRO: op holds what it uses */
    struct jinja_node *next, *a, *b, *c, *list, *other, *args;
    const struct jinja_string *name, *second;
    struct jinja_value value;
};

struct jinja_template {
    struct jinja_heap heap;
    char *label;
    struct jinja_node *body;
};

struct jinja_parser {
    struct jinja_template *tpl;
    const struct jinja_token *token; /* the current one */
    int depth, loops;
    int *uses; /* of the macro that is read */
    bool failed;
    struct gm_error *err;
};
void *jinja_parse_fail(struct jinja_parser *p, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4))); /* NULL */
struct jinja_node *jinja_node_new(struct jinja_parser *p, enum jinja_kind kind, int line);
bool jinja_at_op(const struct jinja_parser *p, int op);
bool jinja_at_name(const struct jinja_parser *p, const char *name);
bool jinja_skip_op(struct jinja_parser *p, int op);
bool jinja_skip_name(struct jinja_parser *p, const char *name);
bool jinja_expect_op(struct jinja_parser *p, int op);
const struct jinja_string *jinja_expect_name(struct jinja_parser *p);
const char *jinja_describe(const struct jinja_token *t); /* for errors */
/* jinja_parse_expr.c */
struct jinja_node *jinja_parse_expression(struct jinja_parser *p, bool with_condition);
struct jinja_node *jinja_parse_tuple(struct jinja_parser *p, bool with_condition,
                                     const char *end_name);
struct jinja_node *jinja_parse_target(struct jinja_parser *p, bool with_namespace,
                                      const char *end_name);
struct jinja_node *jinja_parse_filters(struct jinja_parser *p, struct jinja_node *node,
                                       bool at_name);
struct jinja_node *jinja_parse_unary(struct jinja_parser *p, bool with_filter);

/* ---- jinja_exec.c, jinja_eval.c ---- */

enum jinja_flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };
enum jinja_flow jinja_exec(struct jinja *j, const struct jinja_node *list);
struct jinja_value jinja_eval(struct jinja *j, const struct jinja_node *n);
/* Filters around what a block wrote. */
struct jinja_value jinja_eval_filters(struct jinja *j, const struct jinja_node *n,
                                      struct jinja_value input);
struct jinja_args jinja_eval_args(struct jinja *j, const struct jinja_node *args);
struct jinja_value jinja_lookup(struct jinja *j, const struct jinja_string *name);
struct jinja_value jinja_call_macro(struct jinja *j, struct jinja_macro *m,
                                    struct jinja_args *args);
struct jinja_value jinja_eval_call(struct jinja *j, const struct jinja_node *n,
                                   const struct jinja_value *caller);

#endif
