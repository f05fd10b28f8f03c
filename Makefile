# Everything runs in .venv, made from requirements.lock by whichever command comes first.
PYTHON ?= python3.11
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test lint format clean publish docs

repro: .venv/installed            ## run the pipeline: only what changed
	dvc repro

test: .venv/installed             ## run the whole test suite
	pytest

lint: .venv/installed             ## ruff and mypy, as continuous integration does
	ruff check . && ruff format --check . && mypy

format: .venv/installed           ## let ruff put the code in order
	ruff check --fix . && ruff format .

docs: .venv/installed             ## make docs/parameters.md from the dataclasses
	python -m stages.docs docs/parameters.md

publish: .venv/installed          ## store a clean, committed run in published/
	python -m stages.publish

clean:                            ## remove the environment and unfinished work; finished work stays in DVC's cache
	rm -rf .venv .dvc/tmp/pairloop .mypy_cache .ruff_cache .pytest_cache

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
