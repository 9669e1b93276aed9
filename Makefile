# Every target makes the environment it needs, once: .venv, from pyproject.toml.
#   make quickstart   the whole story on a built-in world, offline, on a CPU
#   make test         the tests (CPU, offline, minutes)
#   make check        lint, format, types, layers, sizes, links: what must be clean before a commit
#   make test-slow    the tests that take longer
#   make docs         the documentation site, with search, in build/site
#   make bench        speed and memory, with their bounds
#   make clean        remove caches and build outputs (not .venv, not runs/)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
WORKERS ?= 2
PYTEST := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-slow check docs bench clean

help:
	@sed -n '2,8s/^#   //p' Makefile

quickstart: $(VENV)/.core
	@$(BIN)/plaudit quickstart

test: $(VENV)/.dev
	@$(PYTEST) -n $(WORKERS) --dist loadfile

test-slow: $(VENV)/.dev
	@$(PYTEST) -n $(WORKERS) --dist loadfile -m "slow and not gpu and not network"

check: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyrefly check --progress-bar no
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/python .ci/sizes.py
	@$(BIN)/python .ci/links.py

docs: $(VENV)/.dev
	@$(BIN)/python docs/build_site.py

bench: $(VENV)/.dev
	@for script in benchmarks/bench_*.py; do echo "$$script"; $(BIN)/python "$$script" || exit 1; done

clean:
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .pyrefly_cache .import_linter_cache
	find src tests benchmarks examples docs -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "plaudit needs Python 3.11 or newer; name one: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(BIN)/pip
	@echo "installing plaudit into $(VENV) (once; a minute or two and 2 GB, most of it torch) …"
	@$(PIP) install --quiet -e .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/pip
	@echo "installing plaudit with its development tools into $(VENV) (once; a minute or two) …"
	@$(PIP) install --quiet -e '.[dev]'
	@touch $(VENV)/.core $@
