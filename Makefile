# Every target sets up what it needs. A fresh machine needs Python 3.11 or later, and nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Where pip finds torch. Empty: its default index. For a small CPU build on Linux use PyTorch's own CPU index.
TORCH_INDEX_URL ?=
PORT ?= 50051
HOST ?= 127.0.0.1
DATA ?=
ROUNDS ?= 5
# Processes that share the tests, file by file; each may take 2 GiB. 0 runs them in one.
WORKERS ?= 2
# Where the benchmarks of speed keep what they find.
BENCHED ?= build/bench/found
TOOLS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test golden serve check format proto proto-release json-schemas ns bench bench-gpu bench-quick peers
.PHONY: docs eval train fuzz sbom audit licences clean
# How long `make fuzz` looks at each target.
MINUTES ?= 10

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready ## make a virtual environment with everything for running, testing and developing

$(VENV)/.ready: pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up $(VENV) (torch is the large part of it; see README.md for sizes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt $(if $(TORCH_INDEX_URL),--extra-index-url $(TORCH_INDEX_URL)) torch
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[serve,hub,dev]'
	@touch $@

demo: setup ## start a real server on the built-in model, ask it four questions, stop it
	@$(BIN)/python examples/demo.py

test: setup ## run all tests
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

golden: setup ## hold all golden answers against a real server's (WRITE=1 writes them)
	@$(BIN)/python tests/golden/golden.py $(if $(WRITE),--write)

serve: setup ## run the server (HOST=, PORT=)
	@$(BIN)/shortlist serve --host $(HOST) --port $(PORT)

check: setup ns ## format, lint, types, layering and tests: what a commit must pass
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python docs/check_links.py
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

format: setup ## mend what can be mended by itself
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

ns: ## link the packages as build/ns/shortlist/*, where type checkers and editors look
	@mkdir -p build/ns/shortlist
	@rm -f build/ns/shortlist/*
	@ln -sfn ../../../shortlist/__init__.py build/ns/shortlist/__init__.py
	@for name in $(filter-out shortlist,$(patsubst %/__init__.py,%,$(wildcard */__init__.py))); do \
		ln -sfn ../../../$$name build/ns/shortlist/$$name; \
	done
	@ln -sfn ../../../proto/shortlist/v1 build/ns/shortlist/v1

# 1.65 is the last generator whose stubs do not check the protobuf runtime's version, so they serve every supported one.
proto: ## regenerate the stubs from proto/
	@test -x build/protoc/bin/python || { $(PYTHON) -m venv build/protoc && build/protoc/bin/pip install --quiet 'grpcio-tools==1.65.5' 'setuptools<80'; }
	@build/protoc/bin/python -m grpc_tools.protoc -I proto --python_out=proto --pyi_out=proto --grpc_python_out=proto proto/shortlist/v1/router.proto

proto-release: setup ## take the contract as it stands for the released one, which later ones must not break
	@$(BIN)/buf build proto --exclude-source-info --output proto/released.binpb

json-schemas: setup ns ## write schemas/json/ anew from the proto, the settings and the classes
	@PYTHONPATH=build/ns $(BIN)/python proto/json_schemas.py

# The fuzzer stands apart, under build/: it is no part of what is developed or shipped.
fuzz: setup ns ## look for bytes that break a parser, MINUTES= each (TARGETS=); what is found stands in build/fuzz
	@test -d build/fuzz/tool/atheris || $(BIN)/python -m pip install --quiet --target build/fuzz/tool 'atheris>=3,<4'
	@for target in $(or $(TARGETS),tools tables messages bodies chunks statuses); do \
		echo "fuzzing $$target for $(MINUTES) minutes"; \
		PYTHONPATH=build/ns:build/fuzz/tool $(BIN)/python tests/fuzz/run.py $$target --seconds $$(($(MINUTES) * 60)) \
			2> build/fuzz/$$target.log && grep ::number_of build/fuzz/$$target.log || { tail -n 40 build/fuzz/$$target.log; exit 1; }; \
	done

# Tools that look at what is shipped; they are no part of it, and so stand in an environment of their own.
build/supply/.ready:
	@$(PYTHON) -m venv --clear build/supply
	@build/supply/bin/python -m pip install --quiet 'cyclonedx-bom>=7,<8' 'pip-audit>=2.9,<3'
	@touch $@

sbom: setup build/supply/.ready ## write build/sbom.json, what the server is made of, as CycloneDX
	@build/supply/bin/cyclonedx-py environment --output-reproducible --output-format JSON --output-file build/sbom.json $(BIN)/python
	@$(BIN)/python deploy/dependencies.py sbom build/sbom.json

audit: setup ## look up known vulnerabilities of what is shipped; says so where the data is out of reach
	@$(MAKE) --no-print-directory build/supply/.ready || echo "the tools of the audit cannot be installed"
	@$(BIN)/python deploy/dependencies.py requirements > build/shipped.txt
	@$(BIN)/python deploy/audit.py build/supply/bin/pip-audit build/shipped.txt

licences: setup ## write docs/licences.md, the licences of all that is used
	@$(BIN)/python deploy/dependencies.py licences

bench: peers ## time ours beside what users run today, then a server; goes on where it was stopped (ROUNDS=, TOOLS=, PLOTS=)
	@PYTHON=$(BIN)/python ROUNDS="$(ROUNDS)" PLOTS="$(PLOTS)" benchmarks/run.sh "$(BENCHED)" "$(TOOLS)"

bench-gpu: peers ## the first part of it on a CUDA card, for the built-in model and both XLM-R shapes (ROUNDS=)
	@for shape in built-in base large; do \
		$(BIN)/python benchmarks/throughput.py --device cuda --shape $$shape --rounds $(ROUNDS) --save $(BENCHED)/cuda || exit 1; \
	done

bench-quick: peers ## the same in a minute, once the models are exported: RATIO and PEAK_SHARE lines
	@$(BIN)/python benchmarks/throughput.py --quick

peers: $(VENV)/.peers

$(VENV)/.peers: $(VENV)/.ready
	@echo "installing what is compared with (extra [bench])"
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
	@test -n "$(DATA)" || { echo "say where the sets are: make eval DATA=path/to/data"; exit 2; }
	@for module in $(if $(or $(findstring base,$(METHODS)),$(if $(strip $(METHODS)),,all)),sentencepiece) $(if $(PLOTS),matplotlib); do \
		$(BIN)/python -c "import $$module" 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[serve,train,plots]' || exit 1; \
	done
	@$(BIN)/python benchmarks/test_sets.py --data "$(DATA)" --sets "$(SETS)" --methods "$(METHODS)" \
		$(if $(FULL),--full,$(if $(LIMIT),--limit $(LIMIT))) $(if $(MODEL),--model "$(MODEL)") \
		$(if $(JSON),--json) $(if $(CARD),--card "$(CARD)") $(if $(PLOTS),--plots "$(PLOTS)")

train: setup ## make the built-in model anew from the sets under DATA= (DEVICE=, SHARE=, SETS=, WORK=, MODEL=: training/run.sh)
	@test -n "$(DATA)" || { echo "say where the sets are: make train DATA=path/to/data"; exit 2; }
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[serve,train]'
	@PYTHON=$(BIN)/python DEVICE="$(DEVICE)" SHARE="$(SHARE)" SETS="$(SETS)" WORK="$(WORK)" MODEL="$(MODEL)" training/run.sh "$(DATA)"

clean: ## remove what was built, the virtual environment too
	@rm -rf build dist $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
