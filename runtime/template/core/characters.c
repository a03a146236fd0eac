/* Parts of Unicode that Python uses and utf8proc lacks: characters that become several in upper case, and properties
 * that are not categories. The tables are of Unicode 14 (SpecialCasing.txt, PropList.txt, UnicodeData.txt).
 */
#include "runtime/template/core/characters.h"
#include "base/sizes.h"
#include <utf8proc.h>

struct range {
    int32_t first, last;
};

/* Letters that are lower case by property, not by category; then the same of upper case; then digits that are not
 * decimal. */
static const struct range other_lower[] = {
    {0xaa, 0xaa},     {0xba, 0xba},     {0x2b0, 0x2b8},     {0x2c0, 0x2c1},     {0x2e0, 0x2e4},     {0x345, 0x345},
    {0x37a, 0x37a},   {0x1d2c, 0x1d6a}, {0x1d78, 0x1d78},   {0x1d9b, 0x1dbf},   {0x2071, 0x2071},   {0x207f, 0x207f},
    {0x2090, 0x209c}, {0x2170, 0x217f}, {0x24d0, 0x24e9},   {0x2c7c, 0x2c7d},   {0xa69c, 0xa69d},   {0xa770, 0xa770},
    {0xa7f8, 0xa7f9}, {0xab5c, 0xab5f}, {0x10780, 0x10780}, {0x10783, 0x10785}, {0x10787, 0x107b0}, {0x107b2, 0x107ba},
};
static const struct range other_upper[] = {
    {0x2160, 0x216f}, {0x24b6, 0x24cf}, {0x1f130, 0x1f149}, {0x1f150, 0x1f169}, {0x1f170, 0x1f189},
};
static const struct range digit_not_nd[] = {
    {0xb2, 0xb3},     {0xb9, 0xb9},       {0x1369, 0x1371},   {0x19da, 0x19da},   {0x2070, 0x2070},
    {0x2074, 0x2079}, {0x2080, 0x2089},   {0x2460, 0x2468},   {0x2474, 0x247c},   {0x2488, 0x2490},
    {0x24ea, 0x24ea}, {0x24f5, 0x24fd},   {0x24ff, 0x24ff},   {0x2776, 0x277e},   {0x2780, 0x2788},
    {0x278a, 0x2792}, {0x10a40, 0x10a43}, {0x10e60, 0x10e68}, {0x11052, 0x1105a}, {0x1f100, 0x1f10a},
};

static const struct {
    int32_t c, upper[HL_CASE_MOST];
} several[] = {
    {0xdf, {0x53, 0x53}},
    {0x149, {0x2bc, 0x4e}},
    {0x1f0, {0x4a, 0x30c}},
    {0x390, {0x399, 0x308, 0x301}},
    {0x3b0, {0x3a5, 0x308, 0x301}},
    {0x587, {0x535, 0x552}},
    {0x1e96, {0x48, 0x331}},
    {0x1e97, {0x54, 0x308}},
    {0x1e98, {0x57, 0x30a}},
    {0x1e99, {0x59, 0x30a}},
    {0x1e9a, {0x41, 0x2be}},
    {0x1f50, {0x3a5, 0x313}},
    {0x1f52, {0x3a5, 0x313, 0x300}},
    {0x1f54, {0x3a5, 0x313, 0x301}},
    {0x1f56, {0x3a5, 0x313, 0x342}},
    {0x1f80, {0x1f08, 0x399}},
    {0x1f81, {0x1f09, 0x399}},
    {0x1f82, {0x1f0a, 0x399}},
    {0x1f83, {0x1f0b, 0x399}},
    {0x1f84, {0x1f0c, 0x399}},
    {0x1f85, {0x1f0d, 0x399}},
    {0x1f86, {0x1f0e, 0x399}},
    {0x1f87, {0x1f0f, 0x399}},
    {0x1f88, {0x1f08, 0x399}},
    {0x1f89, {0x1f09, 0x399}},
    {0x1f8a, {0x1f0a, 0x399}},
    {0x1f8b, {0x1f0b, 0x399}},
    {0x1f8c, {0x1f0c, 0x399}},
    {0x1f8d, {0x1f0d, 0x399}},
    {0x1f8e, {0x1f0e, 0x399}},
    {0x1f8f, {0x1f0f, 0x399}},
    {0x1f90, {0x1f28, 0x399}},
    {0x1f91, {0x1f29, 0x399}},
    {0x1f92, {0x1f2a, 0x399}},
    {0x1f93, {0x1f2b, 0x399}},
    {0x1f94, {0x1f2c, 0x399}},
    {0x1f95, {0x1f2d, 0x399}},
    {0x1f96, {0x1f2e, 0x399}},
    {0x1f97, {0x1f2f, 0x399}},
    {0x1f98, {0x1f28, 0x399}},
    {0x1f99, {0x1f29, 0x399}},
    {0x1f9a, {0x1f2a, 0x399}},
    {0x1f9b, {0x1f2b, 0x399}},
    {0x1f9c, {0x1f2c, 0x399}},
    {0x1f9d, {0x1f2d, 0x399}},
    {0x1f9e, {0x1f2e, 0x399}},
    {0x1f9f, {0x1f2f, 0x399}},
    {0x1fa0, {0x1f68, 0x399}},
    {0x1fa1, {0x1f69, 0x399}},
    {0x1fa2, {0x1f6a, 0x399}},
    {0x1fa3, {0x1f6b, 0x399}},
    {0x1fa4, {0x1f6c, 0x399}},
    {0x1fa5, {0x1f6d, 0x399}},
    {0x1fa6, {0x1f6e, 0x399}},
    {0x1fa7, {0x1f6f, 0x399}},
    {0x1fa8, {0x1f68, 0x399}},
    {0x1fa9, {0x1f69, 0x399}},
    {0x1faa, {0x1f6a, 0x399}},
    {0x1fab, {0x1f6b, 0x399}},
    {0x1fac, {0x1f6c, 0x399}},
    {0x1fad, {0x1f6d, 0x399}},
    {0x1fae, {0x1f6e, 0x399}},
    {0x1faf, {0x1f6f, 0x399}},
    {0x1fb2, {0x1fba, 0x399}},
    {0x1fb3, {0x391, 0x399}},
    {0x1fb4, {0x386, 0x399}},
    {0x1fb6, {0x391, 0x342}},
    {0x1fb7, {0x391, 0x342, 0x399}},
    {0x1fbc, {0x391, 0x399}},
    {0x1fc2, {0x1fca, 0x399}},
    {0x1fc3, {0x397, 0x399}},
    {0x1fc4, {0x389, 0x399}},
    {0x1fc6, {0x397, 0x342}},
    {0x1fc7, {0x397, 0x342, 0x399}},
    {0x1fcc, {0x397, 0x399}},
    {0x1fd2, {0x399, 0x308, 0x300}},
    {0x1fd3, {0x399, 0x308, 0x301}},
    {0x1fd6, {0x399, 0x342}},
    {0x1fd7, {0x399, 0x308, 0x342}},
    {0x1fe2, {0x3a5, 0x308, 0x300}},
    {0x1fe3, {0x3a5, 0x308, 0x301}},
    {0x1fe4, {0x3a1, 0x313}},
    {0x1fe6, {0x3a5, 0x342}},
    {0x1fe7, {0x3a5, 0x308, 0x342}},
    {0x1ff2, {0x1ffa, 0x399}},
    {0x1ff3, {0x3a9, 0x399}},
    {0x1ff4, {0x38f, 0x399}},
    {0x1ff6, {0x3a9, 0x342}},
    {0x1ff7, {0x3a9, 0x342, 0x399}},
    {0x1ffc, {0x3a9, 0x399}},
    {0xfb00, {0x46, 0x46}},
    {0xfb01, {0x46, 0x49}},
    {0xfb02, {0x46, 0x4c}},
    {0xfb03, {0x46, 0x46, 0x49}},
    {0xfb04, {0x46, 0x46, 0x4c}},
    {0xfb05, {0x53, 0x54}},
    {0xfb06, {0x53, 0x54}},
    {0xfb13, {0x544, 0x546}},
    {0xfb14, {0x544, 0x535}},
    {0xfb15, {0x544, 0x53b}},
    {0xfb16, {0x54e, 0x546}},
    {0xfb17, {0x544, 0x53d}},
};

static bool in_ranges(int32_t c, const struct range *ranges, size_t n)
{
    for (size_t i = 0; i < n && ranges[i].first <= c; i++)
        if (c <= ranges[i].last)
            return true;
    return false;
}

#define IN(c, table) in_ranges(c, table, sizeof(table) / sizeof *(table))

int32_t hl_char_at(const char *text, size_t n, size_t *bytes)
{
    utf8proc_int32_t c = (unsigned char)text[0];
    *bytes = 1;
    if (c >= 0x80) {
        utf8proc_ssize_t length = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &c);
        if (length < 0)
            return 0xFFFD;
        *bytes = (size_t)length;
    }
    return c;
}

size_t hl_char_put(int32_t c, char bytes[4])
{
    return (size_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)bytes);
}

size_t hl_char_count(const char *text, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

size_t hl_char_offset(const char *text, size_t n, size_t index)
{
    size_t at = 0;
    for (; at < n; at++)
        if (((unsigned char)text[at] & 0xC0) != 0x80 && index-- == 0)
            return at;
    return n;
}

static utf8proc_category_t category(int32_t c)
{
    return utf8proc_category(c);
}

bool hl_char_is_space(int32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool hl_char_is_line_end(int32_t c)
{
    return (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool hl_char_is_alpha(int32_t c)
{
    utf8proc_category_t kind = category(c);
    return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool hl_char_is_decimal(int32_t c)
{
    return category(c) == UTF8PROC_CATEGORY_ND;
}

bool hl_char_is_digit(int32_t c)
{
    return hl_char_is_decimal(c) || IN(c, digit_not_nd);
}

/* Returns whether the category is that of a number. Python also counts some ideographs, which are letters as well. */
bool hl_char_is_numeric(int32_t c)
{
    utf8proc_category_t kind = category(c);
    return kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO;
}

bool hl_char_is_lower(int32_t c)
{
    return category(c) == UTF8PROC_CATEGORY_LL || IN(c, other_lower);
}

bool hl_char_is_upper(int32_t c)
{
    return category(c) == UTF8PROC_CATEGORY_LU || IN(c, other_upper);
}

bool hl_char_is_title(int32_t c)
{
    return category(c) == UTF8PROC_CATEGORY_LT;
}

bool hl_char_is_printable(int32_t c)
{
    switch (category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return false;
    case UTF8PROC_CATEGORY_ZS:
        return c == ' ';
    default:
        return true;
    }
}

unsigned hl_char_upper(int32_t c, int32_t out[HL_CASE_MOST])
{
    for (size_t i = 0; c >= 0xDF && i < HL_COUNT(several) && several[i].c <= c; i++) {
        if (several[i].c != c)
            continue;
        for (unsigned k = 0; k < HL_CASE_MOST; k++)
            out[k] = several[i].upper[k];
        return out[2] ? 3 : 2;
    }
    out[0] = utf8proc_toupper(c);
    return 1;
}

/* Converts to title case. If a character becomes several, its first letter stays in upper case, and an iota below a
 * letter is not written beside it. */
unsigned hl_char_title(int32_t c, int32_t out[HL_CASE_MOST])
{
    unsigned n = hl_char_upper(c, out);
    bool single = c >= 0x1F80 && c <= 0x1FFC && (utf8proc_totitle(c) != c || category(c) == UTF8PROC_CATEGORY_LT);
    if (n == 1 || single) {
        out[0] = utf8proc_totitle(c);
        return 1;
    }
    bool behind = false;
    for (unsigned i = 0; i < n; i++) {
        bool cased = hl_char_is_cased(out[i]);
        if (behind)
            out[i] = out[i] == 0x399 ? 0x345 : utf8proc_tolower(out[i]);
        behind = behind || cased;
    }
    return n;
}

static bool is_ignored_by_case(int32_t c)
{
    static const int32_t marks[] = {0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,  0x5F4,  0x2018, 0x2019,
                                    0x2024, 0x2027, 0xFE13, 0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
    for (size_t i = 0; i < HL_COUNT(marks); i++)
        if (marks[i] == c)
            return true;
    utf8proc_category_t kind = category(c);
    return kind == UTF8PROC_CATEGORY_MN || kind == UTF8PROC_CATEGORY_ME || kind == UTF8PROC_CATEGORY_CF ||
           kind == UTF8PROC_CATEGORY_LM || kind == UTF8PROC_CATEGORY_SK;
}

/* Returns whether the sigma at text[at], two bytes, is the last letter of a word. (Unicode 14, section 3.13, table
 * 3-17) */
static bool is_final_sigma(const char *text, size_t n, size_t at)
{
    size_t bytes, before = at;
    bool cased = false;
    while (before > 0) {
        do
            before--;
        while (before > 0 && ((unsigned char)text[before] & 0xC0) == 0x80);
        int32_t c = hl_char_at(text + before, n - before, &bytes);
        if (is_ignored_by_case(c))
            continue;
        cased = hl_char_is_cased(c);
        break;
    }
    for (size_t behind = at + 2; cased && behind < n; behind += bytes) {
        int32_t c = hl_char_at(text + behind, n - behind, &bytes);
        if (!is_ignored_by_case(c))
            return !hl_char_is_cased(c);
    }
    return cased;
}

unsigned hl_char_lower(const char *text, size_t n, size_t at, int32_t out[HL_CASE_MOST])
{
    size_t bytes;
    int32_t c = hl_char_at(text + at, n - at, &bytes);
    if (c == 0x3A3) {
        out[0] = is_final_sigma(text, n, at) ? 0x3C2 : 0x3C3;
        return 1;
    }
    out[0] = c == 0x130 ? 'i' : utf8proc_tolower(c);
    out[1] = 0x307;
    return c == 0x130 ? 2 : 1;
}

unsigned hl_char_fold(int32_t c, int32_t out[HL_CASE_MOST])
{
    int boundary = 0;
    utf8proc_int32_t buffer[8];
    utf8proc_ssize_t n = utf8proc_decompose_char(c, buffer, 8, UTF8PROC_CASEFOLD, &boundary);
    if (n < 1 || n > HL_CASE_MOST) {
        out[0] = c;
        return 1;
    }
    for (utf8proc_ssize_t i = 0; i < n; i++)
        out[i] = buffer[i];
    return (unsigned)n;
}
