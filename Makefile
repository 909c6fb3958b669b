# Two commands do everything: `make demo` and `make test`. Both set up what they need.
VENV    ?= .venv
PYTHON  ?= python3
BIN     := $(VENV)/bin
DEBIAN  := python3-venv gcc g++ libc6-dev binutils strace acl attr

.PHONY: demo test lint types layers tests docs bench clean

demo: $(VENV)/.installed
	$(BIN)/libswap demo

test: lint types layers tests

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

layers: $(VENV)/.installed
	$(BIN)/lint-imports

tests: $(VENV)/.installed
	$(BIN)/pytest $(PYTEST_ARGS)

docs: $(VENV)/.installed
	$(BIN)/python -m docs.generate

bench: $(VENV)/.installed
	$(BIN)/python -m tests.bench

# Debian's packages that are missing: installed when root, named with the exact line when not.
$(VENV)/.installed: pyproject.toml
	@missing=; for p in $(DEBIAN); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ] && command -v apt-get >/dev/null; then \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	  else echo "missing Debian packages; run: sudo apt-get install$$missing"; exit 1; fi; fi
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist fixtures/build .mypy_cache .ruff_cache .pytest_cache
