# The newcomer's table of contents: `make demo` and `make test` do all the set-up they need.
PYTHON ?= python3
BIN := .venv/bin
CSRC := $(wildcard agent/runtime/csrc/*/*.[ch] agent/runtime/csrc/*/*/*.[ch]) agent/runtime/CMakeLists.txt
PROJECTS := sdk/pyproject.toml converters/pyproject.toml agent/runtime/pyproject.toml agent/daemon/pyproject.toml \
	firmware_templates/pyproject.toml
export OMP_NUM_THREADS := 1
FUZZ_SECONDS ?= 60
# Tests mostly wait: for QEMU, brokers, and power that is cut.
WORKERS ?= 3

.PHONY: setup demo test lint bench soak fuzz docs size format constraints system clean

setup: .venv/runtime      ## make .venv with everything in it

.venv/packages: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "hardtack needs Python 3.11 or newer: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	@touch $@

.venv/runtime: .venv/packages $(CSRC) $(PROJECTS)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		-e agent/runtime -e agent/daemon -e converters -e firmware_templates -e sdk
	@touch $@

system:                   ## install system packages where this user may
	@sh .ci/system-packages

demo: setup               ## the main job: convert, deploy, predict, report
	$(BIN)/hardtack demo

# Only tests train, so `make demo` does without torch. It stays out of constraints.txt: the builds
# with and without CUDA bear the same version, and which one pip finds decides the hash.
.venv/torch: .venv/packages
	@$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0 && touch $@ || \
		echo "torch cannot be installed: the tests of training will be skipped"

test: setup system .venv/torch  ## all tests
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal --durations=10 $(TESTS)

lint: setup               ## style, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.c' '*.h')
	$(BIN)/codespell
	$(BIN)/python docs/generate.py --check

format: setup             ## make lint's formatters happy
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files '*.c' '*.h')

bench: setup              ## every benchmark, beside its rivals
	for name in parity bundle_size footprint coders payload microcontroller sparse binary activations outliers wide_activations compression compression_front compression_tiny passes teachers retraining features; do $(BIN)/python -m benchmarks.$$name || exit 1; done

soak: setup system        ## the kill test, and every input on every board, for long
	HARDTACK_RUNS=100 $(BIN)/python -m pytest -q --timeout=7200 tests/firmware/test_qemu.py
	HARDTACK_KILLS=2000 $(BIN)/python -m pytest -q --timeout=7200 tests/end_to_end/test_kill.py

fuzz: setup               ## libFuzzer with sanitizers on the C reader, FUZZ_SECONDS each; both verifiers
	sh fuzz/run.sh $(FUZZ_SECONDS)
	HARDTACK_MUTANTS=100000 $(BIN)/python -m pytest -q --timeout=7200 tests/firmware/test_verdicts.py

docs: setup               ## write the generated pages of docs/
	$(BIN)/python docs/generate.py

size: setup               ## code size of each kernel
	$(BIN)/python -m benchmarks.footprint --size

constraints:              ## pin requirements.in
	$(BIN)/pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url \
		--no-emit-trusted-host --no-emit-find-links --output-file constraints.txt requirements.in

clean:
	rm -rf .venv build dist agent/runtime/build
