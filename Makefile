# `make help` lists the commands. Each of them first installs what it needs, once: see "Installation" below.

VENV      := .venv
NOTEBOOKS :=
OVERWRITE :=
OFFLINE   :=
WORKERS   := 2
# Which versions are installed; empty for the newest.
CONSTRAINTS := constraints.txt

# Where PyTorch's own builds for processors are. They are much smaller than pip's, which hold CUDA for NVIDIA's GPUs.
# Linux machines without NVIDIA's driver get them; `make TORCH_INDEX= lab` takes pip's.
TORCH_INDEX := https://download.pytorch.org/whl/cpu
DRIVER = $(wildcard /proc/driver/nvidia/version)$(shell command -v nvidia-smi 2>/dev/null)

ifneq ($(words $(VENV)),1)
$(error VENV must be one folder without spaces in its name, got "$(VENV)". The folder of the course may have spaces)
endif

# Console scripts of the environment (inception-lab among them) are found from notebooks too.
PYTHON_OF_VENV = $(VENV)/bin/python
RUN = PATH="$(if $(filter /%,$(VENV)),,$(CURDIR)/)$(VENV)/bin:$$PATH" $(PYTHON_OF_VENV)

# One thread for each process: two processes on two cores then do not wait for each other, and sums are added in the
# order in which `make save` adds them (scripts/notebooks.py sets the same).
TEST = OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(RUN) -m pytest
# A file of tests, or a notebook, is run by one process from top to bottom. tests/conftest.py puts the files in order.
PARALLEL = -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# The kernels of .venv go before any that the user has registered, and a plotting backend set for scripts
# would keep figures out of the notebooks.
export JUPYTER_PREFER_ENV_PATH := 1
unexport MPLBACKEND

COURSE  := $(VENV)/.installed
GRADE   := $(VENV)/.installed-grade
DOCS    := $(VENV)/.installed-docs
TESTS   := $(VENV)/.installed-test

.PHONY: help lab test quick course save site slides check report exercises gradebook bundle bench lint format constraints clean
.NOTPARALLEL: # two installations into one environment would disturb each other

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

lab: $(COURSE) ## open the course in JupyterLab, as your own copy in work/ (OFFLINE=1: do not ask for the published weights)
	@$(RUN) -m inception_lab.cli lab $(if $(OFFLINE),--offline)

quick: lint $(GRADE) $(DOCS) ## check style, types and imports, and run the fast tests of every package
	@$(TEST) $(PARALLEL) -q -m quick

# Seconds are printed in cells whose outputs are not compared, so notebooks that measure time need not run alone here.
test: $(TESTS) $(GRADE) $(DOCS) ## run all tests and every notebook, comparing its outputs with the stored ones
	@$(TEST) $(PARALLEL) --nbval tests notebooks

course: $(COURSE) ## execute every notebook and print a table of results
	@$(RUN) scripts/notebooks.py run --workers $(WORKERS) $(NOTEBOOKS)

save: $(COURSE) ## execute every notebook and store its outputs in it (NOTEBOOKS="..." for some)
	@$(RUN) scripts/notebooks.py run --save --workers $(WORKERS) $(NOTEBOOKS)

site: $(DOCS) ## build the course as pages in build/site/html (LIVE=webgpu: live.html uses GPUs too; LIVE=off: without a network)
	@$(RUN) scripts/build_site.py $(if $(LIVE),--live $(LIVE))

slides: $(DOCS) ## build a deck for each notebook in build/slides (PDF=1: as PDF too, with an installed Chromium)
	@$(RUN) scripts/build_slides.py $(if $(PDF),--pdf)

check: $(COURSE) ## grade your answers and say what went wrong (NOTEBOOK=exercises/02_inception_module.ipynb)
	@$(RUN) -m inception_lab.cli check $(NOTEBOOK) $(NOTEBOOKS) || [ $$? -eq 1 ] # 1: not all of them are right yet

report: $(COURSE) ## for teachers: grade a class (FOLDER=submitted), and write a table, the misconceptions and a page for each student
	@$(RUN) scripts/exercises.py report $(or $(FOLDER),submitted)

exercises: $(GRADE) ## for teachers: write the students' notebooks anew; does not touch notebooks that somebody has worked in
	@$(RUN) scripts/exercises.py students $(if $(OVERWRITE),--overwrite)

gradebook: $(GRADE) ## write a course folder for nbgrader to build/course
	@$(RUN) scripts/exercises.py course build/course

bundle: $(COURSE) ## write one archive for a room without a network, build/inception-lab-bundle.zip (OPTIONS="--wheels FOLDER")
	@$(RUN) scripts/bundle.py --torch-index "$(TORCH_INDEX)" $(OPTIONS)

bench: $(COURSE) ## time GoogLeNet here and in torchvision (OPTIONS="--device cuda")
	@$(RUN) benchmarks/bench.py $(OPTIONS)

lint: $(TESTS) ## check style, types, and that packages import only those below them
	@status=0; \
	$(RUN) -m ruff check . || status=1; \
	$(RUN) -m ruff format --check . || status=1; \
	$(RUN) -m mypy || status=1; \
	$(VENV)/bin/lint-imports || status=1; \
	exit $$status

format: $(TESTS) ## correct the style of code and notebooks
	@$(RUN) -m ruff check --fix . ; $(RUN) -m ruff format .

# CUDA packages are left out: see the head of constraints.txt. Paths and local version labels would bind
# the file to this machine.
constraints: $(TESTS) $(GRADE) $(DOCS) ## write the versions that .venv holds to constraints.txt
	@{ sed -n '/^#/p' constraints.txt; $(RUN) -m pip freeze --exclude-editable \
	| sed -n '/^nvidia-/d; /^cuda-/d; /^triton==/d; s/+.*//; /==/p'; } > constraints.new
	@mv constraints.new constraints.txt && touch $(COURSE) $(TESTS) $(GRADE) $(DOCS)

clean: ## remove .venv and every cache
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# --- Installation -----------------------------------------------------------------------------------------------
# The course alone is in $(COURSE), and each extra of pyproject.toml in a file of its own. These files are written last,
# so that an interrupted installation is resumed.

# The first Python that will do: one of the tested versions if there is one, else a newer one.
FIND_PYTHON = for below in 14 99; do for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	$$python -c "import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, $$below))" \
	2>/dev/null && echo $$python && exit; done; done
NO_PYTHON = Inception Lab needs Python 3.11 or newer with its venv module \
	(Debian and Ubuntu: apt install python3-venv); if yours has another name, say for example: make PYTHON=python3.12 lab
PIP_INSTALL = $(PYTHON_OF_VENV) -m pip install $(addprefix -c ,$(CONSTRAINTS))

# Whether an index answers. The alarm also ends what has no timeout, such as the search for the address of its host.
ANSWERS = $(PYTHON_OF_VENV) -c "import signal; signal.alarm(5); from urllib.request import urlopen; \
	urlopen('$(TORCH_INDEX)/torch/').close()" 2>/dev/null

$(COURSE): pyproject.toml constraints.txt
	@$(PYTHON_OF_VENV) -m pip --version >/dev/null 2>&1 || { \
		python=$$($(FIND_PYTHON)); \
		if [ -z "$$python" ]; then echo "$(strip $(NO_PYTHON))" >&2; exit 1; fi; \
		$$python -m venv --clear $(VENV); }
	@from="pip's index"; \
	if [ "$$(uname)" != Linux ]; then :; \
	elif [ -z "$(TORCH_INDEX)" ]; then from="$$from: TORCH_INDEX is empty"; \
	elif [ -n "$(DRIVER)" ]; then from="$$from: this machine has NVIDIA's driver"; \
	elif ! ($(ANSWERS)); then from="$$from: $(TORCH_INDEX) does not answer"; \
	elif $(PIP_INSTALL) --no-deps --index-url $(TORCH_INDEX) torch torchvision; then from="$(TORCH_INDEX)"; \
	else from="$$from: the installation from $(TORCH_INDEX) failed"; fi; \
	echo "torch and torchvision come from $$from"
	$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.installed-%: $(COURSE)
	$(PIP_INSTALL) -e ".[$*]"
	@touch $@
