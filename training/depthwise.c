/* What oneDNN is slow at in bf16 on CPUs: gradients of depthwise convolutions, and ReLU6.

   Numbers are bf16 with channels last: x (B, H, W, C), y and its gradient g (B, h, w, C). Sums are fp32.
   Needs AVX-512 BF16; compiled for the machine it runs on by depthwise.py. */
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))
#define LANES 16
#define UNROLL _Pragma("GCC unroll 32")

INLINE __m512 wide(__m256i bf16) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16), 16));
}

INLINE __m512 load(const uint16_t *from, __mmask16 mask) { return wide(_mm256_maskz_loadu_epi16(mask, from)); }

INLINE __mmask16 lanes_left(int64_t count) { return count >= LANES ? 0xffff : (__mmask16)((1u << count) - 1); }

typedef struct {
    int64_t B, H, W, C, h, w, stride;
} Shape;

/* Sums over images and places, for up to 16 channels: K * K weights and the bias, kept in registers. */
INLINE void sum_channels(const uint16_t *x, const uint16_t *g, float *out, const Shape *s, int64_t channel, int K) {
    const __mmask16 mask = lanes_left(s->C - channel);
    __m512 sum[25], bias = _mm512_setzero_ps();
    UNROLL for (int tap = 0; tap < K * K; tap++) sum[tap] = _mm512_setzero_ps();
    for (int64_t row = 0; row < s->h; row++)
        for (int64_t column = 0; column < s->w; column++) {
            const __m512 gradient = load(g + (row * s->w + column) * s->C + channel, mask);
            const uint16_t *corner = x + (row * s->stride * s->W + column * s->stride) * s->C + channel;
            bias = _mm512_add_ps(bias, gradient);
            UNROLL for (int i = 0; i < K; i++)
                UNROLL for (int j = 0; j < K; j++)
                    sum[i * K + j] = _mm512_fmadd_ps(gradient, load(corner + (i * s->W + j) * s->C, mask), sum[i * K + j]);
        }
    UNROLL for (int tap = 0; tap <= K * K; tap++) {
        float *at = out + tap * s->C + channel;
        const __m512 more = tap == K * K ? bias : sum[tap];
        _mm512_mask_storeu_ps(at, mask, _mm512_add_ps(_mm512_maskz_loadu_ps(mask, at), more));
    }
}

/* Adds to out, fp32 (K * K + 1, C): the gradient of the weights, and of the bias. x is padded already. */
void weight_gradient(const uint16_t *x, const uint16_t *g, float *out, const Shape *s, int64_t K, int threads) {
    const int64_t blocks = (s->C + LANES - 1) / LANES;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t part = 0; part < threads; part++)
        for (int64_t image = 0; image < s->B; image++)
            for (int64_t block = blocks * part / threads; block < blocks * (part + 1) / threads; block++) {
                const uint16_t *of = x + image * s->H * s->W * s->C, *by = g + image * s->h * s->w * s->C;
                if (K == 3) sum_channels(of, by, out, s, block * LANES, 3);
                else sum_channels(of, by, out, s, block * LANES, 5);
            }
}

/* The gradient of x, bf16 (B, H, W, C); weights are fp32 (K * K, C), and x was padded by none. */
void input_gradient(const uint16_t *g, const float *weight, uint16_t *out, const Shape *s, int64_t K, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t line = 0; line < s->B * s->H; line++)
        for (int64_t column = 0; column < s->W; column++) {
            const int64_t image = line / s->H, row = line % s->H;
            const uint16_t *gradients[25];
            const float *weights[25];
            int taps = 0;
            for (int64_t i = row % s->stride; i < K && i <= row; i += s->stride)
                for (int64_t j = column % s->stride; j < K && j <= column; j += s->stride) {
                    const int64_t above = (row - i) / s->stride, left = (column - j) / s->stride;
                    if (above >= s->h || left >= s->w) continue;
                    gradients[taps] = g + ((image * s->h + above) * s->w + left) * s->C;
                    weights[taps++] = weight + (i * K + j) * s->C;
                }
            uint16_t *to = out + (line * s->W + column) * s->C;
            for (int64_t channel = 0; channel < s->C; channel += LANES) {
                const __mmask16 mask = lanes_left(s->C - channel);
                __m512 sum = _mm512_setzero_ps();
                for (int tap = 0; tap < taps; tap++)
                    sum = _mm512_fmadd_ps(load(gradients[tap] + channel, mask),
                                          _mm512_maskz_loadu_ps(mask, weights[tap] + channel), sum);
                _mm256_mask_storeu_epi16(to + channel, mask, (__m256i)_mm512_cvtneps_pbh(sum));
            }
        }
}

/* y = min(max(y, 0), 6) in place, NaN stays: as numbers of 16 bits, bf16 is in order where it is not negative. */
void relu6(uint16_t *y, int64_t count, int threads) {
    const __m512i zero = _mm512_setzero_si512(), six = _mm512_set1_epi16(0x40c0);
    const __m512i magnitude = _mm512_set1_epi16(0x7fff), infinity = _mm512_set1_epi16(0x7f80);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t at = 0; at < count; at += 32) {
        const __mmask32 mask = count - at >= 32 ? 0xffffffff : (1u << (count - at)) - 1;
        const __m512i value = _mm512_maskz_loadu_epi16(mask, y + at);
        const __mmask32 number = _mm512_cmple_epi16_mask(_mm512_and_si512(value, magnitude), infinity);
        _mm512_mask_storeu_epi16(y + at, mask & number, _mm512_min_epi16(_mm512_max_epi16(value, zero), six));
    }
}

/* g where 0 < y < 6, else 0. */
void relu6_gradient(const uint16_t *y, const uint16_t *g, uint16_t *out, int64_t count, int threads) {
    const __m512i zero = _mm512_setzero_si512(), six = _mm512_set1_epi16(0x40c0);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t at = 0; at < count; at += 32) {
        const __mmask32 mask = count - at >= 32 ? 0xffffffff : (1u << (count - at)) - 1;
        const __m512i value = _mm512_maskz_loadu_epi16(mask, y + at);
        const __mmask32 inside = _mm512_cmpgt_epi16_mask(value, zero) & _mm512_cmplt_epi16_mask(value, six);
        _mm512_mask_storeu_epi16(out + at, mask, _mm512_maskz_loadu_epi16(mask & inside, g + at));
    }
}
