# `make help` lists the commands. Each of them installs first, once: see $(STAMP).

VENV      := .venv
STAMP     := $(VENV)/.installed
NOTEBOOKS :=
OVERWRITE :=

# Console scripts of the environment (inception-lab among them) are found from notebooks too.
RUN = PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/python

# The kernels of .venv go before any that the user has registered, and a plotting backend set for scripts
# would keep figures out of the notebooks.
export JUPYTER_PREFER_ENV_PATH := 1
unexport MPLBACKEND

# Without a display, Jupyter would open a text browser if it found one. It always prints its address.
ifeq ($(DISPLAY)$(WAYLAND_DISPLAY)$(BROWSER)$(filter Darwin,$(shell uname)),)
NO_BROWSER := --no-browser
endif

.PHONY: help lab test course save site slides check exercises gradebook lint format constraints clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

lab: $(STAMP) ## open the course in JupyterLab
	@$(RUN) -m jupyterlab $(NO_BROWSER) --allow-root --ServerApp.root_dir="$(CURDIR)" \
		--LabApp.default_url=/lab/tree/notebooks/00_welcome.ipynb

test: $(STAMP) ## run the unit tests, then every notebook, comparing its outputs with the stored ones
	@status=0; \
	$(RUN) -m pytest || status=1; \
	$(RUN) -m pytest --nbval notebooks || status=1; \
	exit $$status

course: $(STAMP) ## execute every notebook and print a table of results
	@$(RUN) scripts/notebooks.py run $(NOTEBOOKS)

save: $(STAMP) ## execute every notebook and store its outputs in it (NOTEBOOKS="..." for some)
	@$(RUN) scripts/notebooks.py run --save $(NOTEBOOKS)

site: $(STAMP) ## build the course as pages in build/site/html
	@$(RUN) scripts/build_site.py

slides: $(STAMP) ## build a deck for each notebook in build/slides
	@$(RUN) scripts/build_slides.py

check: $(STAMP) ## grade your answers and say what went wrong (NOTEBOOK=exercises/02_inception_module.ipynb)
	@$(RUN) scripts/exercises.py check $(NOTEBOOK) $(NOTEBOOKS) || [ $$? -eq 1 ] # 1: not all of them are right yet

exercises: $(STAMP) ## for teachers: write the students' notebooks anew; does not touch notebooks that somebody has worked in
	@$(RUN) scripts/exercises.py students $(if $(OVERWRITE),--overwrite)

gradebook: $(STAMP) ## write a course folder for nbgrader to build/course
	@$(RUN) scripts/exercises.py course build/course

lint: $(STAMP) ## check the style of code and notebooks
	@status=0; \
	$(RUN) -m ruff check . || status=1; \
	$(RUN) -m ruff format --check . || status=1; \
	exit $$status

format: $(STAMP) ## correct the style of code and notebooks
	@$(RUN) -m ruff check --fix . ; $(RUN) -m ruff format .

# CUDA packages are left out: see the head of constraints.txt. Paths and local version labels would bind
# the file to this machine.
constraints: $(STAMP) ## write the versions that .venv holds to constraints.txt
	@{ sed -n '/^#/p' constraints.txt; $(RUN) -m pip freeze --exclude-editable \
	| sed -n '/^nvidia-/d; /^cuda-/d; /^triton==/d; s/+.*//; /==/p'; } > constraints.new
	@mv constraints.new constraints.txt && touch $(STAMP)

clean: ## remove .venv and every cache
	rm -rf $(VENV) .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# The first Python that will do: one of the tested versions if there is one, else a newer one.
FIND_PYTHON = for below in 14 99; do for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	$$python -c "import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, $$below))" \
	2>/dev/null && echo $$python && exit; done; done
NO_PYTHON = Inception Lab needs Python 3.11 or newer with its venv module \
	(Debian and Ubuntu: apt install python3-venv); if yours has another name, say for example: make PYTHON=python3.12 lab

# The stamp is written last, so that an interrupted installation is resumed.
$(STAMP): pyproject.toml constraints.txt
	@$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || { \
		python=$$($(FIND_PYTHON)); \
		if [ -z "$$python" ]; then echo "$(strip $(NO_PYTHON))" >&2; exit 1; fi; \
		$$python -m venv --clear $(VENV); }
	$(VENV)/bin/python -m pip install -c constraints.txt -e ".[test]"
	@touch $@
