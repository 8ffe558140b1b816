# Needs Python 3.11 or newer and make; everything else is installed into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help quickstart test check docs proofs clean

help:
	@echo "make quickstart  install, then make a specialist of Python's standard library and prove that it is one"
	@echo "make test        install, then run all tests"
	@echo "make check       format, lint, types, import layers"
	@echo "make docs        write the pages of methods and the README's table of evidence"
	@echo "make proofs      run every full proof and store its evidence"

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("metier needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@ $(VENV)/.installed

quickstart: $(VENV)/.installed
	$(BIN)/metier run quickstart

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/make.py --check

docs: $(VENV)/.installed-dev
	$(BIN)/python docs/make.py

proofs: $(VENV)/.installed-dev
	for file in $$(cd proofs && find . -mindepth 2 -name '*.py' | sort); do \
		name=$$(echo $$file | sed 's|^\./||; s|\.py$$||; s|/|.|g'); $(BIN)/metier prove $$name || exit 1; done

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
