"""Makes the PTX in this folder again from the kernels beside it: `python regenerate.py`.

Run it by a Python that has triton and numba-cuda; no GPU is needed. Line tables and debug sections are left
out, the entry is named as its file. A Triton kernel's first line says what its launch must know: threads a
block and bytes of dynamic shared memory.
"""

import re
from pathlib import Path

HERE = Path(__file__).parent


def write(name, ptx, head):
    lines, depth = [], 0
    for line in ptx.splitlines():
        text = line.strip()
        if text.startswith(".section"):
            depth = 1
        if depth:
            depth = 0 if text == "}" else 1
            continue
        if not text or re.match(r"\.(loc|file)\s|//|\$L__(tmp|func|info)", text):
            continue
        lines.append(line.partition("//")[0].rstrip())
    body = "\n".join(lines)
    entry = re.search(r"\.entry\s+([\w$]+)", body)[1]
    new = name.replace("-", "_")
    body = body.replace(f".entry {entry}(", f".entry {new}(")
    body = re.sub(rf"\b{re.escape(entry)}_param_(\d+)", rf"{new}_\1", body)
    (HERE / f"{name}.ptx").write_text(head + body + "\n")


def triton_kernels():
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton_kernels import KERNELS

    for name, (function, types, constants, warps, stages) in KERNELS.items():
        signature = types | dict.fromkeys(constants, "constexpr")
        source = ASTSource(function, signature, constants)
        options = {"num_warps": warps, "num_stages": stages}
        made = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=options)
        write(f"triton-{name}", made.asm["ptx"], f"// threads={32 * warps} shared={made.metadata.shared}\n")


def numba_kernels():
    from numba import cuda
    from numba_kernels import KERNELS

    for name, (function, signature) in KERNELS.items():
        ptx, _ = cuda.compile_ptx(function, signature, cc=(8, 0))
        write(f"numba-{name}", ptx, "")


if __name__ == "__main__":
    triton_kernels()
    numba_kernels()
