/* gate.c - see gate.h. */
#include "engine/train/gate.h"

#include "engine/base/str.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *about;
} FINDINGS[FIND_COUNT] = {
    [FIND_DUPLICATE] = {"duplicate", "prompt and answer stand in an earlier row"},
    [FIND_TWIN] = {"twin", "the same words as an earlier row"},
    [FIND_LEAK] = {"leak", "prompt or a whole line of the answer stands in train, too"},
    [FIND_CUT] = {"cut", "longer than --max-seq-length"},
    [FIND_NO_ANSWER] = {"no-answer", "no assistant turn, or an empty one: not trained on"},
    [FIND_DAMAGED] = {"damaged", "broken characters (U+FFFD, controls, UTF-8 read as Latin-1)"},
    [FIND_DOUBLE_BOS] = {"double-bos", "two begin-of-sequence tokens, or its spelling where one is put anyway"},
    [FIND_CHAT_MARK] = {"chat-mark", "marks of a chat template, which are plain text here"}};

const char *finding_name(enum finding f)
{
    return FINDINGS[f].name;
}

const char *finding_about(enum finding f)
{
    return FINDINGS[f].about;
}

bool gate_no_answer(const struct raw_row *row)
{
    if (row->form != ROW_MESSAGES && row->form != ROW_CONVERSATIONS)
        return false;
    const char *answer = row_answer(row);
    return answer[strspn(answer, " \t\r\n")] == '\0';
}

/* The byte that a character stands for in Windows-1252; -1: none. */
static int byte_1252(uint32_t c)
{
    static const uint16_t high[32] = {0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
                                      0x2039, 0x0152, 0x8D,   0x017D, 0x8F,   0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
                                      0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};
    if (c >= 0xA0 && c <= 0xFF)
        return (int)c;
    for (int i = 0; i < 32; i++)
        if (c == high[i] || c == 0x80 + (uint32_t)i)
            return 0x80 + i;
    return -1;
}

/* Do the characters from p on spell one character's UTF-8 bytes? */
static bool spells_utf8(const char *p, const char *end)
{
    char bytes[4];
    int want = 1;
    for (int n = 0; n < want; n++) {
        uint32_t c;
        if (p >= end)
            return false;
        p += utf8_decode(p, end, &c);
        int byte = byte_1252(c);
        if (byte < 0)
            return false;
        if (n == 0)
            want = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC2 ? 2 : 0;
        if (want == 0)
            return false;
        bytes[n] = (char)byte;
    }
    return utf8_valid(bytes, (size_t)want);
}

bool gate_damaged(const char *text)
{
    const char *end = text + strlen(text);
    for (const char *p = text; p < end;) {
        unsigned char first = (unsigned char)*p;
        if (first < 0x80) {
            if ((first < 0x20 && !strchr("\n\r\t", first)) || first == 0x7F)
                return true;
            p++;
            continue;
        }
        uint32_t c;
        if (spells_utf8(p, end))
            return true;
        p += utf8_decode(p, end, &c);
        if (c == 0xFFFD || (c >= 0x80 && c < 0xA0))
            return true;
    }
    return false;
}

/* Marks of the templates that are about; what the tokenizer at hand calls special comes on top. */
static const char *const MARKS[] = {
    "<start_of_turn>", "<end_of_turn>",         "<|turn>",             "<turn|>",           "<|im_start|>",  "<|im_end|>", "<|user|>", "<|assistant|>",
    "<|system|>",      "<|end|>",               "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",    "[INST]",     "[/INST]",  "<<SYS>>",
    "<|endoftext|>",   "<|begin_of_text|>",     "<|end_of_text|>",     "<bos>",             "<eos>",         "<s>",        "</s>"};
enum { MARK_MAX = 39 };

static size_t mark_at(const char *p, const struct tokenizer *t)
{
    for (size_t i = 0; i < sizeof MARKS / sizeof *MARKS; i++)
        if (strncmp(p, MARKS[i], strlen(MARKS[i])) == 0)
            return strlen(MARKS[i]);
    const char *close = *p == '<' ? memchr(p, '>', strnlen(p, MARK_MAX)) : NULL;
    if (!t || !close)
        return 0;
    char piece[MARK_MAX + 1];
    size_t n = (size_t)(close - p) + 1;
    memcpy(piece, p, n);
    piece[n] = '\0';
    int32_t id = tokenizer_id_of(t, piece);
    return id >= 0 && tokenizer_is_special(t, id) ? n : 0;
}

static bool text_mark(const char *text, const struct tokenizer *t, char mark[40])
{
    for (const char *p = text; (p = strpbrk(p, "<[")) != NULL; p++) {
        size_t n = mark_at(p, t);
        if (n > 0) {
            memcpy(mark, p, n);
            mark[n] = '\0';
            return true;
        }
    }
    return false;
}

/* Text k of a row, from 0; NULL: there are no more. */
static const char *text_of(const struct raw_row *row, int k)
{
    if (row->text)
        return k == 0 ? row->text : NULL;
    return k < row->n_messages ? row->messages[k].content : NULL;
}

bool gate_chat_mark(const struct raw_row *row, const struct tokenizer *t, char mark[40])
{
    const char *text;
    for (int k = 0; (text = text_of(row, k)) != NULL; k++)
        if (text_mark(text, t, mark))
            return true;
    return false;
}

static bool double_bos(const struct row *r, const struct raw_row *raw, const struct tokenizer *t)
{
    int32_t bos = t ? tokenizer_bos(t) : -1;
    if (bos < 0)
        return false;
    if (r->n >= 2 && r->ids[0] == bos && r->ids[1] == bos)
        return true;
    size_t n;
    const char *spelling = tokenizer_piece(t, bos, &n);
    return raw->text && spelling && tokenizer_adds_bos(t) && strncmp(raw->text, spelling, n) == 0;
}

static unsigned look(const struct row *r, const struct raw_row *raw, const struct tokenizer *t)
{
    unsigned found = 0;
    char mark[40];
    const char *text;
    for (int k = 0; (text = text_of(raw, k)) != NULL; k++)
        if (gate_damaged(text))
            found |= 1u << FIND_DAMAGED;
    if (gate_chat_mark(raw, t, mark))
        found |= 1u << FIND_CHAT_MARK;
    if (gate_no_answer(raw))
        found |= 1u << FIND_NO_ANSWER;
    if (double_bos(r, raw, t))
        found |= 1u << FIND_DOUBLE_BOS;
    if (r->n_full > r->n)
        found |= 1u << FIND_CUT;
    return found;
}

void gate_look(struct dataset *d, const struct row_list *raw, const struct tokenizer *t)
{
    for (int i = 0; i < d->n_rows; i++)
        d->rows[i].findings |= look(&d->rows[i], &raw->rows[i], t);
}
