#!/bin/sh
# The reader that benchmarks/quality.py --reader judges with. About an hour on one core; goes on where it was broken off.
#   DATA=folder of qa_*.jsonl.gz  BASE=folder of all-MiniLM-L6-v2  OUT=folder of the reader  training/runs/reader.sh
set -eu
cd "$(dirname "$0")/../.."
exec nice -n 5 "${PYTHON:-python}" -m training.reader --data "$DATA" --base "$BASE" --out "$OUT" --epochs 2 --threads 1 --seed 0
