# Sets itself up: needs Python 3.11+, git and make, nothing else. Everything it installs is in .venv.

PYTHON ?= $(firstword $(foreach p,python3.13 python3.12 python3.11 python3,$(if $(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo yes),$(p))))
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test slow check docs bench exhaustive gpu-evidence clean

## demo: rewrite every routine of the catalogue with the offline model, judge the kernels, and report
demo: $(VENV)/core
	$(BIN)/llmptx --workspace demo rewrite '*' --dtype float32 --dtype int32
	@echo "The report is demo/report.html"

## test: the whole suite but what is marked slow or needs a GPU
test: $(VENV)/dev
	$(BIN)/python -m pytest -n auto -m "not slow"

## slow: what takes minutes
slow: $(VENV)/dev
	$(BIN)/python -m pytest -m slow

## check: lint, format, strict types, import contracts
check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

## docs: the pages that are made from the code
docs: $(VENV)/dev
	$(BIN)/python -m llmptx.isa.page > docs/isa.md

## bench: the engine's speed beside numpy, C, its checked mode and one core, and compile times, in one run
bench: $(VENV)/dev
	$(BIN)/python benchmarks/engine.py

## exhaustive: every float32 through five kernels, and through numpy's own functions as a control; minutes
exhaustive: $(VENV)/dev
	$(BIN)/python benchmarks/exhaustive.py

## gpu-evidence: what an NVIDIA GPU says of the engine, as JSON in docs/evidence; exits 5 where there is none
gpu-evidence: $(VENV)/dev
	@! nvidia-smi -L >/dev/null 2>&1 || $(PIP) --editable '.[dev,gpu]'
	$(BIN)/python benchmarks/evidence.py

clean:
	rm -rf $(VENV) demo

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: set PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/core: pyproject.toml | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/dev: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/core
