/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), the checksum of the .hot file. Processors have an instruction for it.
 *
 * It detects accidents, not malice: the checks at load stop a forged file. It is implemented here because the engine
 * may use nothing beyond libc.
 */
#ifndef HOTLAYER_CRC32C_H
#define HOTLAYER_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

static inline uint32_t hl_crc32c_portable(uint32_t crc, const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (0x82F63B78u & (0u - (crc & 1u)));
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static inline uint32_t hl_crc32c_sse42(uint32_t crc, const unsigned char *bytes,
                                                                         size_t n)
{
    uint64_t wide = crc;
    for (; n >= 8; bytes += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    for (; n; bytes++, n--)
        crc = _mm_crc32_u8(crc, *bytes);
    return crc;
}
#endif

/* Continues `crc` (0 at the start) over `n` more bytes. */
static inline uint32_t hl_crc32c(uint32_t crc, const void *data, size_t n)
{
    crc = ~crc;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~hl_crc32c_sse42(crc, data, n);
#endif
    return ~hl_crc32c_portable(crc, data, n);
}

/* Returns the product of two polynomials modulo the checksum's. The highest bit is the coefficient of 1. */
static inline uint32_t hl_crc32c_multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (; a; a <<= 1) {
        if (a & 0x80000000u)
            product ^= b;
        b = (b >> 1) ^ (0x82F63B78u & (0u - (b & 1u)));
    }
    return product;
}

/* Returns what `crc`, the checksum of some bytes, contributes if `n` bytes follow. The checksum of A and B is that of
 * A, shifted by the length of B, xor that of B. So checksums of pieces can be computed in any order. */
static inline uint32_t hl_crc32c_shift(uint32_t crc, uint64_t n)
{
    for (uint32_t power = 0x00800000u /* x^8 */; n; n >>= 1, power = hl_crc32c_multiply(power, power))
        if (n & 1)
            crc = hl_crc32c_multiply(power, crc);
    return crc;
}

#endif
