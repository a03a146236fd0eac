/* base/text.c: prefixes and suffixes, and texts that a terminal can show. */
#include "base/cleanup.h"
#include "base/cli.h"
#include "base/text.h"
#include "tests/unit/check.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void test_ends(void)
{
    CHECK(hl_text_begins("oci:a", "oci:") && hl_text_begins("a", "") && !hl_text_begins("oc", "oci:"));
    CHECK(hl_text_ends("m.hot", ".hot") && !hl_text_ends(".hot", ".hot") && !hl_text_ends("m.hot.001", ".hot"));
    CHECK(!hl_text_ends("hot", ".hot") && hl_text_ends("m", "") && !hl_text_ends("", ""));
}

/* Each control character of ASCII and of Latin-1 in UTF-8, and their neighbours. */
static void test_control(void)
{
    char text[3] = {0};
    for (int c = 1; c < 0x80; c++) {
        text[0] = (char)c;
        CHECK_SAY(hl_text_control(text) == (c < 0x20 || c == 0x7f), "%#x", (unsigned)c);
    }
    text[0] = (char)0xc2;
    for (int c = 0x80; c < 0xc0; c++) {
        text[1] = (char)c;
        CHECK_SAY(hl_text_control(text) == (c < 0xa0 ? 2 : 0), "C2 %#x", (unsigned)c);
    }
    CHECK(!hl_text_control("") && !hl_text_control("\xc2") && !hl_text_control("\xc3\x9b"));
}

static void test_clean(void)
{
    char text[] = "a\033[2J\xc2\x9b"
                  "b\x7f\xc2\xa0\xc3\xa4\xe2\x82\xac\n";
    CHECK(hl_text_clean(text) == text);
    CHECK(!strcmp(text, "a?[2J??b?\xc2\xa0\xc3\xa4\xe2\x82\xac?"));
    char cut[3];
    hl_text_copy(cut, sizeof cut, "a\xc2\x9b"); /* between the two bytes: half a character is not a control one */
    CHECK(!strcmp(cut, "a\xc2"));
    hl_text_copy(cut, sizeof cut, NULL);
    CHECK(!cut[0]);
    hl_text_copy(cut, 1, "abc");
    CHECK(!cut[0]);
}

static void test_path(void)
{
    char out[32];
    setenv("HOME", "/home/me/", 1);
    CHECK(!strcmp(hl_text_path(out, sizeof out, "/home/me/a\tb"), "~/a?b"));
    CHECK(!strcmp(hl_text_path(out, sizeof out, "/home/mean"), "/home/mean"));
    CHECK(!strcmp(hl_text_path(out, sizeof out, "/home/me"), "/home/me"));
    setenv("HOME", "/", 1);
    CHECK(!strcmp(hl_text_path(out, sizeof out, "/etc"), "/etc"));
    unsetenv("HOME");
    CHECK(!strcmp(hl_text_path(out, 4, "/etc"), "/et"));
}

static void test_bytes(void)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {{0, "0 B"},          {999, "999 B"},          {1000, "1.00 kB"},      {9994, "9.99 kB"},
                {9995, "10.0 kB"},   {99949, "99.9 kB"},      {99950, "100 kB"},      {999499, "999 kB"},
                {999500, "1.00 MB"}, {1500000000, "1.50 GB"}, {UINT64_MAX, "18.4 EB"}};
    char text[24];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        CHECK_SAY(!strcmp(hl_text_bytes(rows[i].bytes, text), rows[i].text), "%s, not %s", text, rows[i].text);
}

/* An error message may hold a name from a file: no control character of it reaches the terminal. */
static void test_report(void)
{
    struct hl_error err;
    char said[256] = "";
    HL_CLOSE int file = memfd_create("stderr", MFD_CLOEXEC), kept = dup(STDERR_FILENO);
    hl_fail_as(&err, HL_ERROR_USAGE, "a\033[2J\xc2\x9b\n \xc3\xa4");
    dup2(file, STDERR_FILENO);
    int status = hl_cli_report("pack", &err);
    dup2(kept, STDERR_FILENO);
    CHECK(status == 2 && pread(file, said, sizeof said - 1, 0) > 0);
    CHECK_SAY(strstr(said, " pack: a?[2J??? \xc3\xa4\nTry '"), "said: %s", said);
}

int main(void)
{
    test_ends();
    test_control();
    test_clean();
    test_path();
    test_bytes();
    test_report();
    return check_summary();
}
