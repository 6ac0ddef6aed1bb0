/* jinja.h - an interpreter for the part of Jinja that chat templates are written in.
 *
 * The result is that of jinja2 as transformers sets it up: immutable sandbox, trim_blocks,
 * lstrip_blocks, break and continue, {% generation %}, raise_exception, strftime_now, tojson
 * without HTML escapes. What is not known here is an error of GM_E_UNSUPPORTED with file and line,
 * raised where it is reached, not where it stands: a branch for tools that is never taken does no
 * harm. Message texts of raise_exception come out as they are, without file and line.
 *
 * Every byte of every string carries a mark: 0 for what the template wrote, what the caller chose
 * for what people wrote. Marks stay with the bytes through slicing, trimming, joining, replacing,
 * case changes, repr and JSON, so that the caller knows which bytes of the result are whose.
 *
 * Templates and data are untrusted: depth, steps and memory of a rendering are limited.
 *
 * Memory: a template is read-only after opening, any number of threads may render it. A rendering
 * (struct jinja) belongs to one thread and owns all its values; strings given to it are not copied
 * and have to outlive it.
 *
 *     struct jinja *j = jinja_begin(template, now);
 *     jinja_define(j, "bos_token", jinja_text(j, "<s>", 3, 0));
 *     jinja_define(j, "messages", jinja_of_json(j, messages, 1));
 *     if (jinja_render(j, &text, &marks, &err)) ...
 *     jinja_end(j);
 *
 * Sources: https://jinja.palletsprojects.com/en/stable/templates/, the data model of Python 3.
 */
#ifndef GM_TEXT_JINJA_H
#define GM_TEXT_JINJA_H

#include "engine/base/error.h"
#include "engine/base/str.h"

#include <jansson.h>
#include <stdint.h>
#include <time.h>

struct jinja_template;
/* `label` names the template in errors ("chat_template.jinja:12: ..."). */
struct jinja_template *jinja_open(const char *text, size_t n, const char *label,
                                  struct gm_error *err);
void jinja_free(struct jinja_template *t);

enum jinja_type {
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_DICT,
    JINJA_NAMESPACE,
    JINJA_LOOP,
    JINJA_MACRO,
    JINJA_FUNCTION, /* of the language, or a method with its object */
    JINJA_CYCLER,
    JINJA_JOINER
};
struct jinja_value {
    enum jinja_type type;
    union {
        bool boolean;
        int64_t integer;
        double number;
        const struct jinja_string *string; /* JINJA_UNDEFINED: why, for errors */
        struct jinja_list *list;           /* JINJA_LIST, JINJA_TUPLE */
        struct jinja_dict *dict;           /* JINJA_DICT, JINJA_NAMESPACE */
        struct jinja_loop *loop;
        struct jinja_macro *macro;
        struct jinja_function *function;
        struct jinja_cycler *cycler; /* and JINJA_JOINER */
    };
};

struct jinja;
/* `now` is what strftime_now tells. */
struct jinja *jinja_begin(const struct jinja_template *t, time_t now);
struct jinja_value jinja_text(struct jinja *j, const char *bytes, size_t n, uint8_t mark);
struct jinja_value jinja_bool(bool b);
struct jinja_value jinja_none(void);
struct jinja_value jinja_list_new(struct jinja *j);
void jinja_list_add(struct jinja *j, struct jinja_value list, struct jinja_value item);
struct jinja_value jinja_dict_new(struct jinja *j);
void jinja_dict_put(struct jinja *j, struct jinja_value dict, struct jinja_value key,
                    struct jinja_value value);
/* A copy of a JSON value; its strings carry `mark`. */
struct jinja_value jinja_of_json(struct jinja *j, const json_t *json, uint8_t mark);
void jinja_define(struct jinja *j, const char *name, struct jinja_value value);
/* Appends the text, and one mark per byte to `marks` (may be NULL). Once per rendering. */
bool jinja_render(struct jinja *j, struct str *text, struct str *marks, struct gm_error *err);
void jinja_end(struct jinja *j);

#endif
