# Every target installs what it needs on a machine with Python 3.11+ and make.

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON := $(BIN)/python
UV     := $(or $(shell command -v uv 2>/dev/null),$(CURDIR)/.tools/uv/bin/uv)
export UV
export PATH := $(CURDIR)/$(BIN):$(CURDIR)/.tools/bin:$(PATH)
# Where it is set, each process compiles anew whatever it imports: 5 s before a training starts.
unexport PYTHONDONTWRITEBYTECODE

CONFIGURATION := $(PYTHON) -m services.common.configuration
SETTINGS      := services.ingest.settings:IngestSettings services.trainer.settings:TrainerSettings \
	services.inference.settings:InferenceSettings

.DEFAULT_GOAL := help
.PHONY: help install demo test check protos docs bench lock clean

help: ## List the targets.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

install: $(VENV)/.complete ## Make the environment in .venv, exactly as locked.

demo: install ## Fine-tune a model on the example messages and show what changed.
	@$(PYTHON) -m examples.demo

test: install ## Run all tests.
	@$(BIN)/pytest --numprocesses=logical --maxprocesses=4 --dist=worksteal $(ARGS)

check: install ## Format, lint, types, contracts between modules, protos, generated files.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(PYTHON) -m tools.protos --check
	$(CONFIGURATION) --check docs/configuration.md $(SETTINGS)

protos: install ## Generate the stubs from protos/.
	$(PYTHON) -m tools.protos

docs: install ## Generate docs/configuration.md from the settings.
	$(CONFIGURATION) docs/configuration.md $(SETTINGS)

bench: install ## Print every figure that the documents quote; DATA=folder of labelled sets.
	$(PYTHON) -m bench.inference $(if $(DATA),--data $(DATA))
	$(if $(DATA),$(PYTHON) -m bench.vectors --data $(DATA))
	$(if $(DATA),$(PYTHON) -m bench.out_of_scope --data $(DATA))
	$(if $(DATA),$(PYTHON) -m bench.ingest --data $(DATA))
	$(if $(DATA),$(PYTHON) -m bench.training --data $(DATA) --sets banking77@10)

lock: $(UV) ## Resolve requirements.lock anew, naming no package index.
	$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --upgrade \
		--python-version 3.11 --override overrides.txt --extra dev --extra inference-gpu \
		--custom-compile-command "make lock" pyproject.toml --output-file requirements.lock

clean: ## Remove everything that was installed or generated here.
	rm -rf $(VENV) .tools .cache build dist out

$(VENV)/.complete: requirements.lock pyproject.toml | $(UV)
	@echo "Installing into $(VENV) ..."
	@$(UV) venv --quiet --allow-existing --python '>=3.11' $(VENV)
	@$(UV) pip sync --quiet --python $(PYTHON) --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(PYTHON) --no-deps --no-build-isolation --editable .
	@touch $@

$(CURDIR)/.tools/uv/bin/uv:
	@python3 -m venv .tools/uv
	@.tools/uv/bin/pip install --quiet --disable-pip-version-check uv
