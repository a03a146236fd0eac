/* Progress lines on stderr: on a terminal, 10 times a second,
 *
 *   writing layers  [=====>      ]  45%  1.21 GB of 2.68 GB  1.10 GB/s  2 s left
 *
 * and in a log, every 5 seconds,
 *
 *   writing layers: 45%, 1.21 GB of 2.68 GB, 1.10 GB/s
 *
 * Callers report pieces of about a megabyte, so each report can afford to read the clock. It does no more until a line
 * is due.
 */
#include "base/progress.h"
#include "base/sizes.h"
#include "base/text.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define BAR_SECONDS 0.1
#define LINE_SECONDS 5.0
#define BAR_CELLS 12 /* the line fits 80 columns */

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static unsigned percent(const struct hl_progress *progress)
{
    double share = progress->total ? (double)progress->done / (double)progress->total : 0;
    return share < 1 ? (unsigned)(share * 100) : 100;
}

static unsigned terminal_columns(FILE *out)
{
    struct winsize size;
    return !ioctl(fileno(out), TIOCGWINSZ, &size) && size.ws_col > 1 ? size.ws_col : 80;
}

static void format_left(const struct hl_progress *progress, double rate, char text[32])
{
    double seconds =
        rate > 0 && progress->total > progress->done ? ceil((double)(progress->total - progress->done) / rate) : 0;
    text[0] = 0;
    if (seconds >= 1 && seconds < 60)
        snprintf(text, 32, "  %.0f s left", seconds);
    else if (seconds >= 60 && seconds < 360000)
        snprintf(text, 32, "  %d:%02d left", (int)(seconds / 60), (int)seconds % 60);
}

static void draw_bar(struct hl_progress *progress, double rate)
{
    char bar[BAR_CELLS + 1], done[24], total[24], speed[24], left[32], line[256];
    unsigned filled = percent(progress) * BAR_CELLS / 100;
    memset(bar, ' ', BAR_CELLS);
    memset(bar, '=', filled);
    if (filled < BAR_CELLS)
        bar[filled] = '>';
    bar[BAR_CELLS] = 0;
    hl_text_bytes(progress->done, done);
    hl_text_bytes((uint64_t)rate, speed);
    format_left(progress, rate, left);
    if (progress->total)
        snprintf(line, sizeof line, "%s  [%s] %3u%%  %s of %s  %s/s%s", progress->label, bar, percent(progress), done,
                 hl_text_bytes(progress->total, total), speed, left);
    else
        snprintf(line, sizeof line, "%s  %s  %s/s", progress->label, done, speed);
    /* Cut the line to the terminal: one that wraps cannot be overwritten. */
    fprintf(progress->out, "\r%.*s\033[K", (int)terminal_columns(progress->out) - 1, line);
    fflush(progress->out);
}

static void print_line(const struct hl_progress *progress, double rate)
{
    char done[24], total[24], speed[24];
    hl_text_bytes(progress->done, done);
    hl_text_bytes((uint64_t)rate, speed);
    if (progress->total)
        fprintf(progress->out, "%s: %u%%, %s of %s, %s/s\n", progress->label, percent(progress), done,
                hl_text_bytes(progress->total, total), speed);
    else
        fprintf(progress->out, "%s: %s, %s/s\n", progress->label, done, speed);
}

void hl_progress_begin(struct hl_progress *progress, const char *label, uint64_t total)
{
    if (!progress)
        return;
    *progress = (struct hl_progress){
        .out = progress->out, .total = total, .start = now(), .terminal = isatty(fileno(progress->out)), .begun = true};
    progress->shown = progress->start;
    snprintf(progress->label, sizeof progress->label, "%s", label);
    char size[24];
    if (!progress->terminal)
        fprintf(progress->out, total ? "%s: %s\n" : "%s\n", progress->label, hl_text_bytes(total, size));
}

void hl_progress_add(struct hl_progress *progress, uint64_t bytes)
{
    if (!progress)
        return;
    progress->done += bytes;
    if (atomic_flag_test_and_set(&progress->showing))
        return; /* another thread is drawing */
    double time = now();
    if (time - progress->shown >= (progress->terminal ? BAR_SECONDS : LINE_SECONDS)) {
        progress->shown = time;
        double rate = (double)progress->done / (time - progress->start);
        if (progress->terminal)
            draw_bar(progress, rate);
        else
            print_line(progress, rate);
    }
    atomic_flag_clear(&progress->showing);
}

void hl_progress_clear(struct hl_progress *progress)
{
    if (!progress || !progress->begun)
        return;
    progress->begun = false;
    if (progress->terminal) {
        fputs("\r\033[K", progress->out);
        fflush(progress->out);
    }
}

void hl_progress_end(struct hl_progress *progress)
{
    if (!progress || !progress->begun)
        return;
    double seconds = now() - progress->start;
    char done[24], speed[24];
    hl_progress_clear(progress);
    if (!progress->terminal)
        fprintf(progress->out, "%s: done, %s in %.1f s, %s/s\n", progress->label, hl_text_bytes(progress->done, done),
                seconds, hl_text_bytes((uint64_t)((double)progress->done / (seconds > 0 ? seconds : 1)), speed));
}
