/* pack/source/gguf*.c: the values of the metadata, and the numbers of tensors before tiles: Q8_0 bit by bit, rows of
 * heads in pairs. */
#include "pack/source/blocks.h"
#include "pack/source/gguf.h"
#include "tests/unit/pack/packed_weights.h"

/* ---- a file in memory ---- */

struct file {
    uint8_t bytes[4096];
    size_t n;
};

static void put(struct file *f, const void *bytes, size_t n)
{
    memcpy(f->bytes + f->n, bytes, n);
    f->n += n;
}

static void put_u32(struct file *f, uint32_t number)
{
    put(f, &number, sizeof number);
}

static void put_u64(struct file *f, uint64_t number)
{
    put(f, &number, sizeof number);
}

static void put_text(struct file *f, const char *text)
{
    put_u64(f, strlen(text));
    put(f, text, strlen(text));
}

static void put_key(struct file *f, const char *name, uint32_t type, const void *value, size_t n)
{
    put_text(f, name);
    put_u32(f, type);
    put(f, value, n);
}

static void begin(struct file *f, uint64_t tensors, uint64_t keys)
{
    f->n = 0;
    put(f, "GGUF", 4);
    put_u32(f, 3);
    put_u64(f, tensors);
    put_u64(f, keys);
}

static void test_values(void)
{
    struct file f;
    struct hl_error err;
    struct hl_gguf *gguf = NULL;
    uint64_t number;
    double real;
    bool truth;
    struct hl_view text;
    begin(&f, 0, 10);
    put_key(&f, "z.u8", HL_GGUF_U8, &(uint8_t){200}, 1);
    put_key(&f, "i8", HL_GGUF_I8, &(int8_t){-1}, 1);
    put_key(&f, "u16", HL_GGUF_U16, &(uint16_t){65535}, 2);
    put_key(&f, "i32", HL_GGUF_I32, &(int32_t){7}, 4);
    put_key(&f, "u64", HL_GGUF_U64, &(uint64_t){1ull << 40}, 8);
    put_key(&f, "f32", HL_GGUF_F32, &(float){0.1f}, 4);
    put_key(&f, "f64", HL_GGUF_F64, &(double){0.1}, 8);
    put_key(&f, "yes", HL_GGUF_BOOL, &(uint8_t){1}, 1);
    put_key(&f, "two", HL_GGUF_BOOL, &(uint8_t){2}, 1);
    put_text(&f, "text");
    put_u32(&f, HL_GGUF_STRING);
    put_text(&f, "gr\xc3\xbc\xc3\x9f");
    CHECK_OK(hl_gguf_open((struct hl_view){f.bytes, f.n}, "f", &gguf, &err), err);
    CHECK(hl_gguf_count(hl_gguf_get(gguf, "z.u8"), 200, &number) && number == 200);
    CHECK(!hl_gguf_count(hl_gguf_get(gguf, "z.u8"), 199, &number) &&
          !hl_gguf_count(hl_gguf_get(gguf, "u8"), 1, &number));
    CHECK(!hl_gguf_count(hl_gguf_get(gguf, "i8"), UINT64_MAX, &number));
    CHECK(hl_gguf_count(hl_gguf_get(gguf, "u16"), UINT64_MAX, &number) && number == 65535);
    CHECK(hl_gguf_count(hl_gguf_get(gguf, "i32"), 7, &number) && number == 7);
    CHECK(hl_gguf_count(hl_gguf_get(gguf, "u64"), UINT64_MAX, &number) && number == 1ull << 40);
    CHECK(!hl_gguf_count(hl_gguf_get(gguf, "u64"), UINT32_MAX, &number));
    CHECK(!hl_gguf_count(hl_gguf_get(gguf, "f32"), 9, &number) && !hl_gguf_count(hl_gguf_get(gguf, "yes"), 9, &number));
    CHECK(hl_gguf_real(hl_gguf_get(gguf, "f32"), &real) && real == (double)0.1f);
    CHECK(hl_gguf_real(hl_gguf_get(gguf, "f64"), &real) && real == 0.1);
    CHECK(!hl_gguf_real(hl_gguf_get(gguf, "i32"), &real) && !hl_gguf_real(NULL, &real));
    CHECK(hl_gguf_truth(hl_gguf_get(gguf, "yes"), &truth) && truth);
    CHECK(!hl_gguf_truth(hl_gguf_get(gguf, "two"), &truth) && !hl_gguf_truth(hl_gguf_get(gguf, "z.u8"), &truth));
    CHECK(hl_gguf_text(hl_gguf_get(gguf, "text"), &text) && text.size == 6 && memcmp(text.data, "gr\xc3\xbc", 4) == 0);
    CHECK(!hl_gguf_text(hl_gguf_get(gguf, "i32"), &text) && !hl_gguf_get(gguf, "") && !hl_gguf_get(gguf, "zz"));
    hl_gguf_close(gguf);
}

static void test_arrays(void)
{
    struct file f;
    struct hl_error err;
    struct hl_gguf *gguf = NULL;
    struct hl_view text;
    uint64_t number;
    double real;
    size_t at = 0;
    begin(&f, 0, 3);
    put_key(&f, "texts", HL_GGUF_ARRAY, &(uint32_t){HL_GGUF_STRING}, 4);
    put_u64(&f, 3);
    put_text(&f, "one");
    put_text(&f, "");
    put_text(&f, "three");
    put_key(&f, "numbers", HL_GGUF_ARRAY, &(uint32_t){HL_GGUF_I16}, 4);
    put_u64(&f, 2);
    put(&f, &(int16_t[]){-5, 300}, 4);
    put_key(&f, "empty", HL_GGUF_ARRAY, &(uint32_t){HL_GGUF_F32}, 4);
    put_u64(&f, 0);
    CHECK_OK(hl_gguf_open((struct hl_view){f.bytes, f.n}, "f", &gguf, &err), err);
    const struct hl_gguf_value *texts = hl_gguf_get(gguf, "texts"), *numbers = hl_gguf_get(gguf, "numbers");
    CHECK(texts && texts->count == 3 && numbers && numbers->count == 2);
    CHECK(hl_gguf_next_text(texts, &at, &text) && text.size == 3 && memcmp(text.data, "one", 3) == 0);
    CHECK(hl_gguf_next_text(texts, &at, &text) && text.size == 0);
    CHECK(hl_gguf_next_text(texts, &at, &text) && text.size == 5 && memcmp(text.data, "three", 5) == 0);
    CHECK(!hl_gguf_next_text(texts, &at, &text));
    at = 0;
    CHECK(!hl_gguf_next_text(numbers, &at, &text) && !hl_gguf_next_text(NULL, &at, &text));
    CHECK(!hl_gguf_item_count(numbers, 0, 9, &number) && !hl_gguf_item_count(numbers, 2, 9, &number));
    CHECK(hl_gguf_item_count(numbers, 1, 300, &number) && number == 300);
    CHECK(!hl_gguf_item_count(texts, 0, 9, &number) && !hl_gguf_item_real(hl_gguf_get(gguf, "empty"), 0, &real));
    CHECK(!hl_gguf_count(numbers, UINT64_MAX, &number));
    hl_gguf_close(gguf);
}

/* A truncated file is refused at every length, and never read beyond its end: its bytes are a memory block of their
 * own. */
static void test_cut(void)
{
    struct file f;
    struct hl_error err;
    struct hl_gguf *gguf = NULL;
    size_t n;
    begin(&f, 1, 2);
    put_key(&f, "general.alignment", HL_GGUF_U32, &(uint32_t){8}, 4);
    put_key(&f, "texts", HL_GGUF_ARRAY, &(uint32_t){HL_GGUF_STRING}, 4);
    put_u64(&f, 1);
    put_text(&f, "text");
    put_text(&f, "weight");
    put_u32(&f, 2);
    put_u64(&f, 4);
    put_u64(&f, 2);
    put_u32(&f, 0);
    put_u64(&f, 0);
    f.n = (f.n + 7) / 8 * 8;
    put(&f, (uint8_t[32]){0}, 32);
    for (size_t i = 0; i < f.n; i++) {
        HL_FREE uint8_t *cut = malloc(i + 1);
        memcpy(cut, f.bytes, i);
        CHECK_FAILS(hl_gguf_open((struct hl_view){cut, i}, "cut", &gguf, &err), err, "cut: ");
    }
    CHECK_OK(hl_gguf_open((struct hl_view){f.bytes, f.n}, "f", &gguf, &err), err);
    const struct hl_gguf_tensor *tensors = hl_gguf_tensors(gguf, &n);
    CHECK(n == 1 && tensors[0].n_dims == 2 && tensors[0].dims[0] == 4 && tensors[0].dims[1] == 2 &&
          tensors[0].bytes == 32 && tensors[0].data == f.bytes + f.n - 32);
    CHECK(hl_gguf_keys(gguf, &n)->name.size == 17 && n == 2);
    hl_gguf_close(gguf);
}

static void test_part_names(void)
{
    uint32_t part, parts;
    CHECK(hl_gguf_part("a-b-00002-of-00013.gguf", &part, &parts) && part == 2 && parts == 13);
    CHECK(!hl_gguf_part("-00001-of-00001.gguf", &part, &parts) && !hl_gguf_part("a-00001-of-00001.ggu", &part, &parts));
    CHECK(!hl_gguf_part("a-0000x-of-00001.gguf", &part, &parts) &&
          !hl_gguf_part("a00001-of-00001.gguf", &part, &parts));
    CHECK(!hl_gguf_part("a.gguf", &part, &parts) && !hl_gguf_part("", &part, &parts));
}

/* ---- numbers ---- */

/* Makes blocks of any bytes, also -128, with finite scales. */
static struct weights random_q8_0(struct dice *dice, uint32_t rows, uint32_t cols)
{
    struct weights w = {
        .plan = {.tensor = {.name = "test", .type = HL_TYPE_TILE_Q8, .rows = rows, .cols = cols}, .n_parts = 1}};
    size_t blocks = (size_t)rows * cols / 32;
    w.numbers = malloc(blocks * 34);
    for (size_t i = 0; i < blocks * 34; i++)
        w.numbers[i] = (uint8_t)(dice_bits(dice) >> 32);
    for (size_t i = 0; i < blocks; i++) {
        w.numbers[34 * i + 1] = (uint8_t)(w.numbers[34 * i + 1] & 0xbf); /* a clear bit in the exponent: finite */
        w.numbers[34 * i + 2 + i % 32] = 0x80;
    }
    w.source = (struct hl_source_tensor){
        .dtype = HL_DTYPE_Q8_0, .n_dims = 2, .shape = {rows, cols}, .data = w.numbers, .bytes = blocks * 34};
    return w;
}

static double q8_0_number(const struct weights *w, uint64_t i)
{
    uint16_t scale;
    memcpy(&scale, w->numbers + i / 32 * 34, sizeof scale);
    return (double)hl_f16_to_f32(scale) * (int8_t)w->numbers[i / 32 * 34 + 2 + i % 32];
}

/* Compares the bytes of scale and quants, not only the numbers: quantizing again would not give them back. */
static unsigned wrong_blocks(const struct weights *w, uint32_t row, uint64_t source_row)
{
    uint32_t tiles = w->plan.tensor.cols / 32;
    unsigned wrong = 0;
    for (uint32_t t = 0; t < tiles; t++) {
        const uint8_t *tile = w->tiles + ((size_t)(row / 16) * tiles + t) * 544;
        const uint8_t *block = w->numbers + (source_row * tiles + t) * 34;
        for (uint32_t word = 0; word < 8; word++)
            wrong += memcmp(tile + word_place(row % 16, word), block + 2 + 4 * word, 4) != 0;
        wrong += memcmp(tile + 512 + 2 * (row % 8 * 2 + row % 16 / 8), block, 2) != 0;
    }
    return wrong;
}

static void test_q8_0(void)
{
    struct dice dice = {21};
    struct hl_error err;
    for (uint32_t rows = 1; rows < 70; rows += 13) {
        struct weights w = random_q8_0(&dice, rows, 32 * dice_between(&dice, 1, 5));
        unsigned wrong = 0, padding = 0;
        w.plan.part[0] = &w.source;
        CHECK_OK(weights_encode(&w, &err) ? 0 : -1, err);
        for (uint32_t r = 0; r < rows; r++)
            wrong += wrong_blocks(&w, r, r);
        for (uint32_t r = rows; r < (rows + 15) / 16 * 16; r++)
            for (uint32_t c = 0; c < w.plan.tensor.cols; c++)
                padding += tile_number(HL_TYPE_TILE_Q8, w.plan.tensor.cols, w.tiles, r, c) != 0;
        CHECK_SAY(wrong == 0 && padding == 0, "%u rows: %u words and %u of the padding are wrong", rows, wrong,
                  padding);
        weights_free(&w);
    }
    struct weights w = random_q8_0(&dice, 20, 64);
    w.plan.part[0] = &w.source;
    w.numbers[34 * (17 * 2 + 1) + 1] = 0x7c;
    CHECK_FAILS(weights_encode(&w, &err) ? 0 : -1, err, "tensor test: row 17, columns from 32");
    weights_free(&w);
}

/* Any number of floats, from any number on. */
static void test_q8_0_floats(void)
{
    struct dice dice = {22};
    struct weights w = random_q8_0(&dice, 3, 96);
    float out[3 * 96];
    for (int i = 0; i < 500; i++) {
        uint32_t first = dice_between(&dice, 0, 287), n = dice_between(&dice, 0, 288 - first);
        unsigned wrong = 0;
        hl_source_floats(&w.source, first, n, out);
        for (uint32_t k = 0; k < n; k++)
            wrong += (double)out[k] != q8_0_number(&w, first + k);
        CHECK_SAY(wrong == 0, "%u numbers from %u: %u are wrong", n, first, wrong);
    }
    weights_free(&w);
}

/* Two heads of six rows are stored as 0 3 1 4 2 5: row i of the model is where the converter's order has i. */
static void test_paired_rows(void)
{
    static const uint64_t order[] = {0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11};
    struct dice dice = {23};
    struct hl_error err;
    struct weights w = random_q8_0(&dice, 12, 64);
    w.source.paired_heads = 2;
    w.plan.part[0] = &w.source;
    CHECK_OK(weights_encode(&w, &err) ? 0 : -1, err);
    for (uint32_t i = 0; i < 12; i++) {
        CHECK(hl_source_row(&w.source, order[i]) == i);
        CHECK(wrong_blocks(&w, (uint32_t)order[i], i) == 0);
    }
    w.source.paired_heads = 0;
    CHECK(hl_source_row(&w.source, 3) == 3);
    weights_free(&w);
}

int main(void)
{
    test_values();
    test_arrays();
    test_cut();
    test_part_names();
    test_q8_0();
    test_q8_0_floats();
    test_paired_rows();
    return check_summary();
}
