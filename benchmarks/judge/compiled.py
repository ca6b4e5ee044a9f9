"""Honest CUDA for every dtype of most routines: what NVIDIA's compiler makes of it the judge must take."""

from __future__ import annotations

from collections.abc import Iterator

from tests.meta.nvcc import RIGHT, ROW, WARP_SUM, Source

TYPES = {
    "float32": "float",
    "float64": "double",
    "int32": "int",
    "int64": "long long",
    "bool": "unsigned char",
}
_UNSIGNED = {"int": "unsigned", "long long": "unsigned long long"}

# out[i] of a, b, c; T is the type and U its unsigned one; `f` ends C's name of a float function.
_ANY = {
    "add": "a + b",
    "subtract": "a - b",
    "multiply": "a * b",
    "square": "a * a",
    "equal": "a == b",
    "less": "a < b",
    "where": "a ? b : c",
}
_FLOATING = {
    "divide": "a / b",
    "negative": "-a",
    "absolute": "fabs(a)",
    "sqrt": "sqrt(a)",
    "reciprocal": "(T)1 / a",
    "sign": "a > 0 ? (T)1 : a < 0 ? (T)-1 : a == 0 ? (T)0 : a",
    "floor": "floor(a)",
    "ceil": "ceil(a)",
    "rint": "rint(a)",
    "isnan": "a != a",
    "maximum": "a != a ? a : b != b ? b : fmax(a, b)",
    "minimum": "a != a ? a : b != b ? b : fmin(a, b)",
    "fmax": "fmax(a, b)",
    "fmin": "fmin(a, b)",
    "exp": "exp(a)",
    "exp2": "exp2(a)",
    "log": "log(a)",
    "log2": "log2(a)",
    "sin": "sin(a)",
    "cos": "cos(a)",
    "tanh": "tanh(a)",
    "power": "pow(a, b)",
    "erf": "erf(a)",
}
_WHOLE = {
    "negative": "(T)(0 - (U)a)",
    "absolute": "a < 0 ? (T)(0 - (U)a) : a",
    "sign": "(a > 0) - (a < 0)",
    "maximum": "a > b ? a : b",
    "minimum": "a < b ? a : b",
    "clip": "min(max(a, b), c)",
    "bitwise_and": "a & b",
    "bitwise_or": "a | b",
    "bitwise_xor": "a ^ b",
    "left_shift": "(U)b < 8 * sizeof(T) ? (T)((U)a << b) : 0",
    "right_shift": "(U)b < 8 * sizeof(T) ? a >> b : a >> (8 * sizeof(T) - 1)",
    "floor_divide": "b == 0 ? 0 : b == -1 ? (T)(0 - (U)a) : a / b - (a % b && (a ^ b) < 0)",
    "remainder": "b == 0 || b == -1 ? 0 : a % b + (a % b && (a ^ b) < 0 ? b : 0)",
}
_WRAPPING = {
    "add": "(T)((U)a + b)",
    "subtract": "(T)((U)a - b)",
    "multiply": "(T)((U)a * b)",
    "square": "(T)((U)a * a)",
}
_BLOCKS = (64, 128, 256)


def compiled() -> Iterator[Source]:
    """Every control, by routine and dtype; block sizes by turns."""
    yield from RIGHT.values()
    turn = 0
    for dtype in ("float32", "float64", "int32", "int64"):
        floating = dtype.startswith("float")
        table = {**_ANY, **(_FLOATING if floating else _WRAPPING | _WHOLE)}
        for name, expression in table.items():
            turn += 1
            yield _elementwise(name, dtype, expression, _BLOCKS[turn % len(_BLOCKS)])
        for name in ("add", "multiply", "maximum", "negative"):
            for style in _STYLES:
                yield _styled(name, dtype, table[name], style)
        yield from _along_axis(dtype)


# How the elements are shared out, and the plan that goes with it; one(i) makes element i.
_STYLES = {
    "blocks go round": (
        "grid=min(ceil_div(n,128),512)",
        "for (N i = blockIdx.x * (N)128 + threadIdx.x; i < n; i += (N)gridDim.x * 128) one(i);",
    ),
    "four a thread, unrolled": (
        "grid=ceil_div(n,512)",
        """N i = blockIdx.x * (N)512 + threadIdx.x;
    #pragma unroll
    for (int k = 0; k < 4; k++, i += 128) if (i < n) one(i);""",
    ),
    "vectors of 16 bytes": (
        "grid=ceil_div(n,512)",
        """N first = (blockIdx.x * (N)128 + threadIdx.x) * 4;
    if (first + 4 <= n)
        for (int k = 0; k < 4; k += L) {
            V x = *(const V *)(in0 + first + k), y = *(const V *)(in1 + first + k), z;
            for (int j = 0; j < L; j++) { T a = x.v[j], b = y.v[j]; z.v[j] = EXPRESSION; }
            *(V *)(out + first + k) = z;
        }
    else for (N i = first; i < n; i++) one(i);""",
    ),
}


def _styled(name: str, dtype: str, expression: str, style: str) -> Source:
    grid, body = _STYLES[style]
    type_ = TYPES[dtype]
    unary = "b" not in _names(expression)
    if unary:
        body = body.replace(", y = *(const V *)(in1 + first + k)", "").replace(", b = y.v[j]", "")
    second = "" if unary else "const T *in1, "
    load = "" if unary else "T b = in1[i];"
    code = f"""
typedef {type_} T;
typedef {_UNSIGNED.get(type_, type_)} U;
typedef unsigned long long N;
#define L (16 / (int)sizeof(T))
#define EXPRESSION ({expression})
struct __align__(16) V {{ T v[L]; }};
extern "C" __global__ void k(const T *in0, {second}T *out, N n)
{{
    auto one = [=](N i) {{ T a = in0[i]; {load} out[i] = EXPRESSION; }};
    {body}
}}
"""
    header = f"//@ launch entry=k {grid} block=128\n" + "//@ align 16\n" * ("vectors" in style)
    return Source(f"numpy.{name}", dtype, header, code)


def _elementwise(name: str, dtype: str, expression: str, block: int) -> Source:
    package = "scipy.special" if name == "erf" else "numpy"
    type_ = TYPES[dtype]
    result = "unsigned char" if name in ("equal", "less", "isnan") else type_
    inputs = [type_] * (3 if "c" in _names(expression) else 2 if "b" in _names(expression) else 1)
    if name == "where":
        inputs[0] = "unsigned char"
    params = ", ".join(f"const {kind} *in{i}" for i, kind in enumerate(inputs))
    loads = " ".join(f"{kind} {'abc'[i]} = in{i}[i];" for i, kind in enumerate(inputs))
    code = f"""
typedef {type_} T;
typedef {_UNSIGNED.get(type_, type_)} U;
extern "C" __global__ void k({params}, {result} *out, unsigned long long n)
{{
    unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x;
    if (i >= n) return;
    {loads}
    out[i] = {expression};
}}
"""
    header = f"//@ launch entry=k grid=ceil_div(n,{block}) block={block}\n"
    if name in ("sin", "cos") and dtype == "float64":
        header += "//@ noalias\n"  # its table is read as what nothing writes to
    return Source(f"{package}.{name}", dtype, header, code)


def _names(expression: str) -> set[str]:
    return set("".join(c if c.isalnum() else " " for c in expression).split())


def _along_axis(dtype: str) -> Iterator[Source]:
    """A maximum and a minimum through shared memory, a sum by shuffles."""
    type_ = TYPES[dtype]
    for name, sign, least in (("max", ">", "-"), ("min", "<", "")):
        if dtype.startswith("float"):
            start = f"{least}({type_})INFINITY"
            join = f"((a) != (a) || (a) {sign} (b) ? (a) : (b))"
        else:
            bits = 31 if dtype == "int32" else 63
            greatest = f"(T)((1ull << {bits}) - 1)"
            start = f"(-{greatest} - 1)" if least else greatest
            join = f"((a) {sign} (b) ? (a) : (b))"
        define = f"typedef {type_} T;\n#define INFINITY __int_as_float(0x7f800000)\n"
        define += f"#define JOIN(a, b) {join}\n#define START {start}\n"
        code = define + ROW.replace("float", type_).replace("__int_as_" + type_, "__int_as_float")
        yield Source(f"numpy.{name}", dtype, "//@ launch entry=k grid=outer*inner block=256\n", code)
    total = "double" if dtype == "float64" else "float" if dtype == "float32" else "long long"
    code = WARP_SUM.replace("const float *in, float *out", f"const {type_} *in, {total} *out")
    code = code.replace("float sum", f"{total} sum")
    yield Source("numpy.sum", dtype, "//@ launch entry=k grid=ceil_div(outer*inner,4) block=128\n", code)
