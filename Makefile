# Two commands: `make demo` to try it, `make test` to test it. Both set up what they need, in this directory only.
# Needs: Python >= 3.11 with venv, Node.js >= 20.19 with npm, a C compiler. PYTHON=/path/to/python3 chooses another Python.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROXY := .tools/node_modules/.bin/configurable-http-proxy
LABEXTENSION := $(wildcard labextension/*.json labextension/schema/* labextension/src/* labextension/style/*)
PACKAGES := labextension/node_modules/.package-lock.json
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --upgrade
PYTEST := $(BIN)/python -m pytest
PYTEST_OPTIONS ?=
export PATH := $(CURDIR)/.tools/node_modules/.bin:$(PATH)

.PHONY: help demo test cluster check docs clean
help:
	@sed -n 's/^## //p' Makefile

## make demo     try it: a hub, a gateway and JupyterLab on this computer; Ctrl-C stops it and leaves nothing behind
demo: $(VENV)/.demo $(PROXY)
	@$(BIN)/hpcsec quickstart

## make test     unit tests and the end-to-end tests that need no root
test: $(VENV)/.test $(PROXY)
	$(PYTEST) $(PYTEST_OPTIONS) -m "not slurm and not browser"

## make cluster  the development cluster: a real Slurm with two nodes in namespaces of this computer (root)
cluster: $(VENV)/.demo
	$(BIN)/hpcsec cluster up

## make check    ruff, mypy, TypeScript's checks and the documentation, warnings are errors
check: $(VENV)/.test $(PACKAGES)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	npm --prefix labextension run --silent check
	npm --prefix labextension test --silent
	@if [ -f docs/conf.py ]; then $(MAKE) --no-print-directory docs; fi

## make docs     the documentation, in docs/_build/html
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html

## make clean    remove what the other targets made
clean:
	rm -rf labextension/lib labextension/node_modules jupyter_hpcsec/server/jupyter
	rm -rf $(VENV) .tools build dist docs/_build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python >= 3.11 is needed: make PYTHON=/path/to/python3 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo '$(PYTHON) can make no virtual environment. Debian, Ubuntu: apt install python3-venv; or set PYTHON.' >&2; exit 1; }
	@echo 'Making the virtual environment $(VENV)'
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }

# What builds and checks the JupyterLab extension; setup.py installs it, too, where it has to build.
$(PACKAGES): labextension/package-lock.json
	@echo 'Installing what checks the JupyterLab extension'
	@cd labextension && npm ci --prefer-offline --loglevel=error
	@touch $@

# A stamp is younger than what it was made from; .test and .docs hold all of .demo.
$(VENV)/.demo $(VENV)/.test $(VENV)/.docs: $(VENV)/.%: $(VENV)/pyvenv.cfg pyproject.toml setup.py $(LABEXTENSION)
	@echo 'Installing the Python packages ($*); the first time this takes some minutes'
	@$(PIP) --editable '.[$*]'
	@touch $@

$(PROXY): tools/proxy/package.json tools/proxy/package-lock.json
	@node -e 'process.exit(Number(parseInt(process.versions.node) < 20))' || \
	  { echo 'Node.js >= 20 with npm is needed, for the proxy: https://nodejs.org/' >&2; exit 1; }
	@echo 'Installing the proxy in .tools'
	@mkdir -p .tools && cp tools/proxy/package.json tools/proxy/package-lock.json .tools/
	@cd .tools && npm ci --omit=dev --no-audit --no-fund --loglevel=error
	@touch $@
