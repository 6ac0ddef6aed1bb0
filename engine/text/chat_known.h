/* chat_known.h - the templates that this program can render; for chat_template.c and chat_known.c
 * alone. */
#ifndef GM_TEXT_CHAT_KNOWN_H
#define GM_TEXT_CHAT_KNOWN_H

#include "engine/text/chat_template.h"

struct chat_writer {
    struct str *text;
    struct chat_spans *spans; /* may be NULL */
    const char *bos, *eos;
};

struct chat_known {
    const char *name;         /* NULL: end of the list */
    const char *text;         /* Jinja of our own with the same result */
    const char *published[4]; /* fingerprints of published texts, then NULL */
    const char *marks[4], *stops[4];
    bool needs_bos, needs_eos;
    bool (*render)(struct chat_writer *w, const struct chat_message *messages, size_t n,
                   bool add_generation_prompt, struct gm_error *err);
};
const struct chat_known *chat_known_list(void);

#endif
