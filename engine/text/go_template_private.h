/* go_template_private.h - the tree of a template, shared by its parser, its interpreter and Ollama's rules around both.
 *
 * Nodes live as long as the template: every block is on its list and is freed with it. */
#ifndef GM_TEXT_GO_TEMPLATE_PRIVATE_H
#define GM_TEXT_GO_TEMPLATE_PRIVATE_H

#include "engine/text/go_template.h"

enum { GO_DEPTH_MAX = 64, GO_VARIABLES_MAX = 64, GO_TEXT_MAX = 1 << 20, GO_STEPS_MAX = 1 << 22, GO_OUTPUT_MAX = 16 << 20 };

struct go_text {
    const char *data;
    size_t n;
};

enum go_term { GO_DOT, GO_NIL, GO_BOOL, GO_INT, GO_STRING, GO_FIELD, GO_VARIABLE, GO_FUNCTION, GO_PAREN };

/* A term, and the fields asked of it: `.A.B`, `$m.Content`, `(index .Messages 0).Role`. */
struct go_operand {
    enum go_term term;
    bool truth;
    int64_t number;
    struct go_text text;     /* of a string; the name of a variable (with its $) or function */
    struct go_text *fields;
    size_t n_fields, cap_fields;
    struct go_pipe *pipe;    /* in parentheses */
};

struct go_command {
    struct go_operand *args;
    size_t n, cap;
};

struct go_pipe {
    int line;
    struct go_text variables[2]; /* declared or assigned in front of it */
    int n_variables;
    bool assigns;                /* = instead of := */
    struct go_command *commands;
    size_t n, cap;
};

enum go_node_kind { GO_TEXT, GO_ACTION, GO_IF, GO_WITH, GO_RANGE, GO_BREAK, GO_CONTINUE };

struct go_list {
    struct go_node *nodes;
    size_t n, cap;
};

struct go_node {
    enum go_node_kind kind;
    int line;
    struct go_text text;
    struct go_pipe *pipe;
    struct go_list then, otherwise;
    bool has_else;
};

struct go_template {
    struct go_list root;
    void **blocks;
    size_t n_blocks, cap_blocks;
};

void *go_keep(struct go_template *t, void *block); /* go_free frees it */
void go_free(struct go_template *t);                /* what is kept, not t itself */
bool go_same(struct go_text a, struct go_text b);
bool go_is(struct go_text text, const char *word);

bool go_parse(struct go_template *t, const char *text, size_t n, struct gm_error *err);

/* A message as a template sees it. */
struct go_message {
    const char *role;
    char *content;
    size_t n;
};

/* What stands at the top: .Messages (NULL: not there), and the texts (data NULL: not there). */
struct go_root {
    const struct go_message *messages;
    size_t n_messages;
    struct go_text system, prompt, response;
    bool has_tools;
    bool without_json; /* Ollama runs the cut tree without its own functions */
};

bool go_run(const struct go_list *list, const struct go_root *root, struct str *out, struct gm_error *err);

#endif
