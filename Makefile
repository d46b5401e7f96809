# `make demo` and `make test` need Python 3.11 and nothing else; the environment is made on first use.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: install demo page tools test check docs mutants clean

install: $(VENV)/.installed

# torch first and alone: its exact version decides which build is taken, and nothing after it may replace it.
$(VENV)/.installed: setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/perfrdiff demo --output demo_output

# What the live page needs of others, through npm, into the user's cache.
page: install
	$(BIN)/perfrdiff serve --install

# What two tests ask for their opinion, through npm; the tests are left out without it.
TOOLS = $(VENV)/npm
tools: install
	npm install --silent --no-audit --no-fund --ignore-scripts --prefix $(TOOLS) axe-core@4.14.1 \
		gltf-validator@2.0.0-dev.3.10

# Two processes, each of which takes whole files: tests of a file share what was trained for them. They start processes of
# their own, and two threads on one busy core wait for each other.
test: export AXE_CORE = $(CURDIR)/$(TOOLS)/node_modules/axe-core/axe.min.js
test: export GLTF_VALIDATOR = $(CURDIR)/$(TOOLS)/node_modules/gltf-validator
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The pages of docs/ and the reference, in site/.
docs: install
	$(BIN)/mkdocs build --quiet

# Breaks the code in named ways, one at a time, and says which of them no test notices. Takes long.
mutants: install
	$(BIN)/python tests/mutants.py

clean:
	rm -rf $(VENV) demo_output site build dist *.egg-info
