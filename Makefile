# Every chore of the project. `make demo` and `make test` need nothing before them but git, make and Python 3.11 or newer.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input  # -qq: errors alone
BENCHMARKS := $(filter-out benchmarks/timing.py,$(wildcard benchmarks/*.py))

.PHONY: help demo test slow bench docs lint format clean
.DEFAULT_GOAL := help

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP)  ## train a small network on digits, measure it before and after, write the page
	@$(BIN)/flexure examine

test: $(STAMP)  ## the tests, doctests included, without the slow ones
	@$(BIN)/python -m pytest --numprocesses 2 -m "not slow" --doctest-modules tests src

slow: $(STAMP)  ## the slow tests alone
	@$(BIN)/python -m pytest --numprocesses 2 -m slow tests

bench: $(STAMP)  ## time and memory against the peers, as ratios in one run
	@for file in $(BENCHMARKS); do echo "== $$file"; $(BIN)/python $$file || exit 1; done

docs: $(STAMP)  ## build the documentation and run its examples; every warning is an error
	@for builder in html doctest; do \
		$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --doctree-dir docs/_build/doctrees \
			--builder $$builder docs docs/_build/$$builder || exit 1; done
	@echo "docs/_build/html/index.html"

lint: $(STAMP)  ## what pre-commit runs too: format, lint, types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/pyrefly check

format: $(STAMP)  ## put the code into shape
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

clean:  ## remove the environment and everything that was built; run folders stay
	rm -rf $(VENV) .venv-extras build dist docs/_build .pytest_cache .ruff_cache .hypothesis .benchmarks
	find src tests benchmarks -name __pycache__ -type d -exec rm -rf {} +

# Torch goes first: left to itself, pip may pick another version of it for the rest and download gigabytes twice.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found; install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "creating $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing $(TORCH) and what pyproject.toml asks for into $(VENV) (a few minutes the first time)"
	@$(PIP) install --constraint constraints.txt $(TORCH)
	@$(PIP) install --constraint constraints.txt --editable ".[dev]"
	@touch $@
