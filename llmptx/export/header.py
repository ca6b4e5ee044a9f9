"""Approved kernels as a C header: texts as bytes, launch plans as functions, and a driver-API example.

Writes C; compiles and runs nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmptx.export.files import ExportError, check_request, described, put, write_kernels
from llmptx.review.desk import Verified

_TEMPLATES = Path(__file__).parent / "templates"
_MOST = 16  # launches of a kernel, and arguments of a launch: C arrays have a length


def write(name: str, folder: Path, kernels: Sequence[Verified]) -> tuple[str, ...]:
    """Write `NAME.h`, `example.c`, and `kernels/` with texts, certificates, a manifest; the routines' names.

    The header needs a C99 compiler and nothing else; the example needs the driver's cuda.h and -lcuda.
    Raises ExportError for a bad name, for no kernels, and where `folder` holds something else.
    """
    check_request(name, folder, kernels, folder / "kernels" / "manifest.json")
    write_kernels(folder / "kernels", kernels)
    put(folder / f"{name}.h", header(name, kernels))
    put(folder / "example.c", _template("example.c", name))
    return tuple(dict.fromkeys(kernel.routine for kernel in kernels))


def header(name: str, kernels: Sequence[Verified]) -> str:
    """The header's text."""
    parts = [_template("header.h", name)]
    rows = []
    for kernel in kernels:
        row, data = described(kernel), kernel.text.encode()
        symbol = f"{name}_{kernel.routine.replace('.', '_')}_{kernel.dtype}"
        parts += [_bytes(symbol, data), _sizes(symbol, row), _plan(name, symbol, row)]
        plan = row["plan"]
        if max(len(plan["launches"]), *(len(launch["args"]) for launch in plan["launches"])) > _MOST:
            raise ExportError(f"{kernel.path}: more than {_MOST} launches or arguments; use another export")
        fields = (
            f'"{kernel.routine}"',
            f'"{kernel.dtype}"',
            f"{symbol}_ptx",
            str(len(data)),
            f'"{hashlib.sha256(data).hexdigest()}"',
            str(len(row["inputs"])),
            str(len(row["extents"])),
            str(len(plan["buffers"])),
            str(len(plan["launches"])),
            str(plan["align"] or 0),
            str(int(plan["noalias"])),
            f"{symbol}_bytes",
            f"{symbol}_plan",
        )
        rows.append(f"    {{{', '.join(fields)}}},")
    listed = "\n".join(rows)
    parts.append(f"static const struct {name}_kernel {name}_kernels[] = {{\n{listed}\n}};")
    parts.append(_template("header_end.h", name))
    return "\n".join(parts)


def _template(file: str, name: str) -> str:
    text = (_TEMPLATES / file).read_text(encoding="utf-8")
    return text.replace("NAME", name).replace("GUARD", name.upper())


def _bytes(symbol: str, data: bytes) -> str:
    # The driver reads to the first zero byte.
    numbers = [f"0x{byte:02x}" for byte in (*data, 0)]
    rows = [", ".join(numbers[at : at + 16]) for at in range(0, len(numbers), 16)]
    return f"static const unsigned char {symbol}_ptx[] = {{\n    " + ",\n    ".join(rows) + "\n};\n"


def _sizes(symbol: str, row: Mapping[str, Any]) -> str:
    """Bytes of each input, the output, then each scratch buffer."""
    sizes = [
        f"{_c(size, row)} * {_width(dtype)}"
        for size, dtype in zip(row["sizes"], (*row["inputs"], *row["outputs"]), strict=True)
    ]
    sizes += [_c(buffer["bytes"], row) for buffer in row["plan"]["buffers"]]
    cases = "".join(f"    if (buffer == {i}) return (uint64_t)({size});\n" for i, size in enumerate(sizes))
    head = f"static uint64_t {symbol}_bytes(const int64_t *e, int buffer) {{\n    (void)e;\n"
    return f"{head}{cases}    return 0;\n}}\n"


def _plan(name: str, symbol: str, row: Mapping[str, Any]) -> str:
    buffers = [*(f"in{i}" for i in range(len(row["inputs"]))), "out"]
    buffers += [buffer["name"] for buffer in row["plan"]["buffers"]]
    lines = [f"static int {symbol}_plan(const int64_t *e, struct {name}_launch *to) {{", "    int count = 0;"]
    for launch in row["plan"]["launches"]:
        x, y, z = (_c(axis, row) for axis in launch["grid"])
        block = ", ".join(map(str, launch["block"]))
        args = ", ".join(
            f"{{{buffers.index(a)}, 0}}" if a in buffers else f"{{-1, (uint64_t)({_c(a, row)})}}"
            for a in launch["args"]
        )
        lines += [
            f"    if ({x} && {y} && {z}) {{",
            f"        struct {name}_launch one = {{",
            f'            "{launch["entry"]}", {{(unsigned)({x}), (unsigned)({y}), (unsigned)({z})}},',
            f"            {{{block}}}, {launch['shared']}, {len(launch['args'])}, {{{args}}}",
            "        };",
            "        to[count++] = one;",
            "    }",
        ]
    return "\n".join([*lines, "    (void)e;", "    return count;", "}", ""])


def _c(tree: Any, row: Mapping[str, Any]) -> str:
    """An expression over the extents, which are e[0], e[1], ..., in 64-bit C."""
    if isinstance(tree, str):
        return f"e[{row['extents'].index(tree)}]"
    if isinstance(tree, int):
        return f"INT64_C({tree})"
    operator, left, right = tree[0], _c(tree[1], row), _c(tree[2], row)
    if operator in ("ceil_div", "min", "max"):
        return f"llmptx_{operator}({left}, {right})"
    return f"({left} {operator} {right})"


def _width(dtype: str) -> int:
    bits = dtype.lstrip("abcdefghijklmnopqrstuvwxyz")
    return int(bits) // 8 if bits else 1
