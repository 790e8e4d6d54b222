# Everything a developer or CI runs. `make demo` and `make test` set up what they need.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: help demo test test-all lint types layers docs format bench clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */: /' | awk -F': ' '{printf "make %-10s %s\n", $$1, $$2}'

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(VENV)/.demo ## run the example on this machine; DIR=path keeps it there
	$(BIN)/dvc-ray demo $(DIR)

test: $(VENV)/.dev ## the tests that CI runs
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest -m "not full" $(ARGS)

test-all: $(VENV)/.dev ## all tests
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest $(ARGS)

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
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
