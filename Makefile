# Every target installs what it needs. A fresh machine needs only Python 3.11 or later.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# An extra index from which pip installs torch; by default none. On Linux, PyTorch's CPU index has a small CPU build.
TORCH_INDEX_URL ?=
PORT ?= 50051
HOST ?= 127.0.0.1
DATA ?=
ROUNDS ?= 5
# Processes that share the tests, file by file; each may take 2 GiB. 0 runs them in one.
WORKERS ?= 2
# Further arguments for pytest in `make test` and `make check`: ARGS="tests/schemas -k dialect -x".
ARGS ?=
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
# The folder in which the speed benchmarks save their results.
BENCHED ?= build/bench/found
TOOLS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test golden serve check format proto proto-release json-schemas ns bench bench-gpu bench-quick peers
.PHONY: docs eval train fuzz sbom audit licences clean
# How long `make fuzz` runs each target.
MINUTES ?= 10

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready ## create a virtual environment with everything to run, test and develop

$(VENV)/.ready: pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up $(VENV) (torch is the large part of it; see README.md for sizes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt $(if $(TORCH_INDEX_URL),--extra-index-url $(TORCH_INDEX_URL)) torch
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[serve,hub,dev]'
	@touch $@

demo: setup ## start a real server with the built-in model, send it four requests, and stop it
	@$(BIN)/python examples/demo.py

test: setup ## run all tests, or what ARGS= says: options, files and folders for pytest
	@$(PYTEST) $(ARGS)

golden: setup ## compare a real server's answers with the golden ones (WRITE=1 replaces them)
	@$(BIN)/python tests/golden/golden.py $(if $(WRITE),--write)

serve: setup ## run the server (HOST=, PORT=)
	@$(BIN)/shortlist serve --host $(HOST) --port $(PORT)

check: setup ns ## format, lint, types, and the tests with their coverage: what a commit must pass
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python docs/check_links.py
	@$(PYTEST) --cov $(ARGS)

format: setup ## format the code and apply the linter's automatic fixes
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

ns: ## link the packages as build/ns/shortlist/* for type checkers and editors
	@mkdir -p build/ns/shortlist
	@rm -f build/ns/shortlist/*
	@ln -sfn ../../../shortlist/__init__.py build/ns/shortlist/__init__.py
	@for name in $(filter-out shortlist,$(patsubst %/__init__.py,%,$(wildcard */__init__.py))); do \
		ln -sfn ../../../$$name build/ns/shortlist/$$name; \
	done
	@ln -sfn ../../../proto/shortlist/v1 build/ns/shortlist/v1

# 1.65 is the last generator whose stubs do not check the protobuf runtime's version, so they work with all supported ones.
proto: ## regenerate the stubs from proto/
	@test -x build/protoc/bin/python || { $(PYTHON) -m venv build/protoc && build/protoc/bin/pip install --quiet 'grpcio-tools==1.65.5' 'setuptools<80'; }
	@build/protoc/bin/python -m grpc_tools.protoc -I proto --python_out=proto --pyi_out=proto --grpc_python_out=proto proto/shortlist/v1/router.proto

proto-release: setup ## record the current proto as released; later versions must stay compatible with it
	@$(BIN)/buf build proto --exclude-source-info --output proto/released.binpb

json-schemas: setup ns ## regenerate schemas/json/ from the proto, the settings and the classes
	@PYTHONPATH=build/ns $(BIN)/python proto/json_schemas.py

# The fuzzer is installed under build/, outside the virtual environment, because development and releases do not need it.
fuzz: setup ns ## fuzz the parsers for MINUTES= each (TARGETS=); logs and inputs that fail are in build/fuzz
	@test -d build/fuzz/tool/atheris || $(BIN)/python -m pip install --quiet --target build/fuzz/tool 'atheris>=3,<4'
	@for target in $(or $(TARGETS),tools tables messages bodies chunks statuses); do \
		echo "fuzzing $$target for $(MINUTES) minutes"; \
		PYTHONPATH=build/ns:build/fuzz/tool $(BIN)/python tests/fuzz/run.py $$target --seconds $$(($(MINUTES) * 60)) \
			2> build/fuzz/$$target.log && grep ::number_of build/fuzz/$$target.log || { tail -n 40 build/fuzz/$$target.log; exit 1; }; \
	done

# Tools that inspect what is shipped; they have a separate environment so that they are not counted as shipped.
build/supply/.ready:
	@$(PYTHON) -m venv --clear build/supply
	@build/supply/bin/python -m pip install --quiet 'cyclonedx-bom>=7,<8' 'pip-audit>=2.9,<3'
	@touch $@

sbom: setup build/supply/.ready ## write build/sbom.json, the server's bill of materials, in CycloneDX format
	@build/supply/bin/cyclonedx-py environment --output-reproducible --output-format JSON --output-file build/sbom.json $(BIN)/python
	@$(BIN)/python deploy/dependencies.py sbom build/sbom.json

audit: setup ## look up known vulnerabilities in what is shipped; reports if the database cannot be reached
	@$(MAKE) --no-print-directory build/supply/.ready || echo "the audit tools cannot be installed"
	@$(BIN)/python deploy/dependencies.py requirements > build/shipped.txt
	@$(BIN)/python deploy/audit.py build/supply/bin/pip-audit build/shipped.txt

licences: setup ## write docs/licences.md, the licences of all dependencies
	@$(BIN)/python deploy/dependencies.py licences

bench: peers ## compare speed with other libraries, then measure a server; continues if stopped (ROUNDS=, TOOLS=, PLOTS=)
	@PYTHON=$(BIN)/python ROUNDS="$(ROUNDS)" PLOTS="$(PLOTS)" benchmarks/run.sh "$(BENCHED)" "$(TOOLS)"

bench-gpu: peers ## compare speed on a CUDA GPU, for the built-in model and both XLM-R shapes (ROUNDS=)
	@for shape in built-in base large; do \
		$(BIN)/python benchmarks/throughput.py --device cuda --shape $$shape --rounds $(ROUNDS) --save $(BENCHED)/cuda || exit 1; \
	done

bench-quick: peers ## compare speed in a minute, once the models are exported; prints RATIO and PEAK_SHARE lines
	@$(BIN)/python benchmarks/throughput.py --quick

peers: $(VENV)/.peers

$(VENV)/.peers: $(VENV)/.ready
	@echo "installing the libraries to compare with (extra [bench])"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[serve,hub,dev,bench]'
	@touch $@

# NO_MKDOCS_2_WARNING: the theme would otherwise print a notice about a coming release with each build.
docs: $(VENV)/.docs ns ## build the site of docs/ under build/site
	@$(BIN)/python docs/generate.py build/docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@$(BIN)/python docs/check_links.py --site build/site
	@echo "built build/site; to read it with its search: python3 -m http.server --directory build/site"

$(VENV)/.docs: $(VENV)/.ready
	@echo "installing what builds the site (extra [docs])"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[serve,hub,dev,docs]'
	@touch $@

eval: setup ## print the quality table of the test sets under DATA= (LIMIT=, FULL=1, SETS=, METHODS=, MODEL=, PLOTS=, CARD=)
	@test -n "$(DATA)" || { echo "DATA is not set; run make eval DATA=path/to/data"; exit 2; }
	@for module in $(if $(or $(findstring base,$(METHODS)),$(if $(strip $(METHODS)),,all)),sentencepiece) $(if $(PLOTS),matplotlib); do \
		$(BIN)/python -c "import $$module" 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[serve,train,plots]' || exit 1; \
	done
	@$(BIN)/python benchmarks/test_sets.py --data "$(DATA)" --sets "$(SETS)" --methods "$(METHODS)" \
		$(if $(FULL),--full,$(if $(LIMIT),--limit $(LIMIT))) $(if $(MODEL),--model "$(MODEL)") \
		$(if $(JSON),--json) $(if $(CARD),--card "$(CARD)") $(if $(PLOTS),--plots "$(PLOTS)")

train: setup ## retrain the built-in model from the sets under DATA= (DEVICE=, SHARE=, SETS=, WORK=, MODEL=; see training/run.sh)
	@test -n "$(DATA)" || { echo "DATA is not set; run make train DATA=path/to/data"; exit 2; }
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[serve,train]'
	@PYTHON=$(BIN)/python DEVICE="$(DEVICE)" SHARE="$(SHARE)" SETS="$(SETS)" WORK="$(WORK)" MODEL="$(MODEL)" training/run.sh "$(DATA)"

clean: ## remove all build results and the virtual environment
	@rm -rf build dist $(VENV) .coverage* *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
