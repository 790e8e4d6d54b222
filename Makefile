# Everything a developer or CI runs. `make demo` and `make test` set up what they need.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN = $(VENV)/bin
OLDEST = $(VENV)-oldest
# Most of a test is waiting for Ray to start and for processes to end.
BESIDE = -n $(JOBS)
JOBS ?= 2

.PHONY: help demo test test-all test-oldest testbed lint types layers docs format bench clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */: /' | awk -F': ' '{printf "make %-10s %s\n", $$1, $$2}'

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(OLDEST)/.test: pyproject.toml tests/oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint tests/oldest.txt --editable '.[test]'
	@touch $@

demo: $(VENV)/.demo ## run the example on this machine; DIR=path keeps it there
	$(BIN)/dvc-ray demo $(DIR)

test: $(VENV)/.dev ## the tests that CI runs
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest -m "not full" --durations 10 $(BESIDE) $(ARGS)

test-all: $(VENV)/.dev ## all tests
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest $(BESIDE) $(ARGS)

test-oldest: $(OLDEST)/.test ## the core of them, on the oldest supported DVC, DVCLive and Ray
	PATH="$(abspath $(OLDEST)/bin):$$PATH" $(OLDEST)/bin/python -m pytest -m "core and not full" --ignore tests/live \
		--deselect tests/test_exp.py::test_two_at_the_same_time \
		-W ignore::DeprecationWarning -W ignore::FutureWarning $(ARGS)

testbed: $(VENV)/.dev ## hosts that share no disk, to play in; needs root
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m tests.testbed

lint: $(VENV)/.dev ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy, strict
	$(BIN)/mypy

layers: $(VENV)/.dev ## which room may import which
	PYTHONPATH=src $(BIN)/lint-imports

format: $(VENV)/.dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## all benchmarks, stock DVC and ours interleaved
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m benchmarks

clean: ## remove what make has made
	rm -rf $(VENV) $(OLDEST) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
