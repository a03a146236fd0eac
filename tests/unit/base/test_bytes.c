/* base/bytes.c: a buffer that grows up to a limit. */
#include "base/bytes.h"
#include "base/utf8.h"
#include "tests/unit/check.h"
#include <errno.h>
#include <sys/resource.h>

static void test_growth(void)
{
    HL_BYTES struct hl_bytes bytes = {0};
    bool same = true;
    CHECK(!hl_bytes_append(&bytes, NULL, 0, 0) && bytes.data && !bytes.size && !bytes.data[0]);
    for (unsigned i = 0; i < 100000; i++) {
        uint8_t byte = (uint8_t)(i * 7);
        same &= !hl_bytes_append(&bytes, &byte, 1, SIZE_MAX);
    }
    CHECK(same && bytes.size == 100000 && bytes.room > bytes.size && !bytes.data[bytes.size]);
    for (unsigned i = 0; same && i < 100000; i++)
        same = bytes.data[i] == (uint8_t)(i * 7);
    CHECK(same);
}

static void test_limit(void)
{
    HL_BYTES struct hl_bytes bytes = {0};
    CHECK(!hl_bytes_append(&bytes, "abcd", 4, 5));
    errno = 0;
    CHECK(hl_bytes_append(&bytes, "ef", 2, 5) < 0 && errno == EFBIG);
    CHECK(bytes.size == 4 && !strcmp((const char *)bytes.data, "abcd"));
    CHECK(!hl_bytes_append(&bytes, "e", 1, 5) && !strcmp((const char *)bytes.data, "abcde"));
    CHECK(!hl_bytes_append(&bytes, "", 0, 5));
    errno = 0;
    CHECK(hl_bytes_append(&bytes, "", 0, 4) < 0 && errno == EFBIG); /* a lower limit than before */
    CHECK(bytes.size == 5);
}

/* Bytes that another function allocated have no room of their own. */
static void test_adopted(void)
{
    HL_BYTES struct hl_bytes bytes = {.data = malloc(3), .size = 3};
    memcpy(bytes.data, "abc", 3);
    CHECK(!hl_bytes_append(&bytes, "def", 3, 6) && bytes.size == 6 && !strcmp((const char *)bytes.data, "abcdef"));
}

/* No sum of sizes may wrap: nothing is read from `more`, and nothing changes. */
static void test_overflow(void)
{
    HL_BYTES struct hl_bytes bytes = {0};
    CHECK(!hl_bytes_append(&bytes, "abc", 3, SIZE_MAX));
    for (size_t n = SIZE_MAX; n > SIZE_MAX - 6; n--) {
        errno = 0;
        CHECK(hl_bytes_append(&bytes, "", n, SIZE_MAX) < 0 && (errno == EFBIG || errno == ENOMEM));
    }
    CHECK(bytes.size == 3 && !strcmp((const char *)bytes.data, "abc"));
}

static void test_no_memory(void)
{
    HL_BYTES struct hl_bytes bytes = {0};
    static const uint8_t piece[1 << 20];
    struct rlimit before, low;
    CHECK(!hl_bytes_append(&bytes, "abc", 3, SIZE_MAX) && !getrlimit(RLIMIT_AS, &before));
    low = (struct rlimit){256u << 20, before.rlim_max};
    if (setrlimit(RLIMIT_AS, &low))
        return;
    unsigned added = 0;
    while (added < 1024 && !hl_bytes_append(&bytes, piece, sizeof piece, SIZE_MAX))
        added++;
    CHECK(errno == ENOMEM && added < 1024);
    CHECK(bytes.size == 3 + added * sizeof piece && !memcmp(bytes.data, "abc", 3) && !bytes.data[bytes.size]);
    setrlimit(RLIMIT_AS, &before);
}

static void test_is_text(void)
{
    static const struct {
        const char *bytes;
        size_t n;
        bool text;
    } rows[] = {{"", 0, true},      {"plain", 5, true}, {"\xc3\xa4", 2, true},     {"\xc3", 1, false},
                {"a\0b", 3, false}, {"\xff", 1, false}, {"\xed\xa0\x80", 3, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        CHECK(hl_view_is_text((struct hl_view){(const uint8_t *)rows[i].bytes, rows[i].n}) == rows[i].text);
}

int main(void)
{
    test_growth();
    test_limit();
    test_adopted();
    test_overflow();
    test_is_text();
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they reserve terabytes */
    test_no_memory();
#else
    (void)test_no_memory;
#endif
    return check_summary();
}
