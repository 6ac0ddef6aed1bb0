/* Words as people write them: each with all counts that must come out, the likely one first. */
#include "engine/base/mem.h"
#include "engine/verse/lexicon.h"
#include "tests/unit/verse/with_syllables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct expected {
    const char *text;
    int count[4]; /* likely first; the rest must be accepted too; 0 ends the list (after the first)
                   */
};

static const struct expected known[] = {
    /* ambiguity is kept */
    {"fire", {1, 2}},
    {"hour", {1, 2}},
    {"our", {1, 2}},
    {"every", {2, 3}},
    {"flower", {2, 1}},
    {"poem", {2, 1}},
    {"orange", {2, 1}},
    {"power", {2, 1}},
    {"comfortable", {4, 3}},
    {"evening", {2, 3}},
    {"family", {3, 2}},
    {"memory", {3, 2}},
    {"Wednesday", {2, 3}},
    /* and where there is none, there is none */
    {"world", {1}},
    {"girl", {1}},
    {"quiet", {2}},
    {"spring", {1}},
    {"am", {1}},
    {"us", {1}},
    {"fine", {1}},
    {"trying", {2}},
    {"didn't", {2}},
    {"the", {1}},
    {"temperature", {4, 3}},
    {"beautiful", {3}},
    {"adventure", {3}},
    {"breathe", {1}},
    {"anxious", {2}},
    {"idea", {3}},
    {"created", {3}},
    {"queue", {1}},
    {"rhythm", {2}},
    {"prism", {2}},
    {"algorithm", {4}},
    {"film", {1}},
    {"clothes", {1}},
    {"species", {2}},
    {"naked", {2}},
    {"wicked", {2}},
    {"walked", {1}},
    {"wanted", {2}},
    {"hundred", {2}},
    {"blessed", {1, 2}},
    {"anemone", {4}},
    {"karate", {3}},
    /* words that the dictionary lacks */
    {"dappled", {2}},
    {"dewdrops", {2}},
    {"petrichor", {3}},
    {"streetlights", {2}},
    {"fireflies", {2, 3}},
    {"snowmelt", {2}},
    {"starlit", {2}},
    {"moonlessness", {3}},
    {"lovelorn", {2}},
    {"birdsong", {2}},
    {"unfurling", {3}},
    {"glistens", {2}},
    {"windblown", {2}},
    {"raindrop", {2}},
    {"waxwing", {2}},
    {"hummingbirds", {3}},
    {"seafoam", {2}},
    {"pinecone", {2}},
    {"pinecones", {2}},
    {"leafless", {2}},
    {"wingbeat", {2}},
    /* endings after apostrophes; poets' apostrophes */
    {"walkers'", {2}},
    {"roses'", {2}},
    {"church's", {2}},
    {"moon's", {1}},
    {"moon\xE2\x80\x99s", {1}},
    {"couldn\xE2\x80\x99t", {2}},
    {"I'll", {1}},
    {"it'll", {2}},
    {"we've", {1}},
    {"they'd", {1}},
    {"need'd", {2}},
    {"mightn't", {2}},
    {"o'er", {1}},
    {"ev'ry", {2}},
    {"heav'n", {1, 2}},
    {"wand'ring", {2}},
    {"giv'n", {1}},
    {"fall'n", {1}},
    {"flick'ring", {2}},
    {"o'erhead", {2}},
    {"'tis", {1}},
    {"'twas", {1}},
    {"goin'", {2}},
    {"o'clock", {2}},
    {"'hello'", {2}},
    {"\xE2\x80\x98hello\xE2\x80\x99", {2}},
    {"th'eternal", {3, 4}},
    /* figures */
    {"0", {2}},
    {"7", {2}},
    {"21", {3}},
    {"100", {3}},
    {"105", {4, 5}},
    {"1,000,000", {3}},
    {"1999", {5, 9}},
    {"1900", {4}},
    {"1905", {4}},
    {"2000", {3}},
    {"2024", {5, 6}},
    {"3.14", {4}},
    {"007", {6, 4}},
    {"7:30", {4}},
    {"1st", {1}},
    {"2nd", {2}},
    {"20th", {3}},
    {"21st", {3}},
    {"80s", {2}},
    {"1990s", {4}},
    {"5%", {3}},
    {"$5", {3}},
    {"\xC2\xA3"
     "3",
     {2}},
    {"10am", {3}},
    {"5km", {5}},
    {"twenty-one", {3}},
    /* letters, Roman numerals */
    {"FBI", {3}},
    {"NASA", {2}},
    {"USA", {3}},
    {"U.S.A.", {3}},
    {"UK", {2}},
    {"US", {2, 1}},
    {"WWW", {9}},
    {"GPT", {3}},
    {"a.m.", {2}},
    {"Mr.", {2}},
    {"Dr.", {2}},
    {"J.R.R.", {3}},
    {"VIII", {1}},
    {"XIV", {2}},
    {"html", {4}},
    {"3D", {2}},
    {"C++", {3}},
    {"R&B", {3}},
    {"I", {1}},
    {"W", {3}},
    {"iPhone", {2}},
    {"YouTube", {2}},
    {"JavaScript", {3}},
    {"x-ray", {2}},
    {"sun-warmed", {2}},
    {"mother-in-law", {4}},
    /* accents, composed or not; full width; soft hyphen */
    {"na\xC3\xAFve", {2}},
    {"caf\xC3\xA9", {2}},
    {"cafe\xCC\x81", {2}},
    {"ros\xC3\xA9", {2}},
    {"r\xC3\xA9sum\xC3\xA9", {3}},
    {"learn\xC3\xA8"
     "d",
     {2}},
    {"bless\xC3\xA8"
     "d",
     {2}},
    {"Zo\xC3\xAB", {2}},
    {"fa\xC3\xA7"
     "ade",
     {2}},
    {"T\xC5\x8Dky\xC5\x8D", {3, 2}},
    {"mo\xC2\xADon", {1}},
    {"\xEF\xBC\xAD\xEF\xBD\x8F\xEF\xBD\x8F\xEF\xBD\x8E", {1}},
    {"\xEF\xAC\x81re", {1, 2}},
    /* sounds */
    {"sooo", {1}},
    {"whoooosh", {1}},
    {"shhh", {1}},
    {"brrr", {1}},
    {"hahaha", {3}},
    {"MOON", {1}},
    {"Moon", {1}},
    /* nothing spoken */
    {"", {0}},
    {"-", {0}},
    {"---", {0}},
    {"\xE2\x80\x94", {0}},
    {"...", {0}},
    {"\xF0\x9F\x8C\xB8", {0}},
    {"*", {0}},
    {"'", {0}},
    {"\"", {0}},
    {"====", {0}},
    {"\xE2\x80\xA6", {0}},
    {"#", {0}},
};

static void test_known(void **state)
{
    const struct syllables *s = *state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const struct expected *e = &known[i];
        struct word_count got;
        syllables_word(s, e->text, strlen(e->text), &got);
        bool good = got.likely == e->count[0] && got.alternatives[0] == got.likely &&
                    got.min <= got.likely && got.max >= got.likely;
        for (int k = 1; k < 4 && e->count[k]; k++) {
            bool accepted = false;
            for (int a = 0; a < got.n_alternatives; a++)
                accepted = accepted || got.alternatives[a] == e->count[k];
            good = good && accepted;
        }
        if (e->count[1] == 0 && e->count[0] == 1 && got.min < 1)
            good = false;
        if (!good)
            print_error("%s: %d (%d..%d, %s), expected %d\n", e->text, got.likely, got.min, got.max,
                        got.source, e->count[0]);
        wrong += !good;
    }
    assert_int_equal(wrong, 0);
}

/* Where there is one accepted count, no other may be offered: "possible" would mean nothing. */
static void test_no_false_readings(void **state)
{
    const struct syllables *s = *state;
    static const char *const single[] = {"world",
                                         "girl",
                                         "spring",
                                         "am",
                                         "us",
                                         "fine",
                                         "trying",
                                         "didn't",
                                         "the",
                                         "moon",
                                         "dappled",
                                         "dewdrops",
                                         "walkers'",
                                         "couldn't",
                                         "I'll",
                                         "21",
                                         "snowmelt",
                                         "caf\xC3\xA9",
                                         "r\xC3\xA9sum\xC3\xA9",
                                         "x-ray"};
    for (size_t i = 0; i < sizeof single / sizeof *single; i++) {
        struct word_count got;
        syllables_word(s, single[i], strlen(single[i]), &got);
        if (got.n_alternatives != 1 || got.min != got.max)
            fail_msg("%s: %d readings", single[i], got.n_alternatives);
    }
}

/* The rules alone, the dictionary hidden. Bars stand just under what is reached, so that a worse
 * rule is noticed. */
static void test_rules(void **state)
{
    const struct syllables *s = *state;
    long n = 0, whole = 0, rules = 0, half_n = 0, half = 0;
    for (uint32_t i = 0; i < s->n_words; i++) {
        char word[LEXICON_WORD_MAX + 1];
        struct reading listed;
        lexicon_word(s, i, word, &listed);
        size_t length = strlen(word);
        if (strspn(word, "abcdefghijklmnopqrstuvwxyz") != length)
            continue;
        struct word_count a, b;
        syllables_word_without(s, SYLLABLES_NOT_WHOLE, word, length, &a);
        syllables_word_without(s, SYLLABLES_RULES_ONLY, word, length, &b);
        bool ok_a = false, ok_b = false;
        for (int k = 0; k < listed.n; k++) {
            ok_a = ok_a || listed.count[k] == a.likely;
            ok_b = ok_b || listed.count[k] == b.likely;
        }
        n++;
        whole += ok_a;
        rules += ok_b;
        if (strcmp(a.source, "compound") == 0 || strcmp(a.source, "inflection") == 0)
            half_n++, half += ok_a;
    }
    print_message("of %ld words: %.2f %% by spelling alone, %.2f %% with the other words known "
                  "(%.2f %% of %ld from parts)\n",
                  n, 100.0 * (double)rules / (double)n, 100.0 * (double)whole / (double)n,
                  100.0 * (double)half / (double)half_n, half_n);
    assert_true(n > 117000);
    assert_true((double)rules > 0.945 * (double)n);
    assert_true((double)whole > 0.953 * (double)n);
}

static void test_sources(void **state)
{
    const struct syllables *s = *state;
    static const struct {
        const char *text, *source;
    } rows[] = {
        {"moon", "dictionary"},   {"fire", "overlay"},        {"21", "number"},
        {"GPT", "letters"},       {"glistens", "inflection"}, {"moonlessness", "inflection"},
        {"snowmelt", "compound"}, {"petrichor", "rules"},     {"sun-warmed", "dictionary"},
        {"...", "none"},          {"VIII", "number"},         {"moon-petrichor", "rules"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct word_count got;
        syllables_word(s, rows[i].text, strlen(rows[i].text), &got);
        if (strcmp(got.source, rows[i].source) != 0)
            fail_msg("%s: %s, expected %s", rows[i].text, got.source, rows[i].source);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known), cmocka_unit_test(test_no_false_readings),
        cmocka_unit_test(test_sources), cmocka_unit_test(test_rules)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
