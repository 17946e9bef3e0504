#!/bin/sh
# fuzz/run.sh SECONDS: build the fuzzers with clang and run each for so long. Inputs that crash are
# left in build/fuzz; corpora grow there from run to run.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
python=${PYTHON:-.venv/bin/python}
command -v clang >/dev/null || { echo "fuzz: needs clang and its libFuzzer"; exit 1; }
mkdir -p build/fuzz
"$python" -m fuzz.make_corpus build/fuzz
for target in bundle huffman; do
    clang -std=c99 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
        -DHT_PORTABLE -Iagent/runtime/csrc/include -Ifuzz "fuzz/fuzz_$target.c" fuzz/exercise.c \
        agent/runtime/csrc/src/*.c agent/runtime/csrc/src/kernels/*.c -o "build/fuzz/fuzz_$target"
    "build/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=10 -max_len=20480 -print_final_stats=1 \
        -artifact_prefix=build/fuzz/ "build/fuzz/$target"
done
