"""CUDA C++ of our own, right and wrong, compiled to PTX without a GPU: text not written for this judge."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from tests.verify.kernels import changed


@dataclass(frozen=True)
class Source:
    """`header` is the plan, put before the PTX; one of `kinds` is due, none for a right kernel."""

    routine: str
    dtype: str
    header: str
    code: str
    kinds: tuple[str, ...] = ()

    def faulty(self, kinds: tuple[str, ...], *pairs: tuple[str, str]) -> Source:
        return replace(self, code=changed(self.code, *pairs), kinds=kinds)


@cache
def ptx_of(source: Source) -> str:
    """The candidate's text. Raises RuntimeError with the compiler's log where the code is wrong."""
    from cuda.bindings import nvrtc

    _, program = nvrtc.nvrtcCreateProgram(source.code.encode(), b"kernel.cu", 0, [], [])
    (status,) = nvrtc.nvrtcCompileProgram(program, 1, [b"--gpu-architecture=compute_80"])
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        _, size = nvrtc.nvrtcGetProgramLogSize(program)
        log = b" " * size
        nvrtc.nvrtcGetProgramLog(program, log)
        raise RuntimeError(log.decode())
    _, size = nvrtc.nvrtcGetPTXSize(program)
    text = b" " * size
    nvrtc.nvrtcGetPTX(program, text)
    return source.header + text.decode().rstrip("\0")


def elementwise(name: str, dtype: str, arity: int, expression: str, types: str = "") -> Source:
    """out[i] = expression in a, b, c."""
    type_ = {"float32": "float", "float64": "double", "int32": "int", "int64": "long long"}[dtype]
    first, *others = types.split() or [type_]
    kinds = [first, *(others or [first] * (arity - 1))]
    params = ", ".join(f"const {kind} *in{i}" for i, kind in enumerate(kinds))
    loads = "\n    ".join(f"{kind} {'abc'[i]} = in{i}[i];" for i, kind in enumerate(kinds))
    code = f"""
extern "C" __global__ void k({params}, {type_} *out, unsigned long long n)
{{
    unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x;
    if (i >= n) return;
    {loads}
    out[i] = {expression};
}}
"""
    return Source(name, dtype, "//@ launch entry=k grid=ceil_div(n,128) block=128\n", code)


ROW = """
extern "C" __global__ void k(const float *in, float *out, unsigned long long outer, unsigned long long n,
                             unsigned long long inner)
{
    __shared__ float part[256];
    unsigned long long row = blockIdx.x / inner, column = blockIdx.x % inner;
    float best = START;
    for (unsigned long long j = threadIdx.x; j < n; j += blockDim.x)
        best = JOIN(best, in[(row * n + j) * inner + column]);
    part[threadIdx.x] = best;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) part[threadIdx.x] = JOIN(part[threadIdx.x], part[threadIdx.x + half]);
        __syncthreads();
    }
    if (threadIdx.x == 0) out[blockIdx.x] = part[0];
}
"""

WARP_SUM = """
extern "C" __global__ void k(const float *in, float *out, unsigned long long outer, unsigned long long n,
                             unsigned long long inner)
{
    unsigned long long result = blockIdx.x * 4ull + threadIdx.x / 32;
    if (result >= outer * inner) return;
    unsigned long long row = result / inner, column = result % inner;
    float sum = 0;
    for (unsigned long long j = threadIdx.x % 32; j < n; j += 32) sum += in[(row * n + j) * inner + column];
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    if (threadIdx.x % 32 == 0) out[result] = sum;
}
"""

MATMUL = """
#define T 16
extern "C" __global__ void k(const float *a, const float *b, float *out, unsigned long long batch,
                             unsigned long long m, unsigned long long n, unsigned long long k)
{
    __shared__ float ta[T][T], tb[T][T];
    unsigned long long row = blockIdx.y * T + threadIdx.y, column = blockIdx.x * T + threadIdx.x;
    a += blockIdx.z * m * k; b += blockIdx.z * k * n; out += blockIdx.z * m * n;
    float sum = 0;
    for (unsigned long long t = 0; t < k; t += T) {
        ta[threadIdx.y][threadIdx.x] = row < m && t + threadIdx.x < k ? a[row * k + t + threadIdx.x] : 0;
        tb[threadIdx.y][threadIdx.x] = column < n && t + threadIdx.y < k ? b[(t + threadIdx.y) * n + column] :
        0; __syncthreads(); for (int j = 0; j < T; j++) sum += ta[threadIdx.y][j] * tb[j][threadIdx.x];
        __syncthreads();
    }
    if (row < m && column < n) out[row * n + column] = sum;
}
"""

AXIS = "//@ launch entry=k grid=outer*inner block=256\n"
SUM_HEADER = "//@ launch entry=k grid=ceil_div(outer*inner,4) block=128\n"
TILES = "//@ launch entry=k grid=ceil_div(n,16),ceil_div(m,16),batch block=16,16\n"

NAN_MAX = "((a) != (a) ? (a) : (b) != (b) ? (b) : fmaxf(a, b))"
JOIN_MAX = f"#define JOIN(a, b) {NAN_MAX}\n#define START __int_as_float(0xff800000)\n"

ADD = elementwise("numpy.add", "float32", 2, "a + b")
DIVIDE = elementwise("numpy.divide", "float64", 2, "a / b")
EXP = elementwise("numpy.exp", "float32", 1, "expf(a)")
SIN = elementwise("numpy.sin", "float32", 1, "sinf(a)")
LOG = elementwise("numpy.log", "float64", 1, "log(a)")
ERF = elementwise("scipy.special.erf", "float32", 1, "erff(a)")
FLOOR_DIVIDE = elementwise(
    "numpy.floor_divide",
    "int32",
    2,
    "b == 0 ? 0 : b == -1 ? (int)(0u - (unsigned)a) : a / b - (a % b && (a ^ b) < 0)",
)
WHERE = elementwise("numpy.where", "float32", 3, "a ? b : c", "bool float float")
MAXIMUM = Source("numpy.max", "float32", AXIS, JOIN_MAX + ROW)
SUM = Source("numpy.sum", "float32", SUM_HEADER, WARP_SUM)
MATRIX = Source("numpy.matmul", "float32", TILES, MATMUL)

RIGHT: dict[str, Source] = {
    "add": ADD,
    "divide": DIVIDE,
    "exp": EXP,
    "sin": SIN,
    "log": LOG,
    # More than one ULP from the true value, and within CUDA's one ULP of the rounded one.
    "log2": elementwise("numpy.log2", "float64", 1, "log2(a)"),
    "tanh": elementwise("numpy.tanh", "float64", 1, "tanh(a)"),
    "erf": ERF,
    "floor_divide": FLOOR_DIVIDE,
    "where": WHERE,
    "max": MAXIMUM,
    "sum": SUM,
    "matmul": MATRIX,
}

WRONG: dict[str, Source] = {
    "add without a bounds check": ADD.faulty(("out-of-bounds",), ("    if (i >= n) return;\n", "")),
    "divide by a reciprocal": DIVIDE.faulty(("mismatch",), ("a / b", "a * (1 / b)")),
    "exp by the fast approximation": EXP.faulty(("mismatch",), ("expf(a)", "__expf(a)")),
    "sin without range reduction": SIN.faulty(("mismatch", "nan-mismatch"), ("sinf(a)", "__sinf(a)")),
    "log in single precision": LOG.faulty(("mismatch",), ("log(a)", "logf((float)a)")),
    "erf in its first terms": ERF.faulty(("mismatch",), ("erff(a)", "1.1283792f * (a - a * a * a / 3)")),
    "division toward zero": FLOOR_DIVIDE.faulty(("mismatch",), (" - (a % b && (a ^ b) < 0)", "")),
    "where the wrong way round": WHERE.faulty(("mismatch", "nan-mismatch"), ("a ? b : c", "a ? c : b")),
    "max that loses NaN": MAXIMUM.faulty(("nan-mismatch",), (NAN_MAX, "fmaxf(a, b)")),
    "max without the barrier": MAXIMUM.faulty(
        ("data-race", "uninitialized-read"), ("        __syncthreads();\n", "")
    ),
    "sum that drops its tail": SUM.faulty(("mismatch", "nan-mismatch"), ("j < n;", "j + 31 < n;")),
    "matmul that forgets the edge of k": MATRIX.faulty(
        ("mismatch", "nan-mismatch", "out-of-bounds"), ("t + threadIdx.x < k ?", "true ?")
    ),
    "matmul with one barrier": MATRIX.faulty(
        ("data-race", "uninitialized-read"), ("        __syncthreads();\n    }\n", "    }\n")
    ),
}
