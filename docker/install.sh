#!/bin/sh
# Installs what one image holds, by its name, into /opt/venv, and takes away what no service needs: the packages' own tests,
# the tools of ONNX Runtime that make and train models, its library for C, which Python's has inside, headers, and symbols
# of the libraries. A file whose hash is not that of the pins is refused.
set -eu
pip install --no-cache-dir --no-compile --no-deps --only-binary :all: --require-hashes -r "/opt/docker/$1.txt"
pip uninstall --yes pip
cd /opt/venv/lib/python3*/site-packages
rm -r onnxruntime/capi/libonnxruntime.so.* onnxruntime/quantization onnxruntime/tools onnxruntime/transformers
for package in numpy pandas pyarrow; do
    [ ! -d "$package" ] || find "$package" -type d \( -name tests -o -name include \) -prune -exec rm -r {} +
done
find . -type f \( -name '*.so' -o -name '*.so.*' \) -exec strip --strip-unneeded {} +
