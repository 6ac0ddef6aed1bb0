/* dataset.h - rows of a data set: read, rendered, tokenised, masked, split; nothing dropped without
 * being counted.
 *
 * DATA: a folder with train/valid/test files (.jsonl, .json, .csv, .tsv), one file (split made from the seed,
 * grouped by prompt and shared lines), or "haiku", the built-in set; or a mixture: several of them, one a line, each
 * with `:weight` behind it if it is not 1. A pass over a mixture visits a train row `weight` times; what is left of a
 * weight goes round, so that no row is dropped. Forms: messages, conversations, prompt/completion, Alpaca, text,
 * input_ids/labels. Every row is looked at (enum finding): what is noteworthy is counted and named. Memory: the data
 * set owns its rows. Threads: read-only after loading.
 *
 *     struct dataset *d = dataset_open("haiku", &options, tokenizer, template, &err);
 */
#ifndef GM_TRAIN_DATASET_H
#define GM_TRAIN_DATASET_H

#include "engine/base/pool.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"

enum split { SPLIT_TRAIN, SPLIT_VALID, SPLIT_TEST, SPLIT_COUNT };
enum row_form { ROW_MESSAGES, ROW_CONVERSATIONS, ROW_TEXT, ROW_IDS };

/* What the gate finds in a row; a bit 1 << FIND_x each. */
enum finding {
    FIND_DUPLICATE,  /* prompt and answer stand in an earlier row */
    FIND_TWIN,       /* an earlier row has the same words in prompt and answer */
    FIND_LEAK,       /* valid or test row whose prompt or a whole answer line stands in train, too */
    FIND_CUT,        /* more tokens than max_seq_length */
    FIND_NO_ANSWER,  /* a conversation without an assistant turn, or with an empty last one */
    FIND_DAMAGED,    /* U+FFFD, control characters, or UTF-8 that was read as Latin-1 on the way ("â€™") */
    FIND_DOUBLE_BOS, /* two bos tokens in front, or its spelling where a bos is put anyway */
    FIND_CHAT_MARK,  /* marks of a chat template ("<|user|>", "</s>") that are plain text here */
    FIND_COUNT
};
const char *finding_name(enum finding f);  /* "duplicate" */
const char *finding_about(enum finding f); /* a sentence for people */

struct row {
    enum row_form form;
    enum split split;
    const char *file; /* borrowed from the data set */
    int line;         /* 1-based line of .jsonl, or row number in an array */
    char *prompt,
        *answer; /* first user turn, last assistant turn, raw bytes ("" where the form has none) */
    int n_messages;
    int32_t *ids;
    int32_t *targets; /* [n]: where labels differ from ids (form input_ids/labels), else NULL: ids
                         themselves */
    uint8_t *supervised; /* [n]: 1 = target, predicted from the token before; supervised[0] is 0 */
    int n, n_supervised; /* after truncation */
    int n_full;          /* tokens before truncation to max_seq_length */
    int duplicate_of;    /* index of an earlier row with the same prompt and answer, -1 */
    int source;        /* which of the mixture */
    unsigned findings; /* bits of enum finding */
};
static inline bool row_found(const struct row *r, enum finding f)
{
    return r->findings >> f & 1;
}
struct data_source {
    const char *name;
    double weight;
    int n_rows;
    bool split_made;
};
struct dataset {
    struct row *rows;
    int n_rows, count[SPLIT_COUNT];
    int n_skipped;
    int found[FIND_COUNT]; /* rows */
    struct data_source *sources;
    int n_sources;
    bool split_made;  /* from the seed, not by files (of any source) */
    char hash[65];    /* over the files' bytes */
    struct str notes; /* cleaned lines: what was skipped, cut, split, and why */
    void *owned;
};
struct dataset_options {
    int max_seq_length;
    bool mask_prompt;
    const char *system; /* NULL: none; put in front of every row without one */
    uint64_t seed;
    struct pool *pool; /* tokenises on all cores, role GM_TRAIN; NULL: the calling thread alone */
};
/* False: a row, named, has a token or target outside of a vocabulary of that many. input_ids/labels rows are not
 * looked at before, and a pass must never see such ids. */
bool dataset_check_ids(const struct dataset *d, int vocab, struct gm_error *err);
/* tokenizer and tpl may be NULL for `data` without a model: then ids are missing (n = 0). */
struct dataset *dataset_open(const char *data, const struct dataset_options *o,
                             const struct tokenizer *tokenizer, const struct chat_template *tpl,
                             struct gm_error *err);
/* "haiku" or "haiku:2" -> name (mem_free) and weight; a colon that belongs to the name of something that is there stays. */
char *dataset_source(const char *text, size_t n, double *weight);
/* "haiku", or "haiku+quotes" for a mixture: what to call DATA in names of runs and on the screen (mem_free). */
char *dataset_title(const char *data);
int dataset_leaks(const struct dataset *d, enum split split); /* rows of the split that stand in train, too */
void dataset_free(struct dataset *d);

#endif
