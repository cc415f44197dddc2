# make demo   installs into .venv and shows ToolOrch at work
# make test   installs the development tools, then lint, types and tests
# make test-all  the tests of each trainer and of a real language model, too, in virtual environments of their own
# make docs   builds the documentation into site/, warnings are errors
# make check  lint, types and tests with what is installed

PYTHON ?= python3
# Stable-Baselines3 needs torch. It is installed first and by itself: choose another build here if you have one.
TORCH ?= torch==2.13.0
# The published benchmark, for the tests of its importer: without what it pins and its back ends do not need.
BFCL ?= bfcl-eval==2026.3.23
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo docs test test-all check format clean

demo: $(VENV)/.installed
	$(BIN)/toolorch demo

test: $(VENV)/.dev
	$(MAKE) check

test-all: test
	TORCH='$(TORCH)' $(BIN)/nox

docs: $(VENV)/.dev
	$(BIN)/mkdocs build --strict

check:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

format:
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ToolOrch needs Python 3.11 or newer; say which with make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check '$(TORCH)'
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps '$(BFCL)'
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
