"""Every command by its exit code, its output for people and its JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import llmptx
from llmptx.cli import main
from llmptx.corpus import Corpus

OFFLINE = Path(llmptx.__file__).parent / "llm" / "offline"
RIGHT = OFFLINE / "numpy/add/int32.1.ptx"


@pytest.fixture
def llm(tmp_path):
    """Runs a command in a workspace of its own: llm("catalog", "exp") -> result."""

    def run(*args, input=None):
        return CliRunner().invoke(main, ["--workspace", str(tmp_path), *args], input=input)

    run.root = tmp_path
    return run


def _file(llm, *records):
    corpus = Corpus(llm.root / "corpus/records.jsonl")
    for record in records:
        corpus.append(record)
    return records[-1].attempts[-1].candidate.hash


def test_catalog_lists_what_matches_and_how_far_it_is(llm, make_record):
    hash = _file(llm, make_record())
    rows = json.loads(llm("catalog", "exp*", "--json").stdout)
    assert [row["routine"] for row in rows] == ["numpy.exp", "numpy.exp2", "scipy.special.expit"]
    assert rows[0]["dtypes"] == {"float32": "waiting", "float64": "open"}
    llm("review", "approve", hash[:12], "--reviewer", "ada")
    assert json.loads(llm("catalog", "numpy.exp", "--json").stdout)[0]["dtypes"]["float32"] == "approved"
    assert "numpy.exp" in llm("catalog").stdout


@pytest.mark.parametrize(
    "args",
    [
        ("catalog", "numpy.epx"),
        ("rewrite", "epx"),
        ("verify", str(RIGHT), "--routine", "epx", "--dtype", "int32"),
    ],
)
def test_an_unknown_routine_is_answered_with_the_nearest_names(llm, args):
    result = llm(*args)
    assert result.exit_code == 2
    assert "numpy.exp" in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_an_unknown_dtype_is_answered_with_those_there_are(llm):
    result = llm("verify", str(RIGHT), "--routine", "exp", "--dtype", "int32")
    assert result.exit_code == 2
    assert "float32, float64" in result.stderr
    assert llm("rewrite", "exp", "--dtype", "int32").exit_code == 2


def test_verify_passes_a_right_kernel(llm):
    result = llm("verify", str(RIGHT), "--routine", "add", "--dtype", "int32", "--level", "quick")
    assert result.exit_code == 0, result.output
    assert "PASS numpy.add int32, level quick" in result.stdout
    assert "sm_90" in result.stdout


def test_verify_shows_a_finding_with_its_line_and_a_caret(llm):
    text = RIGHT.read_text().replace("add.s32", "add.s23")
    (llm.root / "bad.ptx").write_text(text)
    result = llm("verify", str(llm.root / "bad.ptx"), "--routine", "add", "--dtype", "int32")
    assert result.exit_code == 1
    number = next(n for n, line in enumerate(text.split("\n"), start=1) if "add.s23" in line)
    lines = result.stdout.split("\n")
    place = next(n for n, line in enumerate(lines) if f"bad.ptx:{number}:" in line)
    column = lines[place + 1].index("add.s23")
    assert lines[place + 2].index("^") == column
    assert "reproduce: llmptx verify" in result.stdout
    assert "FAIL numpy.add int32" in result.stdout


def test_verify_reads_standard_input_and_writes_json(llm):
    result = llm("verify", "-", "--routine", "add", "--dtype", "int32", "--json", input="not PTX at all")
    assert result.exit_code == 1
    verdict = json.loads(result.stdout)
    assert verdict["schema"] == "llmptx/verdict/1"
    assert verdict["findings"][0]["kind"] == "parse"


def test_verify_shows_no_control_character_of_the_text(llm):
    text = RIGHT.read_text().replace("add.s32", "add.s32\x1b[2J")
    result = llm("verify", "-", "--routine", "add", "--dtype", "int32", input=text)
    assert result.exit_code == 1
    assert "\x1b" not in result.output


def test_a_file_that_is_not_text_is_a_finding_not_a_traceback(llm):
    result = llm("verify", "-", "--routine", "add", "--dtype", "int32", input=bytes(range(256)))
    assert result.exit_code == 1
    assert "parse" in result.stdout


def test_rewrite_is_a_job_that_ends_in_records_and_a_report(llm):
    result = llm("rewrite", "numpy.negative", "--dtype", "int32", "--level", "quick", "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert [item["status"] for item in data["summary"]["items"]] == ["passed"]
    assert (llm.root / "report.html").read_text().count('<details class="row">') == 1
    assert [r.routine for r in Corpus(llm.root / "corpus/records.jsonl")] == ["numpy.negative"]
    shown = json.loads(llm("jobs", "show", "1", "--json").stdout)
    assert shown["states"] == {"done": 1}
    listed = llm("jobs", "list")
    assert "offline" in listed.stdout
    again = llm("jobs", "resume", "1")
    assert again.exit_code == 0
    assert "1 passed" in again.stdout


def test_ctrl_c_says_how_to_go_on(llm, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("llmptx.jobs.run", interrupted)
    result = llm("rewrite", "negative", "--dtype", "int32")
    assert result.exit_code == 130
    assert "llmptx jobs resume 1" in result.stderr
    assert json.loads(llm("jobs", "list", "--json").stdout)[0]["states"] == {"pending": 1}


def test_a_spent_budget_and_a_rejection_have_their_exit_codes(llm, monkeypatch):
    from llmptx.jobs import ItemResult, Summary

    item = ItemResult("numpy.exp", "float32", 0, "rejected", "mismatch: \x1b[31m", 4, 4, 0.5, 1.0, "", None)
    for spent, code in ((True, 3), (False, 1)):
        summary = Summary((item,), 4, 0.5, 1.0, budget_spent=spent)
        monkeypatch.setattr("llmptx.jobs.run", lambda *a, s=summary, **k: s)
        result = llm("rewrite", "exp", "--dtype", "float32")
        assert result.exit_code == code
        assert "rejected numpy.exp float32: mismatch: \\x1b[31m" in result.stdout


def test_an_endpoint_that_refuses_ends_with_4_and_keeps_the_job(llm):
    result = llm(
        "rewrite", "exp", "--dtype", "float32", "--model", "m", "--base-url", "http://127.0.0.1:9/v1"
    )
    assert result.exit_code == 4, result.output
    assert "127.0.0.1:9" in result.output
    assert json.loads(llm("jobs", "list", "--json").stdout)[0]["job"] == 1


@pytest.mark.parametrize(
    "args",
    [
        ("verify", str(RIGHT), "--routine", "add", "--dtype", "int32"),
        ("rewrite", "exp", "--dtype", "float32"),
    ],
)
def test_without_a_gpu_cuda_is_refused_before_anything_is_tried(llm, monkeypatch, args):
    monkeypatch.setattr("llmptx.run.cuda.available", lambda: False)
    result = llm(*args, "--device", "cuda")
    assert result.exit_code == 5
    assert "llmptx[gpu]" in result.stderr
    assert not (llm.root / ".llmptx").exists()


def test_a_budget_without_a_price_is_refused(llm):
    result = llm("rewrite", "exp", "--model", "gpt-x", "--budget", "1")
    assert result.exit_code == 2
    assert "price" in result.stderr


def test_jobs_are_submitted_from_a_file_and_cancelled(llm):
    file = llm.root / "job.jsonl"
    file.write_text('{"routine": "numpy.exp", "dtype": "float32"}\n{"routine": "numpy.sum"}\n')
    assert json.loads(llm("jobs", "submit", str(file), "--json").stdout) == {"job": 1, "items": 5}
    assert llm("jobs", "cancel", "1").exit_code == 0
    assert json.loads(llm("jobs", "list", "--json").stdout)[0]["cancelled"] is True
    file.write_text('{"routine": "numpy.exp"\n')
    broken = llm("jobs", "submit", str(file))
    assert broken.exit_code == 2
    assert "job.jsonl:1" in broken.stderr
    assert llm("jobs", "show", "7").exit_code == 2


def test_review_lists_shows_approves_and_rejects(llm, make_record):
    hash = _file(llm, make_record(outcomes=(False, True)))
    assert hash[:12] in llm("review", "list").stdout
    shown = llm("review", "show", hash[:8])
    assert "out[i]" in shown.stdout
    assert "round 1   mismatch" in shown.stdout
    assert "mov.u64 %rd1" in shown.stdout
    assert llm("review", "approve", hash[:8], "--reviewer", "ada").exit_code == 0
    assert (llm.root / "verified/numpy/exp/float32.ptx").exists()
    assert llm("review", "list").exit_code == 1
    assert json.loads(llm("review", "list", "--all", "--json").stdout)[0]["review"]["reviewer"] == "ada"
    assert llm("review", "reject", hash[:8], "--reason", "no").exit_code == 0
    assert not (llm.root / "verified/numpy/exp/float32.ptx").exists()
    assert llm("review", "approve", "ffffffff").exit_code == 2
    assert llm("review", "reject", hash[:8]).exit_code == 2


def test_there_is_no_bulk_approval(llm, make_record):
    hashes = [_file(llm, make_record(number=n)) for n in (1, 2)]
    assert llm("review", "approve", *hashes).exit_code == 2
    assert llm("review", "approve", "--all").exit_code == 2
    assert not (llm.root / "verified").exists()


def test_review_show_leaves_comments_out_unless_asked(llm, make_record):
    text = (
        make_record().attempts[0].candidate.text.replace("    ret;", "    /* trust\nme */ ret; // please\n")
    )
    hash = _file(llm, make_record(text=text))
    shown = llm("review", "show", hash).stdout
    assert "trust" not in shown
    assert "please" not in shown
    assert "//@ launch" in shown
    assert "please" in llm("review", "show", hash, "--comments").stdout


def test_corpus_commands(llm, make_record):
    assert llm("corpus", "stats").exit_code == 1
    _file(
        llm,
        make_record(number=1),
        make_record(number=2, outcomes=(False, True)),
        make_record(number=3, terms="unknown"),
    )
    assert json.loads(llm("corpus", "stats", "--json").stdout)["records"] == 3
    assert llm("corpus", "check").exit_code == 0
    assert "0 doubles" in llm("corpus", "dedup", "--out", str(llm.root / "d.jsonl")).stdout
    assert len(Corpus(llm.root / "d.jsonl").read()[0]) == 3
    out = llm.root / "sft.jsonl"
    assert "1 records left out" in llm("corpus", "export", "--out", str(out)).stdout
    assert [json.loads(line)["routine"] for line in out.read_text().splitlines()] == ["numpy.exp"] * 2
    assert llm("corpus", "export", "--format", "repair", "--out", str(out)).exit_code == 0
    assert len(out.read_text().splitlines()) == 1
    with (llm.root / "corpus/records.jsonl").open("a") as file:
        file.write('{"schema": "llmptx/rec')
    broken = llm("corpus", "check")
    assert broken.exit_code == 1
    assert "records.jsonl:4: not JSON" in broken.stdout


def test_export_package_takes_what_is_approved(llm, make_record):
    hash = _file(llm, make_record())
    out = llm.root / "vk"
    assert llm("export", "package", "--name", "vk", "--out", str(out)).exit_code == 2
    llm("review", "approve", hash, "--reviewer", "ada")
    result = llm("export", "package", "--name", "vk", "--out", str(out), "--json")
    assert json.loads(result.stdout)["routines"] == ["numpy.exp"]
    assert (out / "pyproject.toml").exists()
    assert llm("export", "package", "--name", "vk", "--out", str(out), "numpy.sum").exit_code == 2


def test_doctor_names_what_is_needed(llm):
    result = llm("doctor", "--json")
    facts = {fact["name"]: fact for fact in json.loads(result.stdout)}
    assert facts["ptxas"]["needed"]
    assert facts["llvmlite"]["found"]
    assert "KEY" in facts["model openai"]["what"]
    assert result.exit_code == 0


def test_doctor_says_what_keeps_a_candidate_apart(llm, monkeypatch):
    held = {"no network": True, "limits": True, "system calls filtered": False}
    monkeypatch.setattr("llmptx.run.confine.measures", lambda: held)
    facts = {fact["name"]: fact for fact in json.loads(llm("doctor", "--json").stdout)}
    assert facts["isolation"]["what"] == "no network; limits; not here: system calls filtered"
    assert not facts["isolation"]["found"]


def test_doctor_says_whether_kernels_are_proved(llm, monkeypatch):
    import importlib.metadata as metadata

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    facts = {fact["name"]: fact for fact in json.loads(llm("doctor", "--json").stdout)}
    assert not facts["z3"]["found"]
    assert "llmptx[proofs]" in facts["z3"]["what"]


def test_doctor_says_5_where_ptxas_is_missing(llm, monkeypatch):
    import llmptx.toolchain.ptxas as toolchain

    toolchain.version.cache_clear()
    monkeypatch.setattr(toolchain, "find_ptxas", lambda: None)
    result = llm("doctor")
    toolchain.version.cache_clear()
    assert result.exit_code == 5
    assert "pip install nvidia-cuda-nvcc" in result.stdout


def test_help_is_cheap_and_imports_nothing_heavy():
    code = (
        "import sys, time; from llmptx.cli import main\n"
        "try: main(['--help'], prog_name='llmptx')\n"
        "except SystemExit: pass\n"
        "heavy = 'numpy', 'scipy', 'rich', 'openai', 'llvmlite', 'jinja2', 'pydantic'\n"
        "print(sorted(m for m in heavy if m in sys.modules))\n"
        "print(time.process_time())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        for _ in range(3)
    ]
    assert runs[0][-2] == "[]"
    assert min(float(run[-1]) for run in runs) < 0.2


def test_python_m_is_the_same_program():
    done = subprocess.run(
        [sys.executable, "-m", "llmptx", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"llmptx, version {llmptx.__version__}\n"
