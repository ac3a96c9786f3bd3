# make lab    install into .venv and run the embedded world: a listener, upstreams, rogues that get refused
# make test   install into .venv and run the tests
# The rest is for people who change the code; see CONTRIBUTING.md.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: help lab test lint types bench soak clean

help:
	@sed -n 's/^# \(make .*\)/  \1/p' Makefile
	@echo '  make lint, make types, make bench, make soak, make clean'

# What a user installs, and what a developer installs on top.
.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/developing: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# ARGS=--once ends after the gallery.
lab: .venv/installed
	$(BIN)/stubresolver lab $(ARGS)

# ARGS='-k name' and the like reach pytest.
test: .venv/developing
	$(BIN)/python -m pytest $(ARGS)

lint: .venv/developing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/developing
	$(BIN)/mypy

bench: .venv/developing
	$(BIN)/python -m bench $(ARGS)

soak: .venv/developing
	$(BIN)/python -m bench.soak $(ARGS)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
