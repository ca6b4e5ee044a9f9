"""Compiled entries kept in memory and in files: the same bits come back, and nothing bad is ever taken."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmptx.engine import Compiled, Place, Session, cache, compile_entry, machine
from llmptx.engine.cache import Cache, Kept
from llmptx.engine.lower import Lowered
from llmptx.engine.unset import Origin
from llmptx.ptx import parse

BLOCK = (64, 1, 1)

# Shared memory and a barrier; `out` past its end where n is more than the threads.
REVERSE = """\
.version 8.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 in, .param .u64 out)
{
    .reg .b32 %r<4>;
    .reg .f32 %f<3>;
    .reg .u64 %in, %out, %at, %part;
    .shared .align 4 .b8 part[256];
    ld.param.u64 %in, [in];
    ld.param.u64 %out, [out];
    mov.u32 %r0, %tid.x;
    mov.u32 %r3, 1;
    mad.wide.u32 %at, %r0, 4, %in;
    ld.global.f32 %f0, [%at];
    ex2.approx.f32 %f1, %f0;
    mov.u64 %part, part;
    mad.wide.u32 %at, %r0, 4, %part;
    st.shared.f32 [%at], %f1;
    bar.sync BARRIER;
    sub.u32 %r1, 63, %r0;
    mad.wide.u32 %at, %r1, 4, %part;
    ld.shared.f32 %f2, [%at];
    mad.wide.u32 %at, %r0, 4, %out;
    st.global.f32 [%at + OFFSET], %f2;
    ret;
}
"""

PRODUCT = """\
.version 8.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 in, .param .u64 out)
{
    .reg .u32 %t;
    .reg .f64 %a, %d0, %d1;
    .reg .u64 %in, %out;
    mov.u32 %t, %tid.x;
    ld.param.u64 %in, [in];
    ld.param.u64 %out, [out];
    mad.wide.u32 %in, %t, 8, %in;
    mad.wide.u32 %out, %t, 16, %out;
    ld.global.f64 %a, [%in];
    mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64.rn {%d0, %d1}, {%a}, {%a}, {%a, %a};
    st.global.v2.f64 [%out], {%d0, %d1};
    ret;
}
"""


def reverse(barrier: str = "0", offset: int = 0) -> str:
    return REVERSE.replace("BARRIER", barrier).replace("OFFSET", str(offset))


UNSET = reverse().replace("ex2.approx.f32 %f1, %f0;", "add.f32 %f1, %f0, %f1;")


def compiled(text: str, kept: Cache | None, **how: Any) -> Compiled:
    return compile_entry(parse(text), "k", BLOCK, cache=kept, **how)


def results(kernel: Compiled, check: bool) -> tuple[NDArray[np.uint8], list[tuple[str, str]]]:
    """The bytes of `out`, and what was found where."""
    data = np.random.default_rng(5).standard_normal(64, np.float32).view(np.uint8)
    with Session([(kernel, 0)], [Place("in", 256), Place("out", 256)], check=check) as session:
        source, out = session.buffers["in"], session.buffers["out"]
        session.arena.bytes(source)[:] = data
        for area in (source, out):
            session.arena.mark(area, 3)
        found = session.launch(0, (1, 1, 1), [source.start, out.start])
        return session.arena.bytes(out).copy(), [(f.kind, f.message) for f in found]


@pytest.mark.parametrize(
    ("text", "check"),
    [
        (reverse(), False),
        (reverse(), True),
        (reverse(offset=64), True),
        (UNSET, True),
        (reverse("%r3, 64"), False),
    ],
    ids=["plain", "checked", "past the end", "unset", "one thread at a time"],
)
def test_a_kept_entry_gives_the_same_bits_and_findings(text: str, check: bool, tmp_path: Path) -> None:
    made = results(compiled(text, Cache(tmp_path), check=check), check)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "object_code", None)
        found = results(compiled(text, Cache(tmp_path), check=check), check)
    assert found[1] == made[1]
    assert np.array_equal(found[0], made[0])


def test_memory_keeps_it_without_files(tmp_path: Path) -> None:
    kept = Cache(None)
    first = compiled(reverse(), kept)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "object_code", None)
        again = compiled("// the same, told otherwise\n" + reverse(), kept)
    assert np.array_equal(results(first, False)[0], results(again, False)[0])


def test_memory_is_bounded() -> None:
    kept = Cache(None, recent=2)
    for name in "abc":
        kept.put(name, entry(b"code"))
    kept.get("b")
    kept.put("d", entry(b"code"))
    assert [name for name in "abcd" if kept.get(name)] == ["b", "d"]


def entry(code: bytes) -> Kept:
    waits = {1: (("bar", True), 7)}
    lowered = Lowered("", {}, 32, 64, False, True, ["x"], waits)
    lowered.origins, lowered.homes = {3: (Origin(2, "%r1"), Origin(4, ""))}, {4: frozenset({0, 8})}
    return Kept(lowered, "why", code)


def test_a_file_says_all_that_was_put(tmp_path: Path) -> None:
    Cache(tmp_path).put("a" * 64, entry(b"code"))
    assert Cache(tmp_path).get("a" * 64) == entry(b"code")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:20],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
        lambda data: data[:30] + bytes([data[30] ^ 0x80]) + data[31:],
        lambda data: b"somebody else's file",
    ],
)
def test_a_spoilt_file_is_passed_over_and_written_anew(spoil: Any, tmp_path: Path) -> None:
    path = tmp_path / ("b" * 64)
    Cache(tmp_path).put(path.name, entry(b"machine code"))
    good = path.read_bytes()
    path.write_bytes(spoil(good))
    kept = Cache(tmp_path)
    assert kept.get(path.name) is None
    kept.put(path.name, entry(b"machine code"))
    assert path.read_bytes() == good


def test_a_file_under_another_keys_name_is_passed_over(tmp_path: Path) -> None:
    Cache(tmp_path).put("a" * 64, entry(b"code"))
    os.rename(tmp_path / ("a" * 64), tmp_path / ("b" * 64))
    assert Cache(tmp_path).get("b" * 64) is None


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="users are told apart on POSIX")
def test_a_file_somebody_else_can_write_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Cache(tmp_path).put("a" * 64, entry(b"code"))
    path = tmp_path / ("a" * 64)
    path.chmod(0o666)
    assert Cache(tmp_path).get(path.name) is None
    path.chmod(0o600)
    assert Cache(tmp_path).get(path.name) is not None
    monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
    assert Cache(tmp_path).get(path.name) is None


def test_where_nothing_can_be_written_it_still_compiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "read-only")

    taken = tmp_path / "taken"
    taken.write_text("a file where the directory should be")
    want = results(compiled(reverse(), None), False)[0]
    assert np.array_equal(results(compiled(reverse(), Cache(taken / "code")), False)[0], want)
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    assert np.array_equal(results(compiled(reverse(), Cache(tmp_path)), False)[0], want)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_read_only_directory_is_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "read-only")

    Cache(tmp_path).put("a" * 64, entry(b"code"))
    monkeypatch.setattr(os, "utime", refuse)
    assert Cache(tmp_path).get("a" * 64) == entry(b"code")


def test_files_stay_under_the_limit_and_the_oldest_go(tmp_path: Path) -> None:
    for number in range(4):
        # A cache of its own trims at its first write.
        Cache(tmp_path, limit=5000).put(str(number) * 64, entry(bytes(2000)))
        os.utime(tmp_path / (str(number) * 64), (number, number))
    assert sorted(path.name[0] for path in tmp_path.iterdir()) == ["2", "3"]


def test_what_is_used_is_not_old(tmp_path: Path) -> None:
    for number in range(2):
        Cache(tmp_path, limit=5000).put(str(number) * 64, entry(bytes(2000)))
        os.utime(tmp_path / (str(number) * 64), (number, number))
    Cache(tmp_path).get("0" * 64)
    Cache(tmp_path, limit=5000).put("2" * 64, entry(bytes(2000)))
    assert sorted(path.name[0] for path in tmp_path.iterdir()) == ["0", "2"]


def _write_and_read(directory: Path, code: bytes) -> bool:
    """Whether every file read while others write is one of those written, whole."""
    good = True
    for _ in range(60):
        Cache(directory).put("a" * 64, entry(code))
        kept = Cache(directory).get("a" * 64)
        good &= kept is not None and kept.code in (b"x" * 300_000, b"y" * 10)
    return good


def test_two_processes_at_once_never_see_half_a_file(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        jobs = [(tmp_path, b"x" * 300_000), (tmp_path, b"y" * 10)]
        assert pool.starmap(_write_and_read, jobs) == [True, True]
    assert [path.name for path in tmp_path.iterdir()] == ["a" * 64]


def test_a_fresh_process_finds_the_code_and_what_it_calls(tmp_path: Path) -> None:
    script = (
        "import sys, numpy, llmptx\n"
        "from llmptx.engine import machine\n"
        "text, how = sys.stdin.read(), sys.argv[1]\n"
        "if how == 'hit':\n"
        "    machine.object_code = None\n"
        "for check in (False, True):\n"
        "    out = numpy.empty(64)\n"
        "    k = llmptx.Module(text).get_function('k')\n"
        "    k((1,), (32,), (numpy.sqrt(numpy.arange(32.0)), out), check=check)\n"
        "    print(out.tobytes().hex())\n"
    )
    command = [sys.executable, "-c", script]
    environment = {**os.environ, cache.SETTING: str(tmp_path)}

    def run(how: str) -> list[str]:
        done = subprocess.run(
            [*command, how], input=PRODUCT, text=True, capture_output=True, check=False, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    first = run("miss")
    assert first[0] == first[1]
    assert run("hit") == first
    assert len(list((tmp_path / "code").iterdir())) == 2


class Asked(Cache):
    """It has what any key asks for, and notes the key."""

    def __init__(self, kept: Kept) -> None:
        super().__init__(None)
        self.kept, self.keys = kept, set[str]()

    def get(self, key: str) -> Kept:
        self.keys.add(key)
        return self.kept


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    kept = Cache(tmp_path)
    compiled(reverse(), kept)
    (path,) = tmp_path.iterdir()
    found = kept.get(path.name)
    assert found is not None
    again = Asked(found)
    compiled(reverse(), again)
    assert again.keys == {path.name}
    return again


@pytest.mark.parametrize("part", [0, 1], ids=["cpu", "features"])
def test_code_of_another_cpu_is_not_taken(part: int, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    named = list(machine._cpu())
    named[part] += ",+other"
    monkeypatch.setattr(machine, "_cpu", lambda: tuple(named))
    monkeypatch.setattr(machine, "host", machine.host.__wrapped__)
    compiled(reverse(), asked)
    assert len(asked.keys) == 2


def test_code_of_another_engine_is_not_taken(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "engine_version", lambda: "newer")
    compiled(reverse(), asked)
    assert len(asked.keys) == 2


def test_every_setting_has_a_key_of_its_own(tmp_path: Path) -> None:
    kept = Cache(tmp_path)
    compiled(reverse(), kept)
    compiled(reverse(offset=4), kept)
    for how in ({"check": True}, {"width": 1}, {"approx": "low"}, {"profile": True}):
        compiled(reverse(), kept, **how)
    compile_entry(parse(reverse()), "k", (128, 1, 1), cache=kept)
    assert len(list(tmp_path.iterdir())) == 7


def test_the_place_is_the_settings_else_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(cache.SETTING, str(tmp_path / "mine"))
    assert cache.default()._directory == tmp_path / "mine" / "code"
    monkeypatch.setenv(cache.SETTING, "")
    assert cache.default()._directory is None
    if sys.platform == "linux":
        cache._cache.cache_clear()
        monkeypatch.delenv(cache.SETTING)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache.default()._directory == tmp_path / "xdg" / "llmptx" / "code"
        cache._cache.cache_clear()
        monkeypatch.setenv("XDG_CACHE_HOME", "relative, so not to be used")
        assert cache.default()._directory == tmp_path / ".cache" / "llmptx" / "code"
    cache._cache.cache_clear()
