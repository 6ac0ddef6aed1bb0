/* letter_case.c - see letter_case.h. */
#include "engine/text/letter_case.h"

#include "engine/text/letter_case_table.h"

#include <stddef.h>

static bool in_table(const uint32_t (*table)[2], size_t n, uint32_t c)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > table[middle][1])
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && c >= table[low][0];
}

#define SIZE(table) (sizeof table / sizeof table[0])
#define IN_TABLE(table, c) in_table(table, SIZE(table), c)

bool letter_is_lower(uint32_t c)
{
    if (c < 0x80)
        return c - 'a' < 26;
    return IN_TABLE(letter_lower_case, c);
}

bool letter_is_cased(uint32_t c)
{
    if (c < 0x80)
        return (c | 32) - 'a' < 26;
    return IN_TABLE(letter_cased, c);
}

struct case_table {
    const int32_t (*runs)[4];
    size_t n_runs;
    const uint32_t (*longer)[4];
    size_t n_longer;
};

/* How many characters c becomes; 0 with c in out: the table does not have it. */
static int change(struct case_table t, uint32_t c, uint32_t out[3])
{
    int n = 0;
    out[0] = c;
    for (size_t i = 0; i < t.n_longer && t.longer[i][0] <= c; i++)
        if (t.longer[i][0] == c) {
            while (n < 3 && t.longer[i][n + 1]) {
                out[n] = t.longer[i][n + 1];
                n++;
            }
            return n;
        }
    for (size_t i = 0; i < t.n_runs && (uint32_t)t.runs[i][0] <= c; i++)
        if (c <= (uint32_t)t.runs[i][1] && (c - (uint32_t)t.runs[i][0]) % (uint32_t)t.runs[i][2] == 0) {
            out[0] = c + (uint32_t)t.runs[i][3];
            return 1;
        }
    return 0;
}

#define CASE_TABLE(name)                                                                                                  \
    (struct case_table){letter_##name##_runs, SIZE(letter_##name##_runs), letter_##name##_longer, SIZE(letter_##name##_longer)}

int letter_upper(uint32_t c, uint32_t out[3])
{
    int n = change(CASE_TABLE(upper), c, out);
    if (n == 0 && c < 0x80 && letter_is_lower(c))
        out[0] = c - 32;
    return n ? n : 1;
}

int letter_lower(uint32_t c, uint32_t out[3])
{
    int n = change(CASE_TABLE(lower), c, out);
    if (c - 'A' < 26)
        out[0] = c + 32;
    return n ? n : 1;
}

int letter_title(uint32_t c, uint32_t out[3])
{
    int n = change(CASE_TABLE(title), c, out);
    return n ? n : letter_upper(c, out);
}
