# make demo    see the whole path work          make check   lint, format and types
# make test    every test                       make bench   the engine and its peers side by side
# make fuzz    a million rounds                 make clean   take away everything that make made
#
# PYTHON=... chooses the interpreter (3.11 or later), ARGS=... is handed to pytest, bench or demo.

.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
FUZZ_ROUNDS ?= 1000000
ARGS ?=

.PHONY: help demo test check bench fuzz clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed '/^$$/d'

demo: $(VENV)/.installed
	@$(BIN)/pktpath demo $(ARGS)

test: $(VENV)/.tested-with
	@$(BIN)/python tests/support/warm.py
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

check: $(VENV)/.tested-with
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.tested-with
	@$(BIN)/pktpath bench $(or $(ARGS),all --markdown bench/RESULTS.md)

fuzz: $(VENV)/.tested-with
	PKTPATH_FUZZ_ROUNDS=$(FUZZ_ROUNDS) $(BIN)/python -m pytest -m fuzz -s $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -prune -exec rm -rf {} +

# The environment: a first Python that really runs, then pktpath, then what tests need besides.

$(VENV)/.made:
	@.ci/venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml
	@echo "installing pktpath and what it needs into $(VENV) ..."
	@$(PIP) --editable .
	@touch $@

$(VENV)/.tested-with: $(VENV)/.installed
	@echo "installing what the tests need into $(VENV) ..."
	@$(PIP) --editable '.[dev]'
	@touch $@
