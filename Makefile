# The contract: people and CI call these targets and nothing else. `make help` lists them.
# Every target that tests ends in one line `test: passed=N failed=N …` and fails if it ran nothing.

SWIFT ?= swift
CC = gcc
PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
DESTDIR ?=
SEED ?=
SEEDS ?= 1000
OPS ?=
KILL ?=
COMPARE ?=
CELL ?=
RUNS ?=
FRESH ?=

export SWIFT SEEDS
export PYTHONDONTWRITEBYTECODE = 1

RELEASE = -c release --static-swift-stdlib
PROGRAMS = kwikd kwik-gateway kwikctl kwik-simulate kwik-echo-door
SHIM_SOURCES = $(wildcard shim/*.c shim/calls/*.c)
SHIM_FLAGS = -std=gnu11 -O2 -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror \
    -Wl,--version-script=shim/libkwik.map -Wl,-z,now -Wl,-z,relro

# A command that succeeds or fails as a whole, as one test.
counted = if $(1); then echo "test: passed=1 failed=0"; else echo "test: passed=0 failed=1"; exit 1; fi

.PHONY: build demo test check simulate mutants golden proto-check coverage docs conformance matrix bench \
    system-test sanitize fuzz install deb format clean help programs \
    dependencies dependencies-demo dependencies-test dependencies-system dependencies-conformance \
    dependencies-matrix

build: dependencies programs build/libkwik.so ## everything that runs, into build/ (the default)

dependencies:
	@packaging/dependencies.sh build

dependencies-demo:
	@packaging/dependencies.sh demo

dependencies-test:
	@packaging/dependencies.sh test

dependencies-system:
	@packaging/dependencies.sh system

dependencies-conformance:
	@packaging/dependencies.sh conformance

dependencies-matrix:
	@packaging/dependencies.sh matrix

programs: | dependencies
	$(SWIFT) build $(RELEASE)
	@mkdir -p build
	@for program in $(PROGRAMS); do ln -sfn ../.build/release/$$program build/$$program; done

build/libkwik.so: $(SHIM_SOURCES) $(wildcard shim/*.h shim/calls/*.h) shim/libkwik.map | dependencies
	@mkdir -p build
	$(CC) $(SHIM_FLAGS) -o $@ $(SHIM_SOURCES)

demo: dependencies-demo build ## three servers, one unmodified curl [KILL=replica|primary|crash]
	@$(PYTHON) Tests/System/demo.py $(if $(KILL),--kill $(KILL))

check: dependencies-demo ## the house rules and the syntax of scripts, in seconds
	@$(PYTHON) -m unittest discover -q -s Tests/Tidy
	@find . -path ./.build -prune -o -path ./build -prune -o -name '*.sh' -print -o -path ./.ci/run -print | \
	    while read -r script; do bash -n "$$script" || exit 1; done
	@find Tests -name '*.py' | $(PYTHON) -c \
	    'import ast, sys; [ast.parse(open(name.strip()).read(), name) for name in sys.stdin]'
	@for patch in Tests/Simulation/Mutants/*.patch; do git apply --check "$$patch" || exit 1; done
	@$(PYTHON) Tests/Tidy/tidy.py $(if $(wildcard .build/release/KwikCore.build/*.o),--objects \
	    .build/release/KwikCore.build)

test: dependencies-test build ## unit (golden included), simulation and quick system tests (15 minutes)
	@$(PYTHON) Tests/System/suite.py tidy unit simulation quick

system-test: dependencies-system build ## the long system tests (45 minutes)
	@$(PYTHON) Tests/System/suite.py single long

SEED_RANGE = --seeds $(SEEDS) --from $(or $(FROM),1)
simulate: build ## the deterministic simulation [SEED=n] [SEEDS=n] [FROM=n] [OPS=n]
	@$(call counted,build/kwik-simulate $(if $(SEED),--seed $(SEED),$(SEED_RANGE)) $(if $(OPS),--ops $(OPS)))

mutants: dependencies ## seeded faults in the core, each of which the simulation must find
	@Tests/Simulation/mutants.sh

golden: dependencies-test ## texts and messages against their recorded form
	@$(PYTHON) Tests/System/suite.py golden

proto-check: dependencies-test ## the checked-in KCP code against kcp.proto
	@$(call counted,Sources/CKwikMessages/regenerate.sh --check)

conformance: dependencies-conformance build ## programs and test suites natively and under the shim
	@$(PYTHON) Tests/Conformance/suites.py

bench: dependencies-demo build ## what Kwik costs on loopback; build/bench.json [COMPARE=earlier.json]
	@$(PYTHON) Tests/Benchmarks/bench.py $(if $(COMPARE),--compare $(COMPARE))

sanitize: dependencies-test ## unit tests under AddressSanitizer and ThreadSanitizer
	@$(PYTHON) Tests/System/suite.py address thread

fuzz: dependencies-test ## fuzzers over every parser and the sessions [FUZZ_SECONDS=30, each]
	@Tests/Fuzz/build.sh

coverage: dependencies-test ## lines that the unit tests run
	@$(PYTHON) Tests/System/suite.py coverage

docs: dependencies ## API documentation into build/docs
	@packaging/docs.sh build/docs

matrix: dependencies-matrix build ## the link matrix beside TCP, MPTCP and aria2 [CELL=D] [RUNS=9] (1 h)
	@KWIK_EXACT=1 $(PYTHON) Tests/System/run.py quick test_emulator
	@$(PYTHON) Tests/System/matrix.py $(if $(CELL),--cell $(CELL)) $(if $(RUNS),--runs $(RUNS)) \
	    $(if $(FRESH),--fresh)

deb: build ## a Debian package into build/
	@packaging/dependencies.sh deb
	@packaging/deb.sh build

install: build ## programs, shim, manuals, units, completions [PREFIX=/usr/local] [DESTDIR=]
	@packaging/install.sh "$(DESTDIR)" "$(PREFIX)"

format: ## every Swift file in the house's form
	$(SWIFT) format format -i -p -r Package.swift Sources Tests

clean: ## what was built
	rm -rf build .build

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | grep -v 'not built yet' | expand -t 14
