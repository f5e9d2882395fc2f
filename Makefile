# Each target sets up what it needs, once: a virtual environment in .venv from hashed lock files.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
BENCH  := .bench-venv
PEERS  := .peers-venv
FAILOVER := .failover-venv
TF     := .tf-venv
PROMPT ?=
ROUNDS ?= 3

.DEFAULT_GOAL := help
.PHONY: help run test test-peers test-transformers fuzz explore chaos check format bench failover-bench schema lock wheel clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# A stamp is newer than the lock file that was installed: a changed lock file is noticed, and nothing else is.
$(VENV)/.run: requirements/run.txt
	@sh scripts/setup.sh $(PYTHON) $(VENV) requirements/run.txt $@

$(VENV)/.dev: requirements/dev.txt
	@sh scripts/setup.sh $(PYTHON) $(VENV) requirements/dev.txt $@

$(BENCH)/.bench: requirements/bench.txt
	@sh scripts/setup.sh $(PYTHON) $(BENCH) requirements/bench.txt $@

$(PEERS)/.peers: requirements/peers.txt
	@sh scripts/setup.sh $(PYTHON) $(PEERS) requirements/peers.txt $@

$(FAILOVER)/.failover: requirements/failover.txt
	@sh scripts/setup.sh $(PYTHON) $(FAILOVER) requirements/failover.txt $@

$(TF)/.locked: requirements/transformers.txt
	@sh scripts/setup.sh $(PYTHON) $(TF) requirements/transformers.txt $@

$(TF)/.torch: $(TF)/.locked scripts/install_torch.sh
	@sh scripts/install_torch.sh $(TF) $@

run: $(VENV)/.run  ## talk to a model; one answer with PROMPT="…"
	@$(BIN)/python -m modules.chat $(if $(PROMPT),"$$PROMPT")

export PROMPT

test: $(VENV)/.dev  ## run the tests
	@$(BIN)/python -m pytest -n auto -q $(ARGS)

test-peers: $(VENV)/.dev $(PEERS)/.peers  ## start llama.cpp and LiteLLM, talk to them, stop them (740 MB once)
	@CORE_LLM_PEERS=$(PEERS) $(BIN)/python -m pytest -q tests/peers $(ARGS)

test-transformers: $(TF)/.torch  ## run a small model in transformers and torch (1 GB once); FULL=1 for all of it
	@CORE_LLM_TRANSFORMERS=$(if $(FULL),all,1) $(TF)/bin/python -m pytest -n 2 -q tests/transformers $(ARGS)

fuzz: $(VENV)/.dev  ## throw 100,000 broken frames at each framing
	@CORE_LLM_FUZZ=100000 $(BIN)/python -m pytest -q -n 2 tests/fuzz $(ARGS)

explore: $(VENV)/.dev  ## run the property tests with inputs that no run has tried; ROUNDS=20
	@for round in $$(seq $(ROUNDS)); do \
	  echo "round $$round of $(ROUNDS)"; \
	  $(BIN)/python -m pytest -q -n 2 -m hypothesis --hypothesis-profile=explore $(ARGS) || exit 1; \
	done

chaos: $(VENV)/.dev  ## storms, crowds and crashes in real time, six minutes; ARGS="soak --seconds 3600"
	@$(BIN)/python -m tests.chaos.suites $(ARGS)

check: $(VENV)/.dev  ## format, lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/architecture

format: $(VENV)/.dev  ## rewrite the files in the project's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(BENCH)/.bench  ## measure beside bare aiohttp, the openai SDK and LiteLLM
	@$(BENCH)/bin/python -m scripts.bench $(ARGS)

failover-bench: $(FAILOVER)/.failover  ## sixteen failures beside the openai SDK, LiteLLM and LangChain
	@$(FAILOVER)/bin/python -m scripts.failover_bench $(ARGS)

schema: $(VENV)/.dev  ## write config/llm.schema.json and docs/configuration-keys.md from the configuration classes
	@$(BIN)/python -m scripts.generate_schema
	@$(BIN)/python -m scripts.config_reference

lock: $(VENV)/.dev  ## resolve the lock files anew
	@sh scripts/lock.sh $(BIN)

wheel: $(VENV)/.dev  ## build the distribution into dist/
	@$(BIN)/python -m pip wheel -q --no-deps -w dist .

clean:  ## remove everything that was generated
	rm -rf $(VENV) $(BENCH) $(PEERS) $(FAILOVER) $(TF) dist build bench-results .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
