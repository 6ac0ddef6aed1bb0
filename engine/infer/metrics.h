/* metrics.h - how close generated texts come to reference texts: corpus BLEU and chrF.
 *
 * BLEU: Papineni et al. 2002, tokens of mteval-v13a, exponential smoothing; chrF: Popović 2015, character n-grams up to 6, beta 2, spaces
 * left out. Both as SacreBLEU (Post 2018) computes them by default, 0..100. One reference each.
 *
 *     struct metrics m = {0};
 *     metrics_add(&m, answer, reference);     // for every row
 *     printf("%.2f %.2f\n", metrics_bleu(&m), metrics_chrf(&m));
 *
 * Memory: a plain value. Threads: one.
 */
#ifndef GM_INFER_METRICS_H
#define GM_INFER_METRICS_H

#include <stdint.h>

enum { BLEU_ORDER = 4, CHRF_ORDER = 6 };

struct metrics {
    int64_t bleu_match[BLEU_ORDER], bleu_total[BLEU_ORDER], hypothesis_tokens, reference_tokens;
    int64_t chrf_match[CHRF_ORDER], chrf_hypothesis[CHRF_ORDER], chrf_reference[CHRF_ORDER];
};

void metrics_add(struct metrics *m, const char *hypothesis, const char *reference); /* UTF-8, NUL-terminated */
double metrics_bleu(const struct metrics *m);
double metrics_chrf(const struct metrics *m);

#endif
