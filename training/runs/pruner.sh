#!/bin/sh
# The `pruner` that comes with Laconic: a head over the encoder as it is. Ten minutes on a core that has bf16; goes on
# where it was broken off.
#   DATA=folder of qa_*.jsonl.gz  BASE=folder of all-MiniLM-L6-v2  OUT=folder of the model  training/runs/pruner.sh
set -eu
cd "$(dirname "$0")/../.."
exec nice -n 5 "${PYTHON:-python}" -m training.pruner --data "$DATA" --base "$BASE" --out "$OUT" --seed 0 --threads 1
