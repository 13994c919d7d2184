# Everything that is done with this tree is a target here; CI, README and CONTRIBUTING call these and nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# The uv that is installed, or else one of our own: `make` needs Python 3.11, make and a C/C++ compiler, no more.
OWN_UV := .build/uv/bin/uv
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo $(OWN_UV))
RUN := $(UV) run --no-sync
TESTS ?= tests docs/examples
GATE_VERSIONS ?= latest 2.1.197
ARGS ?=

.PHONY: help install serve claude test conformance fuzz e2e gate cov branches lint fmt types layers bench tasks simulate docs build bump all

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: | $(UV) ## Install everything into .venv, in the versions of uv.lock (compiles llama.cpp the first time)
	$(UV) sync --locked

serve: install ## Serve the Messages API on this machine; options: make serve ARGS="--port 9000"
	$(RUN) pensieve-server $(ARGS)

claude: install ## Start Claude Code on a model of this machine; options: make claude ARGS="-- -p 'Say hello.'"
	$(RUN) pensieve-server claude $(ARGS)

test: | .venv ## Run the tests that are quick; some of them: make test TESTS=tests/cli ARGS="-k banner"
	$(RUN) pytest -m "not e2e and not coder and not gate" $(TESTS) $(ARGS)

conformance: | .venv ## Run the tests that hold the server to the Messages API, record by record
	$(RUN) pytest -m "not e2e and not coder and not gate" tests/conformance $(ARGS)

fuzz: | .venv ## Send 2,000 requests made of /openapi.json, read 10,000 damaged GGUF headers; others: make fuzz SEED=random
	PENSIEVE_GENERATED_REQUESTS=2000 $(RUN) pytest tests/http/test_generated_requests.py --hypothesis-seed=$(or $(SEED),1) $(ARGS)
	PENSIEVE_MUTATED_HEADERS=10000 $(RUN) pytest tests/registry/test_mutated_headers.py --hypothesis-seed=$(or $(SEED),1) $(ARGS)

e2e: | .venv ## Run the tests that start real servers and real clients
	$(RUN) pytest -m "e2e and not coder" $(TESTS) $(ARGS)

gate: | .venv ## Play the release gate: Claude Code, the newest and 2.1.197, with -p and in its terminal; a table at the end
	@command -v npm >/dev/null || { echo "The gate needs npm (it installs Claude Code into .build): nodejs.org"; exit 1; }
	@command -v tmux >/dev/null || { echo "The gate needs tmux (Debian, Ubuntu: apt install tmux; macOS: brew install tmux)"; exit 1; }
	PENSIEVE_GATE_VERSIONS="$(GATE_VERSIONS)" $(RUN) pytest -m gate tests/e2e/gate $(ARGS)

cov: | .venv ## Run both with coverage, and fail below the threshold of pyproject.toml
	$(RUN) pytest -m "not coder and (e2e or not gate)" --cov --cov-report=term:skip-covered $(TESTS) $(ARGS)

PURE = core protocol inference
COMMA := ,
SPACE := $(subst ,, )

branches: | .venv ## Hold the packages that compute nothing native to every branch, by their own tests and those of HTTP
	$(RUN) pytest -m "not model and not coder and not e2e" --cov --cov-report= --cov-fail-under=0 \
	  $(PURE:%=tests/%) tests/http tests/conformance $(ARGS)
	$(RUN) coverage report --fail-under=100 --include='$(subst $(SPACE),$(COMMA),$(PURE:%=*/pensieve_%/*))'

lint: | .venv ## Check style and formatting
	$(RUN) ruff check
	$(RUN) ruff format --check

fmt: | .venv ## Repair style and formatting as far as that can be done by a program
	$(RUN) ruff check --fix
	$(RUN) ruff format

types: | .venv ## Check types, strictly, in the packages and their tests
	MYPYPATH=$$(echo packages/*/src tests/benchmarks | tr ' ' ':') \
	  $(RUN) mypy --explicit-package-bases packages/*/src tests tools docs/examples/*/src docs/examples/*/tests

layers: | .venv ## Check that no package imports what it must not know
	$(RUN) lint-imports

bench: | .venv ## Compare with llama-server of the same llama.cpp (built once): make bench ARGS="--scenario list"
	$(RUN) python tests/benchmarks/bench.py $(ARGS)

tasks: | .venv ## Let Claude Code work on ten small tasks, on the Qwen coder and beside it on llama-server's (40 minutes)
	$(RUN) python tests/benchmarks/bench.py --scenario tasks --rounds 1 $(ARGS)

simulate: | .venv ## Play recorded sessions over scheduler and prefix tree, without a model: make simulate ARGS="--traces …"
	PYTHONPATH=tests/benchmarks $(RUN) python -m simulator $(ARGS)

docs: | .venv ## Write what is generated: the API reference, the page of divergences, the README's table of conformance
	$(RUN) python tools/api_reference.py
	PYTHONPATH=tests/conformance/src $(RUN) python -m conformance

build: | $(UV) ## Build the wheels and source archives of all seven packages into dist/
	$(UV) build --all-packages --quiet

bump: | .venv ## Give all seven packages another version: make bump VERSION=0.2.0
	$(RUN) python tools/bump.py $(VERSION)
	$(UV) lock

all: lint types layers cov build ## Do all that CI does

.venv: | $(UV)
	$(UV) sync --locked

# Where Python comes without venv (Debian has it in a package of its own), pip can still put uv into a folder.
$(OWN_UV):
	@echo "uv is not installed; fetching one for this tree alone, into .build/uv"
	@{ python3 -m venv .build/uv && .build/uv/bin/pip install --quiet uv; } \
	  || python3 -m pip install --quiet --target .build/uv uv \
	  || { echo "That needs python3 with venv or pip (Debian, Ubuntu: python3-venv), or an installed uv."; exit 1; }
