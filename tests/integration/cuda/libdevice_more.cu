// The functions of libdevice that have no slow path of their own to show, in both precisions.
#include "common.h"

#define UNARY(T, name, expression)                                                                            \
    KERNEL name(const T *a, T *out, int n)                                                                    \
    {                                                                                                         \
        int i = global_index();                                                                               \
        if (i >= n) return;                                                                                   \
        T x = a[i];                                                                                           \
        out[i] = expression;                                                                                  \
    }

UNARY(float, f_exp2, exp2f(x))
UNARY(float, f_log2, log2f(x))
UNARY(float, f_log10, log10f(x))
UNARY(float, f_acos, acosf(x))
UNARY(float, f_sinh, sinhf(x))
UNARY(float, f_cosh, coshf(x))
UNARY(float, f_asinh, asinhf(x))
UNARY(float, f_acosh, acoshf(x))
UNARY(float, f_atanh, atanhf(x))
UNARY(float, f_erfinv, erfinvf(x))
UNARY(float, f_erfcx, erfcxf(x))
UNARY(float, f_normcdf, normcdff(x))
UNARY(float, f_normcdfinv, normcdfinvf(x))
UNARY(double, d_cos, cos(x))
UNARY(double, d_tan, tan(x))
UNARY(double, d_exp2, exp2(x))
UNARY(double, d_exp10, exp10(x))
UNARY(double, d_expm1, expm1(x))
UNARY(double, d_log2, log2(x))
UNARY(double, d_log10, log10(x))
UNARY(double, d_log1p, log1p(x))
UNARY(double, d_asin, asin(x))
UNARY(double, d_acos, acos(x))
UNARY(double, d_atan, atan(x))
UNARY(double, d_sinh, sinh(x))
UNARY(double, d_cosh, cosh(x))
UNARY(double, d_tanh, tanh(x))
UNARY(double, d_asinh, asinh(x))
UNARY(double, d_acosh, acosh(x))
UNARY(double, d_atanh, atanh(x))
UNARY(double, d_rsqrt, rsqrt(x))
UNARY(double, d_erf, erf(x))
UNARY(double, d_erfinv, erfinv(x))
UNARY(double, d_erfcx, erfcx(x))
UNARY(double, d_normcdf, normcdf(x))
UNARY(double, d_normcdfinv, normcdfinv(x))
