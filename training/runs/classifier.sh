#!/bin/sh
# The `classifier` that comes with Laconic. An hour on a core that has bf16; goes on where it was broken off.
#   DATA=folder of the sets  BASE=folder of all-MiniLM-L6-v2  OUT=folder of the model  training/runs/classifier.sh
# WITHOUT=compress_google leaves out the pairs whose licence is not stated; then PAIRS (files of training.annotate)
# should give others.
set -eu
cd "$(dirname "$0")/../.."
exec nice -n 5 "${PYTHON:-python}" -m training.classifier --data "$DATA" --base "$BASE" --out "$OUT" \
    --layers 6 --epochs 5 --threads 1 --bf16 --every 50 --seed 1 \
    ${WITHOUT:+--without $WITHOUT} ${PAIRS:+--pairs $PAIRS} \
    --share qa_squad=.5 qa_nq_multidoc=.25 qa_selqa=.15 qa_qed=.25 dialogue_sgd=.35 dialogue_qmsum=.1 \
    dialogue_mtbench101=.5 extract_scitldr=.12
