# Two commands do everything: `make demo` and `make test`. Both set up what they need.
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin

# What comes from Debian: a compiler for the demo, and what the tests try libswap with and against.
DEBIAN_DEMO := gcc libc6-dev
DEBIAN_TEST := gcc g++ libc6-dev gcc-multilib clang lld musl-tools binutils gdb strace lsof \
	abigail-tools acl attr libcap2-bin e2fsprogs btrfs-progs xfsprogs mount util-linux \
	dpkg-dev mandoc fish zsh nginx-light memcached redis-server openssl openssh-client openssh-server \
	iproute2 systemd dbus zlib1g-dev
# What libswap is measured against, besides what the tests have, and what libraries of the chapters
# on survival need.
DEBIAN_BENCH := needrestart debian-goodies libb2-1 libfreetype6 libgcrypt20 libgnutls30 libgssapi-krb5-2 \
	libmnl0 libonig5 libsnappy1v5 libxml2

.PHONY: demo test check lint types layers tests sanity packages docs site dist bench clean

demo: $(VENV)/.run
	@command -v cc >/dev/null || .ci/packages $(DEBIAN_DEMO) || $(BIN)/pip install -q -e '.[demo]'
	$(BIN)/libswap demo

test: check packages tests

check: lint types layers

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy
	$(BIN)/mypy examples/*.py

layers: $(VENV)/.installed
	$(BIN)/lint-imports

tests: $(VENV)/.installed
	$(BIN)/pytest --durations=15 -n auto --maxprocesses 4 --dist loadfile -m 'not alone' $(PYTEST_ARGS)
	$(BIN)/pytest --durations=5 -m alone $(PYTEST_ARGS)

# The Ansible collection by ansible-test and ansible-lint; the first run fetches what they need.
sanity: $(VENV)/.installed
	$(BIN)/pip install -q --disable-pip-version-check -e '.[sanity]'
	VENV=$(VENV) .ci/sanity

packages:
	@.ci/packages $(DEBIAN_TEST) || echo "tests that need them will be skipped, each with its reason"

docs: $(VENV)/.installed
	$(BIN)/python -m docs.generate

# Fails on a link that leads nowhere and on a page that nothing leads to.
site: docs
	$(BIN)/pip install -q --disable-pip-version-check -e '.[docs]'
	$(BIN)/mkdocs build --strict

# The wheel, the source, one file that python3 runs, and a Debian package; the same bytes each time.
dist: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1577836800)
dist: $(VENV)/.installed
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python packaging/bundle.py dist/*.whl dist

# All of it takes three quarters of an hour on a machine that does nothing else; `make bench
# BENCH="scan calls"` renews these two, `.venv/bin/python -m tests.bench --list` names them.
bench: $(VENV)/.installed
	@.ci/packages $(DEBIAN_TEST) $(DEBIAN_BENCH) || echo "peers that are missing are left out"
	$(BIN)/pip install -q --disable-pip-version-check -e '.[bench]'
	$(BIN)/python -m tests.bench $(BENCH) --write

$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q --disable-pip-version-check -e '.[live]'
	@touch $@

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || .ci/packages python3-venv
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build dist site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
