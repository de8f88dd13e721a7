# make demo   set up, then the main job: sample city -> TFRecords -> train -> score -> SavedModel -> predicted masks -> their score
# make test   set up, then the tests
# make lint   set up, then ruff
# make test-oldest   set up, then the fast tests on TensorFlow 2.18.1
# make test-beam     set up, then the tests of the conversion with Apache Beam
# make test-app      set up, then those of the web page, in Chromium if there is one
# make test-export   set up, then the tests of every format of export
# make test-backends set up, then those of the training with Keras on PyTorch and on JAX
# make clean  delete the environments, the sample city and the demo's run
#
# On a machine with an NVIDIA card: make demo EXTRA=cuda

PYTHON ?= python3
EXTRA ?= cpu
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed-$(EXTRA)

CITY := data/sample-city
RUN := runs/demo

.PHONY: demo test test-oldest test-beam test-app test-export test-backends lint clean

demo: $(RUN)/metrics.json
	@echo "== 4/7 score"
	$(BIN)/python -m tfseg.evaluate --run $(RUN)
	@echo "== 5/7 load the SavedModel in a fresh process, write a report of the run"
	$(BIN)/python -m tfseg.report --run $(RUN)
	@echo "== 6/7 predict images"
	$(BIN)/python -m tfseg.predict --model $(RUN)/saved_model --out $(RUN)/predictions $(CITY)/raw/leftImg8bit/val
	@echo "== 7/7 compare the masks in these files with the ground truth: the same score"
	$(BIN)/python -m tfseg.evaluate --masks $(RUN)/predictions --records $(CITY)/records
	@echo
	@echo "raw pictures     $(CITY)/raw"
	@echo "TFRecords        $(CITY)/records"
	@echo "run              $(RUN): config.yaml, history.csv, metrics.json, weights; tensorboard --logdir $(RUN)"
	@echo "SavedModel       $(RUN)/saved_model"
	@echo "report           $(RUN)/report.html, its figures in $(RUN)/report"
	@echo "predictions      $(RUN)/predictions"

$(CITY)/records/manifest.json: $(INSTALLED)
	@echo "== 1/7 sample city"
	$(BIN)/python -m tfseg.sample_city --out $(CITY)/raw --size 128x256 --train 240 --val 48 --test 6
	@echo "== 2/7 TFRecords"
	$(BIN)/python tools/make_tfrecords.py --root $(CITY)/raw --out $(CITY)/records --size 96x192 --codec png

$(RUN)/metrics.json: $(CITY)/records/manifest.json configs/demo.yaml
	@echo "== 3/7 train and export"
	$(BIN)/python -m tfseg.train --config configs/demo.yaml --overwrite true

test: $(INSTALLED)
	$(BIN)/python -m pytest

# The fast part of the tests on the oldest TensorFlow that we promise, which is also the one for Metal.
test-oldest: .venv-oldest/.installed
	.venv-oldest/bin/python -m pytest tests/augmentation tests/models tests/metrics tests/training/test_learner.py \
		tests/diagnostics/test_doctor.py tests/exporters tests/test_losses.py tests/pipeline/test_pipeline.py tests/records

# Without TensorFlow, which no worker of Beam has.
test-beam: .venv-beam/.installed
	.venv-beam/bin/python -m pytest tests/conversion/test_beam.py

# Without Chromium the tests of the browser skip.
test-app: .venv-app/.installed
	.venv-app/bin/python -m pytest -m "slow or not slow" tests/serving/test_web_*.py

test-export: .venv-export/.installed
	.venv-export/bin/python -m pytest tests/exporters tests/inference/test_doors.py

# TensorFlow only reads the data. JAX compiles in half the time if it may do so badly.
test-backends: export JAX_DISABLE_MOST_OPTIMIZATIONS = 1
test-backends: .venv-backends/.installed
	KERAS_BACKEND=torch .venv-backends/bin/python -m pytest tests/augmentation tests/models tests/training/test_backends.py \
		tests/training/test_learner.py tests/test_losses.py tests/metrics/test_confusion.py tests/pipeline/test_damage.py
	KERAS_BACKEND=jax .venv-backends/bin/python -m pytest tests/augmentation tests/models tests/training/test_learner.py tests/test_losses.py \
		tests/metrics/test_confusion.py tests/pipeline/test_damage.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(INSTALLED): pyproject.toml
	$(PYTHON) tools/check_python.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --editable ".[$(EXTRA),dev]"
	touch $@

.venv-oldest/.installed: pyproject.toml
	$(PYTHON) tools/check_python.py
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet tensorflow-cpu==2.18.1 --editable ".[dev]"
	touch $@

.venv-beam/.installed: pyproject.toml
	$(PYTHON) tools/check_python.py
	$(PYTHON) -m venv .venv-beam
	.venv-beam/bin/python -m pip install --quiet 'pytest>=8' 'universal_pathlib>=0.2' --editable ".[beam]"
	touch $@

.venv-app/.installed: pyproject.toml
	$(PYTHON) tools/check_python.py
	$(PYTHON) -m venv .venv-app
	.venv-app/bin/python -m pip install --quiet 'pytest>=8' playwright --editable ".[$(EXTRA),app]"
	touch $@

.venv-export/.installed: pyproject.toml
	$(PYTHON) tools/check_python.py
	$(PYTHON) -m venv .venv-export
	.venv-export/bin/python -m pip install --quiet 'pytest>=8' --editable ".[cpu,export]"
	touch $@

.venv-backends/.installed: pyproject.toml
	$(PYTHON) tools/check_python.py
	$(PYTHON) -m venv .venv-backends
	.venv-backends/bin/python -m pip install --quiet 'pytest>=8' jax 'torch==2.13.0' albumentations --editable ".[cpu]"
	touch $@

clean:
	rm -rf .venv .venv-oldest .venv-beam .venv-app .venv-export .venv-backends data/sample-city runs/demo
