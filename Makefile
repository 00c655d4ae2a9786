# Everything here runs as root: network namespaces, nftables and QEMU with this machine's files.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOWEST := .venv-lowest
# Tests start vipctl hundreds of times, which would compile it each time.
unexport PYTHONDONTWRITEBYTECODE
PACKAGES := nftables iproute2 python3-venv qemu-system-x86 busybox-static file kmod strace tcpdump udev \
	ipvsadm procps iputils-ping libnftables1 netbase systemd ipset iptables gcc gcc-12 python3-dev pahole openssl
KERNEL_PACKAGES := bc bison flex libc6-dev libelf-dev xz-utils

.PHONY: help deps root packages test-packages kernel-packages lint fmt lock test test-lowest test-fresh test-guest fresh demo conformance \
	bench bench-guest bench-paired bench-pages bench-packages bench-datapath bench-load bench-addresses \
	bench-healing bench-feedback bench-checks bench-relay bench-takeover \
	debug-kernel kernels stress failover kills soak explain-fuzz stress-shim fuzz clean clean-cache
.DELETE_ON_ERROR:

help:
	@echo "make demo    see it work (in a guest if this kernel has no IPVS)"
	@echo "make test    lint, then all tests, here and under two Debian kernels"
	@echo "make stress  the long tests"
	@echo "make failover  all failures of two directors, with keepalived and BIRD in a guest, ten minutes (KERNEL=6.1)"
	@echo "make kills   kill -9 of vipctl watch at 200 random moments (KILLS=200)"
	@echo "make soak    ten minutes of random changes under traffic, against a model, and ten of failures and drift beside vipctl watch (SOAK_SECONDS=600)"
	@echo "make explain-fuzz  whether explain says what a client meets, in random situations, in a guest (FUZZ='--seed=1 --situations=100'; KERNEL=6.1)"
	@echo "make stress-shim  the kernel module, under each kernel (STRESS_SECONDS=300 STRESS_KERNELS='6.1 6.12')"
	@echo "make fuzz    the kernel module: its trie and commands, and its netlink under each kernel (FUZZ_SECONDS=300)"
	@echo "make kernels  the module on every kernel of Debian's archive, an hour; writes docs/kernels.md (KERNELS='6.1 7.3')"
	@echo "make conformance  every method, measured, half an hour; writes docs/methods.md (CELLS=route,6,nat: a part)"
	@echo "make bench   vipctl and its peers up to a million VIPs, 40 minutes; writes docs/benchmarks.md (BENCH='--sizes=1000,10000': a part)"
	@echo "make bench-guest  the same for keepalived and ipvsadm, in a guest, ten minutes (KERNEL=6.1)"
	@echo "make bench-paired COMMIT=…  adding one range, with this tree and with that commit, in turn"
	@echo "make bench-pages  docs/benchmarks.md and its plots again, from docs/benchmarks.json"
	@echo "make bench-datapath  instructions per packet, every method, half an hour; writes docs/datapath.md (KERNEL=6.1)"
	@echo "make bench-load  a million prefixes into the shim, and into an ipset (KERNEL=6.1)"
	@echo "make bench-addresses  thousands of addresses of the director, with the shim and without (KERNEL=6.1)"
	@echo "make bench-healing  how soon vipctl watch puts back what others take away (HEALING='--prefixes=1000000 --trials=10'; KERNEL=6.12)"
	@echo "make bench-feedback  schedulers with and without feedback, in a guest, hours; writes docs/feedback.md (FEEDBACK='--seeds=1 --seconds=30': a part)"
	@echo "make bench-checks  vipctl watch, keepalived and ldirectord checking 1,000 real servers; writes into docs/checks.md (KERNEL=6.1; CHECKS='--number=100': a part)"
	@echo "make bench-relay  connections a second that vipctl sync carries, and plain multicast, five minutes; writes into docs/two-directors.md"
	@echo "make bench-takeover  what a power cut costs clients, beside keepalived alone, in a guest, ten minutes; writes into docs/two-directors.md (KERNEL=6.1)"
	@echo "make debug-kernel  build a kernel with KASAN and lockdep for guests, half an hour"
	@echo "make fresh   make demo and a part of the tests, in new minimal roots of Debian 12 and 13"
	@echo "make test-guest KERNEL=6.1 TESTS=tests/vm/test_drain.py   some tests, under one guest's kernel"
	@echo "make test-lowest  the unit tests with the lowest versions that pyproject.toml allows"
	@echo "make lock    renew the versions that requirements/ pins"
	@echo "make clean-cache  remove the kernels that were downloaded"
	@echo "make lint fmt deps clean"

root:
	@[ "$$(id -u)" = 0 ] || { echo "run make as root: it creates network namespaces" >&2; exit 1; }

deps: packages $(STAMP)

packages: root
	@scripts/install-packages $(PACKAGES)

# Daemons without the services that their packages would start.
test-packages: root
	@scripts/install-packages sparse dkms xz-utils tmux
	@scripts/install-daemons haproxy nginx bird2:bird keepalived frr prometheus

# The versions that requirements/ pins. `make lock` renews them.
$(STAMP): pyproject.toml requirements/locked.txt requirements/build.txt | packages
	@scripts/make-venv $(VENV) requirements/locked.txt
	@touch $@

$(LOWEST)/.installed: pyproject.toml requirements/lowest.txt requirements/build.txt | packages
	@scripts/make-venv $(LOWEST) requirements/lowest.txt
	@touch $@

# The unit tests with the lowest versions that pyproject.toml allows.
test-lowest: $(LOWEST)/.installed
	EXAMPLES=15 $(LOWEST)/bin/python -m pytest -q -p no:cacheprovider --numprocesses=auto tests/unit

lock: deps
	@scripts/renew-locks $(BIN)

lint: deps
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if grep -q '^\[tool.importlinter' pyproject.toml; then set -x; $(BIN)/lint-imports; fi

fmt: deps
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: deps test-packages lint test-lowest
	$(BIN)/python -m tests.stress.netlink --build
	$(BIN)/python -m tests.harness.suite

# The part of the tests that make fresh runs in a new root.
test-fresh: deps test-packages
	EXAMPLES=15 $(BIN)/python -m tests.harness.suite --sample

# make test-guest KERNEL=6.1 TESTS='tests/vm/test_drain.py -k weight'
test-guest: deps
	$(BIN)/python -m tests.harness.guest --kernel $(or $(KERNEL),6.12) -- \
		$(BIN)/python -m pytest -p no:cacheprovider -p no:hypothesispytest $(TESTS)

# In minimal roots of Debian 12 and 13. Otherwise: make fresh FRESH='trixie --targets demo test'
fresh: root
	@scripts/install-packages mmdebstrap util-linux git procps
	/usr/bin/python3 -m tests.harness.fresh $(FRESH)

demo: deps
	$(BIN)/python -m tests.harness.guest --if-needed --no-module --kernel 6.12 -- \
		$(BIN)/python -m examples.demo

# After an interruption, run it again: it continues.
conformance: deps
	$(BIN)/python -m tests.conformance --cells='$(CELLS)'

# Measures this kernel: nothing else should run meanwhile.
bench: deps
	$(BIN)/python -m benchmarks.scale $(BENCH)

bench-guest: deps bench-packages
	$(BIN)/python -m benchmarks.scale --guest $(if $(KERNEL),--kernel=$(KERNEL))

# Without measuring anew.
bench-pages: deps
	$(BIN)/python -m benchmarks.scale.documents

# keepalived without the service that the package would start.
bench-packages: root
	@scripts/install-daemons keepalived

# Only vipctl: this tree and a commit in turn, so that the machine may do other things meanwhile.
bench-paired: deps
	$(BIN)/python -m benchmarks.paired $(COMMIT)

# The page is written for the default kernel only; for another one the figures are printed.
bench-datapath: deps
	$(BIN)/python -m benchmarks.datapath $(if $(KERNEL),--kernel=$(KERNEL))

bench-load: deps
	$(BIN)/python -m benchmarks.loading $(if $(KERNEL),--kernel=$(KERNEL))

bench-addresses: deps
	$(BIN)/python -m benchmarks.addresses $(if $(KERNEL),--kernel=$(KERNEL))

# How soon `vipctl watch` heals: HEALING='--prefixes=1000000 --trials=10'; with IPVS in a guest of a KERNEL.
bench-healing: deps
	$(if $(KERNEL),$(BIN)/python -m tests.harness.guest --kernel $(KERNEL) --) $(BIN)/python -m benchmarks.healing $(HEALING)

# Real IPVS, and servers whose work takes a defined time. FEEDBACK='--kinds=kept --policies=wlc,wlc+feedback': a part.
bench-feedback: deps
	$(BIN)/python -m benchmarks.feedback $(if $(KERNEL),--kernel=$(KERNEL)) $(FEEDBACK)

# A section of docs/checks.md is written for the default kernel and all checkers only.
bench-checks: deps bench-packages
	@scripts/install-daemons ldirectord
	$(BIN)/python -m benchmarks.checks $(if $(KERNEL),--kernel=$(KERNEL)) $(CHECKS)

# RELAY='--rounds=1' writes nothing.
bench-relay: deps
	$(BIN)/python -m benchmarks.relay $(RELAY)

# TAKEOVER='--rounds=1' writes nothing.
bench-takeover: deps bench-packages
	$(BIN)/python -m benchmarks.takeover $(if $(KERNEL),--kernel=$(KERNEL)) $(TAKEOVER)

kernel-packages: root
	@scripts/install-packages $(KERNEL_PACKAGES)

# Into the cache, once: 1.7 GB of source is unpacked for it, and about 100 MB are kept.
debug-kernel: deps kernel-packages
	$(BIN)/python -m tests.harness.debugkernel

# Built in minimal roots: nothing of these kernels is installed. KERNELS='--build' boots none.
kernels: deps
	@scripts/install-packages mmdebstrap util-linux
	$(BIN)/python -m tests.kernel.matrix $(KERNELS)

stress: deps
	$(BIN)/pytest --timeout=0 tests/stress

# Two directors with keepalived and BIRD lose daemons and power. Timers, more than work: make test leaves it out.
failover: deps test-packages
	$(BIN)/python -m tests.harness.guest --kernel $(or $(KERNEL),6.12) -- \
		$(BIN)/python -m pytest -v -p no:cacheprovider -p no:hypothesispytest --timeout=0 tests/failover

KILLS := 200
kills: deps
	VIPCTL_KILLS=$(KILLS) $(BIN)/pytest --timeout=0 tests/stress/test_kill_healing.py

# It needs no guest. It measures the kernel's memory: run nothing else meanwhile.
SOAK_SECONDS := 600
soak: deps
	$(BIN)/python -m tests.stress.soak --seconds $(SOAK_SECONDS)
	$(BIN)/python -m tests.stress.tended --seconds $(SOAK_SECONDS)

# One situation again: FUZZ='--seed=SEED --situations=1'. Without IPVS, as far as that goes: .venv/bin/python -m tests.stress.explain
explain-fuzz: deps
	$(BIN)/python -m tests.harness.guest --kernel $(or $(KERNEL),6.12) --timeout 21600 -- $(BIN)/python -m tests.stress.explain $(FUZZ)

# In a guest of each kernel with two processors that take turns; a slow guest takes much longer.
STRESS_KERNELS := 6.1 6.12
STRESS_SECONDS := 300
stress-shim: deps
	@for kernel in $(STRESS_KERNELS); do \
		$(BIN)/python -m tests.harness.guest --kernel $$kernel --cpus 2 \
			--memory 3G --timeout $$((4 * $(STRESS_SECONDS) + 1800)) -- \
			$(BIN)/python -m tests.stress.shim --seconds $(STRESS_SECONDS) || exit; done

# Inputs that cover new code of the trie are kept below build/.
FUZZ_SECONDS := 300
fuzz: deps
	@scripts/install-packages clang libclang-rt-dev
	$(BIN)/python -m tests.kernel.fuzz --seconds $(FUZZ_SECONDS)
	$(BIN)/python -m tests.stress.netlink --seconds $(FUZZ_SECONDS)

clean:
	rm -rf $(VENV) $(LOWEST) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-cache:
	rm -rf "$${VIPCTL_CACHE:-$$HOME/.cache/vipctl}/kernels"
