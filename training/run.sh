#!/usr/bin/env bash
# Makes the embedded model from the sets in a folder: about three and a half hours on two cores that multiply in bfloat16.
# Each step leaves its result in build/train, and a training run resumes from its last checkpoint after a break.
set -euo pipefail
data=${1:?usage: training/run.sh DATA}
python=${PYTHON:-python3}
work=build/train
model=router/models/shortlist-small
mkdir -p "$work"
# torch frees large buffers to the system after every step unless malloc is told to keep them.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=20000000000 MALLOC_TOP_PAD_=500000000
step() { echo "== $*" >&2; "$python" "$@"; }

step training/fetch_base.py --out "$work/base"
# 1. The retrieval encoder, against BM25's look-alikes and the rest of each batch.
[ -s "$work/groups.jsonl" ] || step training/mine.py --data "$data" --out "$work/groups.jsonl"
step training/train_encoder.py --data "$data" --groups "$work/groups.jsonl" --base "$work/base" --out "$work/encoder" \
    --minutes 36 --lr 2e-4
# 2. The cross-encoder, against what the first stage mistakes.
step training/export.py --base "$work/base" --encoder "$work/encoder" --out "$model"
[ -s "$work/first_stage.pt" ] || step training/mine.py --data "$data" --out "$work/fused.jsonl" --encoder "$model" \
    --scale 0.4 --max-corpus 5000 --evidence "$work/first_stage.pt"
step training/train.py --data "$data" --groups "$work/fused.jsonl" --base "$work/base" \
    --out "$work/cross" --minutes 110
# 3. The six-layer student of the cross-encoder.
step training/train.py --data "$data" --groups "$work/fused.jsonl" --base "$work/base" --start "$work/cross" --student \
    --out "$work/fast" --minutes 14 --lr 3e-4
# 4. What ships, and how its evidence makes a score.
step training/export.py --base "$work/base" --cross-encoder "$work/cross" --encoder "$work/encoder" \
    --fast "$work/fast" --out "$model"
step training/fit_first_stage.py --evidence "$work/first_stage.pt" --model "$model"
for variant in "" fast; do
    step training/gather.py --data "$data" --first-stage "$work/first_stage.pt" --groups "$work/fused.jsonl" \
        --model "$model" ${variant:+--variant "$variant"} --out "$work/evidence$variant.pt"
    step training/fit_score.py --evidence "$work/evidence$variant.pt" --model "$model" ${variant:+--variant "$variant"}
done
