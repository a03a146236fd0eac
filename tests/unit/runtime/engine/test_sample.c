/* runtime/engine/sample.c: the tokens that the filters keep, the token that wins, how often tokens are drawn. Odd
 * logits never lead outside of the vocabulary. */
#include "base/sizes.h"
#include "runtime/engine/sample.h"
#include "tests/unit/check.h"
#include "tests/unit/kernels/choose_plainly.h"

#define WORDS 100
#define DRAWS 20000

/* Temperature 1 and no filter. */
static const struct hl_sampling plain = {
    .temperature = 1, .top_p = 1, .repeat_penalty = 1, .repeat_last_n = 64, .seed = 1};

static struct hl_sampler *open_sampler(const struct hl_sampling *sampling, uint32_t vocabulary)
{
    struct hl_error err;
    struct hl_sampler *sampler = NULL;
    CHECK_OK(hl_sampler_open(sampling, vocabulary, &sampler, &err), err);
    return sampler;
}

/* As a step does: asks the sampler what it wants, chooses that, and lets it draw. */
static int32_t next_token(struct hl_sampler *sampler, const float *logits, uint32_t n, const int32_t *recent,
                          uint32_t n_recent)
{
    struct hl_error err;
    struct hl_want want = {.token = 0};
    struct hl_logits chosen;
    if (!CHECK_OK(hl_sampler_want(sampler, recent, n_recent, &want, &err), err))
        return -1;
    struct plain_choice choice = choose_plainly(logits, n, &want, &chosen);
    int32_t token = hl_sample(sampler, &chosen);
    plain_choice_close(&choice);
    return token;
}

static int32_t once(struct hl_sampling sampling, const float *logits, uint32_t n, const int32_t *recent,
                    uint32_t n_recent)
{
    struct hl_sampler *sampler = open_sampler(&sampling, n);
    int32_t token = next_token(sampler, logits, n, recent, n_recent);
    hl_sampler_close(sampler);
    return token;
}

/* Counts how often each token is drawn in DRAWS draws. */
static void draw(struct hl_sampling sampling, const float *logits, uint32_t n, unsigned counts[WORDS])
{
    struct hl_sampler *sampler = open_sampler(&sampling, n);
    memset(counts, 0, WORDS * sizeof *counts);
    for (unsigned i = 0; i < DRAWS; i++) {
        int32_t token = next_token(sampler, logits, n, NULL, 0);
        if (token < 0 || (uint32_t)token >= n) {
            CHECK_SAY(false, "token %d of %u", token, n);
            break;
        }
        counts[token]++;
    }
    hl_sampler_close(sampler);
}

static void test_greedy(void)
{
    const struct hl_sampling greedy = {.top_p = 1, .repeat_penalty = 1};
    const float tie[] = {1, 3, 2, 3, 3}, nan_first[] = {NAN, -5, -2, NAN}, nan_all[] = {NAN, NAN, NAN};
    const float infinite[] = {5, INFINITY, -INFINITY, INFINITY}, lowest[] = {-INFINITY, -INFINITY};
    CHECK(once(greedy, tie, 5, NULL, 0) == 1);
    CHECK(once(greedy, nan_first, 4, NULL, 0) == 2);
    CHECK(once(greedy, nan_all, 3, NULL, 0) == 0);
    CHECK(once(greedy, infinite, 4, NULL, 0) == 1);
    CHECK(once(greedy, lowest, 2, NULL, 0) == 0);
}

/* Checks which tokens are ever drawn: exactly the first `kept` of a falling order. */
static void check_kept(struct hl_sampling sampling, const float *logits, uint32_t n, const int32_t *falling,
                       uint32_t kept)
{
    unsigned counts[WORDS];
    draw(sampling, logits, n, counts);
    for (uint32_t i = 0; i < n; i++)
        CHECK_SAY((counts[falling[i]] > 0) == (i < kept), "top_k %u, top_p %g, min_p %g: token %d came %u times",
                  sampling.top_k, (double)sampling.top_p, (double)sampling.min_p, falling[i], counts[falling[i]]);
}

/* Probabilities 0.4, 0.3, 0.2, 0.1 at tokens 2, 0, 3, 1. */
static void test_filters(void)
{
    const float logits[] = {logf(3), logf(1), logf(4), logf(2)};
    const int32_t falling[] = {2, 0, 3, 1};
    struct hl_sampling s = plain;
    check_kept(s, logits, 4, falling, 4);
    for (uint32_t k = 1; k <= 4; k++) {
        s.top_k = k;
        check_kept(s, logits, 4, falling, k);
    }
    s.top_k = 1000;
    check_kept(s, logits, 4, falling, 4);
    static const struct {
        float value;
        uint32_t kept;
    } top_p[] = {{0, 1}, {0.39f, 1}, {0.41f, 2}, {0.69f, 2}, {0.71f, 3}, {0.89f, 3}, {0.91f, 4}, {1, 4}, {2, 4}},
      min_p[] = {{0, 4}, {0.24f, 4}, {0.26f, 3}, {0.49f, 3}, {0.51f, 2}, {0.74f, 2}, {0.76f, 1}, {1, 1}, {2, 1}};
    for (size_t i = 0; i < HL_COUNT(top_p); i++) {
        s = plain;
        s.top_p = top_p[i].value;
        check_kept(s, logits, 4, falling, top_p[i].kept);
        s = plain;
        s.min_p = min_p[i].value;
        check_kept(s, logits, 4, falling, min_p[i].kept);
    }
    /* top_k first: of the two that remain, 4/7 and 3/7, the larger already reaches 0.5. */
    s = plain;
    s.top_k = 2;
    s.top_p = 0.5f;
    check_kept(s, logits, 4, falling, 1);
    /* The temperature comes last: it does not change which tokens the filters keep. */
    s = plain;
    s.temperature = 50;
    s.top_p = 0.69f;
    check_kept(s, logits, 4, falling, 2);
}

/* "1: all" and "0: all" mean all tokens, however unlikely; a high temperature makes them likely. */
static void test_filters_off(void)
{
    const float logits[] = {0, -50, -60};
    const int32_t falling[] = {0, 1, 2};
    struct hl_sampling s = plain;
    s.temperature = 1e6f;
    check_kept(s, logits, 3, falling, 3);
}

/* The k best of many by heap, against sorting: ties go to the lower tokens. */
static void test_top_k_of_many(void)
{
    struct dice dice = {41};
    float logits[WORDS];
    unsigned counts[WORDS];
    for (int round = 0; round < 20; round++) {
        struct hl_sampling s = plain;
        s.top_k = dice_between(&dice, 1, WORDS);
        s.temperature = 100; /* so that every token is drawn */
        for (uint32_t i = 0; i < WORDS; i++)
            logits[i] = (float)dice_between(&dice, 0, 30);
        draw(s, logits, WORDS, counts);
        for (uint32_t i = 0; i < WORDS; i++) {
            uint32_t better = 0;
            for (uint32_t k = 0; k < WORDS; k++)
                better += logits[k] > logits[i] || (logits[k] == logits[i] && k < i);
            CHECK_SAY((counts[i] > 0) == (better < s.top_k), "top_k %u: token %u is number %u and came %u times",
                      s.top_k, i, better, counts[i]);
        }
    }
}

static void test_penalties(void)
{
    struct hl_sampling s = {.top_p = 1, .repeat_penalty = 2, .repeat_last_n = 3};
    const float logits[] = {4, 3, 2.5f, 1}, negative[] = {-2, -3, -5, -9};
    const int32_t recent[] = {1, 0, 0, 2};
    CHECK(once(s, logits, 4, recent, 0) == 0);
    CHECK(once(s, logits, 4, recent, 2) == 2);       /* 4/2 and 3/2 against 2.5 */
    CHECK(once(s, logits, 4, recent, 4) == 1);       /* 1 is out of the window: 2, 3, 1.25 */
    CHECK(once(s, negative, 4, recent + 1, 2) == 1); /* -4 against -3 */
    s.repeat_last_n = 0;
    CHECK(once(s, logits, 4, recent, 4) == 0);
    s = (struct hl_sampling){.top_p = 1, .repeat_penalty = 1, .repeat_last_n = 64, .presence_penalty = 1.2f};
    CHECK(once(s, logits, 4, recent, 3) == 0 && once(s, logits, 4, recent + 1, 2) == 1); /* 2.8, 1.8; then 2.8, 3 */
    s.presence_penalty = 0.9f; /* counts once, however often the token occurs */
    CHECK(once(s, logits, 4, recent + 1, 2) == 0);
    s = (struct hl_sampling){.top_p = 1, .repeat_penalty = 1, .repeat_last_n = 64, .frequency_penalty = 0.6f};
    CHECK(once(s, logits, 4, recent + 1, 1) == 0 && once(s, logits, 4, recent + 1, 2) == 1); /* 3.4; then 2.8 */
    s.frequency_penalty = -10;
    CHECK(once(s, logits, 4, recent, 1) == 1); /* a negative one attracts */
    /* One call leaves nothing for the next. */
    struct hl_sampler *sampler =
        open_sampler(&(struct hl_sampling){.top_p = 1, .repeat_penalty = 2, .repeat_last_n = 8}, 4);
    CHECK(next_token(sampler, logits, 4, recent + 1, 2) == 1 && next_token(sampler, logits, 4, recent, 0) == 0);
    hl_sampler_close(sampler);
}

static void test_seeds(void)
{
    float logits[WORDS] = {0};
    struct hl_sampling s = plain;
    int32_t tokens[2][50];
    for (int same = 0; same < 2; same++) {
        struct hl_sampler *sampler = open_sampler(&s, WORDS);
        for (int i = 0; i < 50; i++)
            tokens[same][i] = next_token(sampler, logits, WORDS, NULL, 0);
        hl_sampler_close(sampler);
    }
    CHECK(memcmp(tokens[0], tokens[1], sizeof tokens[0]) == 0);
    s.seed = 2;
    struct hl_sampler *sampler = open_sampler(&s, WORDS);
    unsigned same = 0;
    for (int i = 0; i < 50; i++)
        same += next_token(sampler, logits, WORDS, NULL, 0) == tokens[0][i];
    CHECK(same < 10);
    hl_sampler_close(sampler);
    /* A seed means the same everywhere: splitmix64 of state 1 begins with 0.5665615751722809 and 0.7457817572627011. */
    CHECK(tokens[0][0] == 56 && tokens[0][1] == 74);
}

/* More candidates than a device selects are selected from the whole row: with weights that vanish after the first hundred
 * the draws are those of fewer candidates. */
static void test_rows(void)
{
    enum { MANY = 1000 };
    static const uint32_t top_k[] = {200, 256, 257, 300, 999, MANY, 5000, 0};
    float logits[MANY];
    int32_t recent[40], first[200];
    for (int i = 0; i < MANY; i++)
        logits[i] = (float)(i * 7919 % MANY) * -0.4f;
    for (int i = 0; i < 40; i++)
        recent[i] = i * 7 % 30;
    for (size_t k = 0; k < HL_COUNT(top_k); k++) {
        struct hl_sampling s = plain;
        struct hl_want want = {.token = 0};
        struct hl_error err;
        s.top_k = top_k[k];
        s.repeat_penalty = 1.5f;
        s.frequency_penalty = 0.2f;
        struct hl_sampler *sampler = open_sampler(&s, MANY);
        for (uint32_t i = 0; i < 200; i++) {
            int32_t token = next_token(sampler, logits, MANY, recent, i % 41);
            if (k == 0)
                first[i] = token;
            CHECK(token == first[i]);
        }
        CHECK_OK(hl_sampler_want(sampler, recent, 0, &want, &err), err);
        CHECK(want.best == (top_k[k] && top_k[k] <= HL_BEST_MOST ? top_k[k] : 0));
        hl_sampler_close(sampler);
    }
}

/* Pearson's chi-square of the counts; with 49 degrees of freedom it exceeds 95 once in ten thousand. */
static void check_distribution(struct hl_sampling sampling, const float *logits, uint32_t n)
{
    unsigned counts[WORDS];
    double weights[WORDS], total = 0, chi = 0;
    draw(sampling, logits, n, counts);
    for (uint32_t i = 0; i < n; i++)
        total += weights[i] = exp((double)logits[i] / (double)sampling.temperature);
    for (uint32_t i = 0; i < n; i++) {
        double want = weights[i] / total * DRAWS;
        chi += (counts[i] - want) * (counts[i] - want) / want;
    }
    CHECK_SAY(chi < 95 && chi > 15, "temperature %g: chi-square is %g", (double)sampling.temperature, chi);
}

static void test_distribution(void)
{
    struct dice dice = {42};
    float logits[50];
    for (int i = 0; i < 50; i++)
        logits[i] = dice_float(&dice, 1);
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct hl_sampling s = plain;
        s.seed = seed;
        check_distribution(s, logits, 50);
        s.temperature = 0.5f;
        check_distribution(s, logits, 50);
        s.temperature = 3;
        check_distribution(s, logits, 50);
    }
}

static void test_extremes(void)
{
    const float logits[] = {1, 1.001f, 0, -1};
    const int32_t all[] = {1, 0, 2, 3};
    struct hl_sampling s = plain;
    s.temperature = 1e-30f;
    check_kept(s, logits, 4, all, 1);
    s.temperature = INFINITY;
    check_kept(s, logits, 4, all, 4);
    static const float odd[][4] = {{INFINITY, 1, 2, INFINITY},
                                   {NAN, NAN, NAN, NAN},
                                   {-INFINITY, -INFINITY, -INFINITY, NAN},
                                   {3e38f, -3e38f, 3e38f, 0},
                                   {NAN, 1, -INFINITY, INFINITY}};
    static const float temperatures[] = {1e-38f, 1, 1e38f, INFINITY, NAN, -1};
    for (size_t i = 0; i < HL_COUNT(odd); i++)
        for (size_t k = 0; k < HL_COUNT(temperatures); k++)
            for (uint32_t top_k = 0; top_k < 4; top_k++) {
                s = plain;
                s.temperature = temperatures[k];
                s.top_k = top_k;
                s.top_p = k % 2 ? 0.5f : NAN;
                int32_t token = once(s, odd[i], 4, NULL, 0);
                CHECK_SAY(token >= 0 && token < 4, "token %d", token);
            }
    /* A NaN among the logits does not stop drawing among the rest. */
    check_kept(plain, (const float[]){NAN, 1, 2, NAN, -INFINITY}, 5, (const int32_t[]){2, 1, 4, 0, 3}, 2);
    /* An infinite logit wins over any number, and NaN never wins. */
    for (uint64_t seed = 0; seed < 50; seed++) {
        s = plain;
        s.seed = seed;
        CHECK(once(s, odd[4], 4, NULL, 0) == 3);
        CHECK(once(s, (const float[]){NAN, -INFINITY, 2, NAN}, 4, NULL, 0) == 2);
    }
}

int main(void)
{
    test_greedy();
    test_filters();
    test_filters_off();
    test_top_k_of_many();
    test_penalties();
    test_seeds();
    test_rows();
    test_distribution();
    test_extremes();
    return check_summary();
}
