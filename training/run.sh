#!/usr/bin/env bash
# Makes the embedded model from the sets in a folder: base, groups, training (about 80 minutes on two cores), export, score.
# Each step leaves its result in build/train and training itself resumes from its last checkpoint.
set -euo pipefail
data=${1:?usage: training/run.sh DATA}
python=${PYTHON:-python3}
work=build/train
model=router/models/shortlist-small
mkdir -p "$work"
"$python" training/fetch_base.py --out "$work/base"
[ -s "$work/groups.jsonl" ] || "$python" training/mine.py --data "$data" --out "$work/groups.jsonl"
"$python" training/train.py --data "$data" --groups "$work/groups.jsonl" --base "$work/base" --out "$work/run1" --minutes 65
"$python" training/export.py --base "$work/base" --checkpoint "$work/run1/checkpoint.pt" --out "$model"
"$python" training/fit_score.py --data "$data" --groups "$work/groups.jsonl" --model "$model"
