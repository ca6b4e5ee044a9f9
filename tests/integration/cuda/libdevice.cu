// NVIDIA's libdevice, slow paths included: what nvcc makes of the functions of <math.h>.
#include "common.h"

#define UNARY(T, name, expression)                                                                            \
    KERNEL name(const T *a, T *out, int n)                                                                    \
    {                                                                                                         \
        int i = global_index();                                                                               \
        if (i >= n) return;                                                                                   \
        T x = a[i];                                                                                           \
        out[i] = expression;                                                                                  \
    }

#define BINARY(T, name, expression)                                                                           \
    KERNEL name(const T *a, const T *b, T *out, int n)                                                        \
    {                                                                                                         \
        int i = global_index();                                                                               \
        if (i >= n) return;                                                                                   \
        T x = a[i], y = b[i];                                                                                 \
        out[i] = expression;                                                                                  \
    }

UNARY(float, f_sin, sinf(x))
UNARY(float, f_cos, cosf(x))
UNARY(float, f_tan, tanf(x))
UNARY(float, f_exp, expf(x))
UNARY(float, f_exp10, exp10f(x))
UNARY(float, f_expm1, expm1f(x))
UNARY(float, f_log, logf(x))
UNARY(float, f_log1p, log1pf(x))
UNARY(float, f_tanh, tanhf(x))
UNARY(float, f_asin, asinf(x))
UNARY(float, f_atan, atanf(x))
UNARY(float, f_cbrt, cbrtf(x))
UNARY(float, f_erf, erff(x))
UNARY(float, f_erfc, erfcf(x))
UNARY(float, f_erfcinv, erfcinvf(x))
UNARY(float, f_tgamma, tgammaf(x))
UNARY(float, f_lgamma, lgammaf(x))
UNARY(float, f_j0, j0f(x))
UNARY(float, f_rsqrt, rsqrtf(x))
BINARY(float, f_pow, powf(x, y))
BINARY(float, f_fmod, fmodf(x, y))
BINARY(float, f_remainder, remainderf(x, y))
BINARY(float, f_hypot, hypotf(x, y))
BINARY(float, f_atan2, atan2f(x, y))
BINARY(float, f_nextafter, nextafterf(x, y))

UNARY(double, d_sin, sin(x))
UNARY(double, d_exp, exp(x))
UNARY(double, d_log, log(x))
UNARY(double, d_cbrt, cbrt(x))
UNARY(double, d_erfc, erfc(x))
UNARY(double, d_erfcinv, erfcinv(x))
UNARY(double, d_tgamma, tgamma(x))
UNARY(double, d_lgamma, lgamma(x))
UNARY(double, d_j0, j0(x))
BINARY(double, d_pow, pow(x, y))
BINARY(double, d_fmod, fmod(x, y))
BINARY(double, d_hypot, hypot(x, y))

// ldexp(frexp) and the parts of modf, in rows of n.
KERNEL taken_apart(const float *a, float *out, int n)
{
    int i = global_index();
    if (i >= n) return;
    int exponent = 0;
    float mantissa = frexpf(a[i], &exponent), whole;
    out[i] = mantissa;
    out[n + i] = (float)exponent;
    out[2 * n + i] = ldexpf(mantissa, exponent - 1);
    out[3 * n + i] = modff(a[i], &whole);
    out[4 * n + i] = whole;
}
