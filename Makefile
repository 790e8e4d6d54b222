# Everything a developer or CI runs. `make demo` and `make test` set up what they need.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN = $(VENV)/bin
OLDEST = $(VENV)-oldest
NEWEST = $(VENV)-newest
# The newest Python that dvc-ray supports; the one after it if that is all there is. Another one: NEWEST_PYTHON=path.
NEWEST_PYTHON ?= $(shell tools/find-python 3.13 3.14)
# Not from the metadata of the editable install, which has the version of the day when it was installed.
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' src/dvc_ray/_version.py)
PIP = -m pip --quiet --disable-pip-version-check
# Most of a test is waiting for Ray to start and for processes to end.
BESIDE = -n $(JOBS)
JOBS ?= 2

# Needs neither torch nor a remote: also run on the oldest supported packages and on the newest Python.
CORE = -m "core and not full" --ignore tests/live --deselect tests/test_exp.py::test_two_at_the_same_time

.PHONY: help demo test test-third test-all test-oldest test-newest newest-python testbed lint types layers docs reference format bench coverage \
	changelog changelog-draft release-check clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */: /' | awk -F': ' '{printf "make %-15s %s\n", $$1, $$2}'

$(VENV)/.demo: pyproject.toml tests/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) install --constraint tests/constraints.txt --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.demo
	$(BIN)/python $(PIP) install --constraint tests/constraints.txt --editable '.[dev]'
	@touch $@

$(OLDEST)/.test: pyproject.toml tests/oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python $(PIP) install --constraint tests/oldest.txt --editable '.[test]'
	@touch $@

$(NEWEST)/.test: pyproject.toml
	@[ -n "$(NEWEST_PYTHON)" ] || { echo "no Python 3.13 or 3.14 found: install one, or name it, NEWEST_PYTHON=path" >&2; exit 1; }
	$(NEWEST_PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python $(PIP) install --editable '.[test]'
	@touch $@

demo: $(VENV)/.demo ## run the example on this machine; DIR=path keeps it there
	$(BIN)/dvc-ray demo $(DIR)

test: $(VENV)/.dev ## the tests that CI runs
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest -m "not full" --durations 10 $(BESIDE) $(ARGS)

test-third: $(VENV)/.dev ## of the slow ones those with hosts, and a third of the rest, another one at each commit
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest -m full --third auto --durations 20 $(BESIDE) $(ARGS)

test-all: $(VENV)/.dev ## all tests
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest $(BESIDE) $(ARGS)

test-oldest: $(OLDEST)/.test ## the core of them, on the oldest supported DVC, DVCLive and Ray
	PATH="$(abspath $(OLDEST)/bin):$$PATH" $(OLDEST)/bin/python -m pytest $(CORE) \
		-W ignore::DeprecationWarning -W ignore::FutureWarning $(ARGS)

test-newest: $(NEWEST)/.test ## the same, on the newest Python with the newest DVC, DVCLive and Ray
	PATH="$(abspath $(NEWEST)/bin):$$PATH" $(NEWEST)/bin/python -m pytest $(CORE) $(ARGS)

newest-python:
	@echo $(NEWEST_PYTHON)

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

docs: $(VENV)/.dev ## the documentation as a site, in site/; to read it: python -m http.server -d site
	@# Not --quiet: warnings that are not shown are not counted, and --strict counts them.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

reference: $(VENV)/.dev ## docs/reference/cli.md from --help
	$(BIN)/python -m tests.make_reference

bench: $(VENV)/.dev ## all benchmarks, stock DVC and ours interleaved
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m benchmarks

coverage: $(VENV)/.dev ## which lines and branches `make test` runs, by room; subprocesses and Ray's workers count
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m tools.coverage_table -m "not full" $(BESIDE) $(ARGS)

changelog-draft: $(VENV)/.dev ## print what the next release's section of CHANGELOG.md will say
	$(BIN)/towncrier build --draft --version "$(VERSION)"

changelog: $(VENV)/.dev ## write that section, and remove the fragments that it is made of
	$(BIN)/towncrier build --yes --version "$(VERSION)"

release-check: $(VENV)/.dev ## build what is released, install it in an empty environment, run it there beside stock DVC
	$(BIN)/python -m tools.release_check

clean: ## remove what make has made
	rm -rf $(VENV) $(OLDEST) $(NEWEST) dist site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
