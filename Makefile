# make lab opens the course; make help lists the rest.
# PYTHON names another interpreter (3.11 or later): make lab PYTHON=python3.12
PYTHON ?= python3
LESSON ?=
ARGS ?=
PY = .venv/bin/python
PARALLEL = -n 2 --dist loadfile

.PHONY: help .venv lab run test check nightly old-widgets faults lint bench sweeps trajectories notebooks data pocket artifacts book playground key slides sheets copies constraints links

help:
	@echo "make lab                  open the course in JupyterLab, at your own copies of the lessons (work/)"
	@echo "make run                  execute all lessons headless; ARGS='01 02 --scale smoke' and so on"
	@echo "make check                the quick tests: lint, units, exercises (about two minutes on two cores)"
	@echo "make test                 also parity, every lesson at smoke scale, a browser (about 20 minutes)"
	@echo "make nightly              all tests, two hours at most; called again it goes on where it ended"
	@echo "make old-widgets          the tests of controls with ipywidgets 7.7, as in Colab"
	@echo "make faults               many trials of faults and bad input; the table goes to docs/faults.md"
	@echo "make notebooks LESSON=01  execute a lesson and store its outputs"
	@echo "make book                 the course as a book in build/book; ARGS='--epub --pdf' for those as well"
	@echo "make playground           one page to fine-tune the pocket model in a browser, offline: build/playground.html"
	@echo "make key                  the answer key, for teachers, in build/key.html; ARGS='01 03' for some lessons"
	@echo "make sheets ARGS=one-day   a plan's run sheets, one page a lesson, in build/sheets"
	@echo "make slides               slides of three sessions, with the lessons' own figures, in build/slides"
	@echo "make copies               the lessons' copies for Colab, in colab/ (after a change of a lesson)"
	@echo "make constraints          the versions installed here, for constraints.txt (after a run of all tests)"
	@echo "make links                ask for every external link (needs a network)"
	@echo "make bench, make sweeps   time the code against the libraries'; compute the stored results"
	@echo "make trajectories         make the short trajectories anew that pin the numbers of every loop"
	@echo "make data, make pocket    make the data files, the pocket model (an hour and a half) anew"
	@echo "make artifacts            make the shipped assistant, reward model and two list models anew (minutes)"
	@echo "make lint                 ruff: rules and format; mypy: types"
	@echo "make .venv                the environment alone; PYTHON=python3.12 chooses the interpreter"

.venv: .venv/.complete

.venv/.complete: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "The course needs Python 3.11 or later, and '$(PYTHON)' is not one (or is not there)."; \
	  echo "On Debian or Ubuntu: apt-get install python3 python3-venv. Another one: make $(MAKECMDGOALS) PYTHON=python3.12"; \
	  exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments: its modules venv and ensurepip are missing."; \
	  echo "On Debian or Ubuntu: apt-get install $$($(PYTHON) -c 'import sys; print("python3.%d-venv" % sys.version_info[1])') (or python3-venv)"; \
	  exit 1; }
	@if [ -e .venv/bin/python ]; then \
	  echo "Updating .venv: it is unfinished, or pyproject.toml has changed since."; \
	else \
	  echo "Making .venv with $$($(PYTHON) --version): a few minutes, and gigabytes with the CUDA build of torch (see README.md)."; \
	  $(PYTHON) -m venv .venv; \
	fi
	$(PY) -m pip install --quiet -e '.[lab,test,compare,book]'
	@touch $@
	@echo ".venv is ready."

lab: .venv
	@$(PY) -m course_utils lab $(ARGS)

run: .venv
	@$(PY) -m course_utils run $(ARGS)

test: .venv
	@$(PY) -m course_utils test $(ARGS)

check: .venv
	@$(PY) -m course_utils test --quick $(ARGS)

nightly: .venv
	@$(PY) -m course_utils test --night $(ARGS)

# the oldest ipywidgets that the course allows (Colab has it), laid over the environment's
old-widgets: .venv
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(PY) -m pip install --quiet --no-deps --target "$$folder" 'ipywidgets==7.7.0' 'widgetsnbextension<4' \
	  'jupyterlab_widgets<2' ipython_genutils && \
	PYTHONPATH="$$folder:$(CURDIR)" $(PY) -m pytest tests/core/test_widgets.py tests/checks \
	  tests/lessons -k "widgets or labelling or predictions or checks" -m "not slow and not night" $(ARGS)

faults: .venv
	@COURSE_FAULTS=long $(PY) -m pytest tests/faults -m "" --timeout 7200 $(PARALLEL) $(ARGS)

lint: .venv
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

bench: .venv
	@$(PY) -m course_utils bench $(ARGS)

sweeps: .venv
	@$(PY) -m course_utils sweeps $(ARGS)

trajectories: .venv
	@$(PY) -m course_utils trajectories $(ARGS)

notebooks: .venv
	@$(PY) -m course_utils.making.notebooks $(LESSON)
	@$(PY) -m course_utils copies

book: .venv
	@$(PY) -m course_utils book $(ARGS)

playground: .venv
	@$(PY) -m course_utils playground $(ARGS)

key: .venv
	@$(PY) -m course_utils key $(ARGS)

slides: .venv
	@$(PY) -m course_utils slides $(ARGS)

sheets: .venv
	@$(PY) -m course_utils sheets $(ARGS)

copies: .venv
	@$(PY) -m course_utils copies

constraints: .venv
	@$(PY) -m course_utils.making.constraints

links: .venv
	@$(PY) -m course_utils.making.links

data: .venv
	@$(PY) -m course_utils.making.data

pocket: .venv
	@$(PY) -m course_utils.making.pocket $(if $(SIZE),--size $(SIZE)) $(ARGS)

artifacts: .venv
	@$(PY) -m course_utils.making.artifacts $(ARGS)
