/* The program: the packer compiles a model into it, and the runtime executes it. The runtime knows these operations and
 * no model family.
 *
 * A step computes a batch of tokens, of any number of sequences, through the whole program. Buffers are float32
 * matrices. They have one row per token of the step, or, after HL_OP_PICK, one row per token whose logits are wanted.
 * Each operation reads and writes ranges of columns of buffers; a span names a buffer and its first column.
 *
 * The section is: struct hl_program | hl_buffer[n_buffers] | hl_kv[n_kvs] | hl_op[n_ops].
 */
#ifndef HOTLAYER_PROGRAM_H
#define HOTLAYER_PROGRAM_H

#include <assert.h>
#include <stdint.h>

#define HL_NONE UINT32_MAX /* no tensor, no token */

/* The limits of a program; a program beyond them is refused. A block of a transformer has one key/value cache. */
#define HL_PROGRAM_MAX_BUFFERS 64u
#define HL_PROGRAM_MAX_KVS 1024u
#define HL_PROGRAM_MAX_OPS 65536u
#define HL_PROGRAM_MAX_COLS (1u << 24)
#define HL_PROGRAM_MAX_HEADS 4096u
#define HL_PROGRAM_MAX_HEAD_DIM 4096u
#define HL_PROGRAM_MAX_CONTEXT (1u << 24)

enum hl_op_kind {
    HL_OP_ANGLES,   /* out[t] = cos(p f_0), cos(p f_1), ..., sin(p f_0), ...; p is the token's position, f the tensor */
    HL_OP_GATHER,   /* out[t] = scale * row token[t] of the table */
    HL_OP_NORM,     /* RMSNorm of each of `groups` consecutive runs of `cols`: x / sqrt(mean(x^2) + eps) * weight */
    HL_OP_LINEAR,   /* out[t] = weight in[t] + bias */
    HL_OP_ROPE,     /* rotates each head's halves (x_i, x_{i + d/2}) in place; d is the columns of the angles */
    HL_OP_KV_WRITE, /* appends k[t] and v[t] to the token's sequence in the cache */
    HL_OP_ATTEND,   /* out[t] = softmax(scale q k) v over the keys that the token sees */
    HL_OP_GATE,     /* out = activation(gate) * up */
    HL_OP_ADD,      /* out += in */
    HL_OP_PICK,     /* copies the rows whose logits are wanted: out[r] = in[output[r]] */
    HL_OP_SOFTCAP,  /* x = cap tanh(x / cap) */
    HL_OP_COUNT,
};

enum hl_activation {
    HL_ACTIVATION_SILU,      /* x / (1 + exp(-x)) */
    HL_ACTIVATION_GELU_TANH, /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
    HL_ACTIVATION_COUNT,
};

enum hl_domain {
    HL_DOMAIN_TOKENS,  /* one row per token of the step */
    HL_DOMAIN_OUTPUTS, /* one row per token whose logits are wanted */
};

struct hl_span {
    uint32_t buffer;
    uint32_t column;
};

struct hl_buffer {
    uint32_t cols;
    uint32_t domain; /* enum hl_domain */
};

/* A key/value cache. All families so far have one per block of the transformer. */
struct hl_kv {
    uint32_t heads;
    uint32_t head_dim;
};

struct hl_op {
    uint32_t kind; /* enum hl_op_kind */
    union {
        struct {
            struct hl_span out;   /* 2 * cols of the tensor */
            uint32_t frequencies; /* vector, 1 row */
        } angles;
        struct {
            struct hl_span out;
            uint32_t table; /* tiled, one row per token of the vocabulary */
            float scale;
        } gather;
        struct {
            struct hl_span out, in;
            uint32_t weight; /* vector, 1 row of cols */
            uint32_t groups, cols;
            float eps;
        } norm;
        struct {
            struct hl_span out, in;
            uint32_t weight; /* tiled */
            uint32_t bias;   /* vector, 1 row of the weight's rows; or HL_NONE */
        } linear;
        struct {
            struct hl_span x, angles;
            uint32_t heads, head_dim;
            uint32_t rotated; /* how many columns of a head are rotated; even, the angles' width */
        } rope;
        struct {
            struct hl_span k, v; /* heads * head_dim of the kv */
            uint32_t kv;
        } kv_write;
        struct {
            struct hl_span out, q; /* heads * head_dim */
            uint32_t kv;
            uint32_t heads;  /* a multiple of the kv's */
            uint32_t window; /* a token at p sees keys at p - window + 1 .. p; 0: all */
            float scale;
            float softcap; /* cap tanh(score / cap) before the mask; 0: none */
        } attend;
        struct {
            struct hl_span out, gate, up;
            uint32_t cols;
            uint32_t activation; /* enum hl_activation */
        } gate;
        struct {
            struct hl_span out, in;
            uint32_t cols;
        } add;
        struct {
            struct hl_span out, in;
            uint32_t cols;
        } pick;
        struct {
            struct hl_span x;
            uint32_t cols;
            float cap;
        } softcap;
        uint32_t words[11];
    };
};

struct hl_program {
    uint32_t n_buffers;
    uint32_t n_kvs;
    uint32_t n_ops;
    uint32_t vocabulary; /* columns of the logits; token ids are below this */
    uint32_t context;    /* positions that the model was trained for */
    uint32_t logits;     /* the buffer that holds the result, domain outputs */
    uint32_t reserved[10];
};

static_assert(sizeof(struct hl_op) == 48, "on-disk size");
static_assert(sizeof(struct hl_program) == 64, "on-disk size");
static_assert(sizeof(struct hl_buffer) == 8, "on-disk size");
static_assert(sizeof(struct hl_kv) == 8, "on-disk size");

#endif
