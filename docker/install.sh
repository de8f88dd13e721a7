#!/bin/sh
# Installs what one image holds, by its name, into /opt/venv, and takes away what only those need who build on TensorFlow:
# its headers and symbols and libclang, half a gigabyte. A file whose hash is not that of the pins is refused.
set -eu
pip install --no-cache-dir --no-compile --no-deps --only-binary :all: --require-hashes -r "/opt/docker/$1.txt"
pip uninstall --yes libclang pip
cd /opt/venv/lib/python3*/site-packages/tensorflow
rm -r include
strip --strip-unneeded libtensorflow_cc.so.2
