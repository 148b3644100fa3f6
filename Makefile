# make run, make test: everything from a bare machine. `make help` lists the rest.
IMAGE ?= examples/receipt.jpg
PROMPT ?= Read the text.
MODEL ?=
MINUTES ?= 120
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
AGENT_CLIS ?= claude gemini codex opencode
SUITES ?=

# As typed, whatever quotes, dollars or spaces they hold: the shell reads them from the environment, never from the recipe's text.
export ONSIGHT_RUN_IMAGE := $(value IMAGE)
export ONSIGHT_RUN_PROMPT := $(value PROMPT)
export ONSIGHT_RUN_MODEL := $(value MODEL)
ifneq ($(shell command -v ccache),)
export CMAKE_C_COMPILER_LAUNCHER ?= ccache
export CMAKE_CXX_COMPILER_LAUNCHER ?= ccache
endif

.NOTPARALLEL:
.DEFAULT_GOAL := build
.PHONY: build run programs test agents-clis parity fuzz asan tsan aarch64 format format-check tidy train install deb tarball clean help setup setup-test setup-parity setup-ci \
  setup-aarch64 setup-test-ci web setup-web wheel setup-wheel

build: setup ## build build/onsight (release); what plain `make` does
	@scripts/build.sh release onsight

run: build ## answer about a picture: make run IMAGE=my.jpg PROMPT="What is the total?" [MODEL=folder]
	@printf '%s\n%s\n\n' "$$ONSIGHT_RUN_IMAGE" "$$ONSIGHT_RUN_PROMPT"
	@build/onsight ask $${ONSIGHT_RUN_MODEL:+--model "$$ONSIGHT_RUN_MODEL"} --image "$$ONSIGHT_RUN_IMAGE" -- "$$ONSIGHT_RUN_PROMPT"

programs: setup-test ## build all that the tests run
	@scripts/build.sh release

test: programs ## the tests: C++ units, cross-room, the command line, the server, agents; SUITES="cpp tests/cli" for some of them
	@scripts/test.sh $(SUITES)

agents-clis: setup-test-ci build ## Claude Code, Gemini CLI, Codex and opencode in their images (downloads them), with a scripted model: AGENT_CLIS="claude codex"
	@ONSIGHT_AGENT_CLIS='$(AGENT_CLIS)' scripts/agents_clis.sh

parity: setup-parity ## compare with live transformers, and the training's tests (installs PyTorch in .venv)
	@scripts/build.sh release
	@scripts/parity.sh

wheel: setup-wheel ## the Python package: build-wheel/dist/onsight-*.whl, with the libraries that it needs, tested in fresh environments
	@scripts/build.sh release onsight
	@scripts/wheel.sh

fuzz: setup-ci ## each fuzz target for FUZZ_SECONDS (30)
	@scripts/fuzz.sh

asan: setup-test-ci ## the C++ tests and the loaded server under AddressSanitizer and UBSan
	@scripts/build.sh asan unit_tests cross_test c_api_test ask_example onsight_scripted
	@ctest --preset asan -L 'unit|cross' -j $(JOBS)
	@scripts/serve_load.sh asan

tsan: setup-test ## what runs on several threads, and the loaded server, under ThreadSanitizer
	@scripts/build.sh tsan base_test compute_test engine_test net_test cross_test onsight_scripted
	@ctest --preset tsan -R '^(base|compute|engine|net)\.|Batching' -E '\.(Sampler|CodeLayers|Ceilings|Json|Work)\.' -j $(JOBS)
	@scripts/serve_load.sh tsan

aarch64: setup-aarch64 ## the program built for 64-bit Arm; its kernels, goldens and answers tested in QEMU
	@scripts/build.sh aarch64 onsight base_test compute_test cross_test
	@ctest --preset aarch64 -j $(JOBS)

web: setup setup-web ## the page that the program serves: types, tests, the committed build, and in a browser
	@scripts/web.sh

format: setup-ci ## rewrite the C++ files with clang-format
	@scripts/format.sh

format-check: setup-ci ## fail if `make format` would change a file
	@scripts/format.sh --check

tidy: setup-ci ## clang-tidy over src/ and capi/, warnings as errors
	@scripts/tidy.sh

train: ## go on training the model that ships for MINUTES (120), then export and measure it
	@training/run.sh --minutes '$(MINUTES)'

install: build ## install into PREFIX (/usr/local); DESTDIR is honoured
	@scripts/build.sh release manual libonsight onsight-agent
	@DESTDIR='$(DESTDIR)' cmake --install build --strip --prefix '$(abspath $(PREFIX))'

deb: setup-ci build ## a Debian package, in build/, tried in an empty Debian 12 where that can be made
	@scripts/deb.sh release check

tarball: setup-test-ci build ## build/onsight-*.tar.gz, which runs where it is unpacked; tried alone, and in an empty Debian 12 where that can be made
	@scripts/tarball.sh release check

clean: ## remove what was built (not .venv)
	rm -rf build build-*

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r goal text; do printf '  make %-13s %s\n' "$$goal" "$$text"; done

# Set-up is skipped while its stamp is newer than the scripts and the libraries are still found.
setup setup-test setup-test-ci setup-parity setup-wheel setup-ci setup-aarch64 setup-web: setup%:
	@scripts/setup_once.sh build $(subst -, ,$*)
