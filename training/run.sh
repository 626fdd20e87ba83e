#!/usr/bin/env bash
# Trains the built-in model on the sets in a folder, with 374 million tokens. The long rounds, 280 million tokens, take
# some 6 minutes on a large CUDA GPU with 16 CPU cores, and more than a day on two cores. The other rounds take hours on
# two cores; so do mining and fitting, which always run on the CPU.
# Each step saves its result in a folder. After an interruption the same command continues: a training run from its last
# checkpoint, mining from the set it had reached. A note beside each result (`*.provenance`) records its options and
# files. With other options or files a step stops instead of continuing, so use another WORK for a trial.
#   SHARE=0.001  train on this share of the tokens; with a few SETS (tools/toolalpaca tables/spider) a trial of all steps
#   DEVICE       the device for training: cpu, cuda or cuda:N (default: a GPU if there is one)
#   WORK, MODEL  the folder for results (build/train), and the model folder to write (router/models/shortlist-small)
set -euo pipefail

of() { awk "BEGIN { value = $1 * $share; print (value < $2 ? $2 : value) }"; } # a share of $1, at least $2
step() { echo "== $*" >&2; "$python" "$@"; }
mine() { step training/mine.py --data "$data" --scale "$(of 1 0)" "${only[@]}" "$@"; }
encode() { step training/train_encoder.py --data "$data" --base "$work/base" --device "$device" "$@"; }
train() { step training/train.py --data "$data" --base "$work/base" --device "$device" "$@"; }
export_() { step training/export.py --base "$work/base" "$@"; }
# A model is exported into a copy of a folder that has the other parts; an interrupted copy leaves no partial folder.
copy() { [ -d "$2" ] || { rm -rf "$2.part" && cp -r "$1" "$2.part" && mv "$2.part" "$2"; }; }

# In a function, so that bash reads all of it first: an edit of this file does not affect a run in progress.
main() {
    data=${1:?usage: training/run.sh DATA}
    python=${PYTHON:-python3}
    work=${WORK:-build/train}
    model=${MODEL:-router/models/shortlist-small}
    share=${SHARE:-1}
    device=${DEVICE:-auto}
    read -ra only <<<"${SETS:+--only $SETS}"
    mkdir -p "$work"
    # By default malloc returns torch's large buffers to the system after every step; these settings keep them.
    export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=20000000000 MALLOC_TOP_PAD_=500000000

    step training/fetch_base.py --out "$work/base"
    # 1. The encoder: first with look-alikes by BM25 and the other documents of a batch, then twice with its own look-alikes.
    mine --out "$work/words.jsonl"
    encode --groups "$work/words.jsonl" --out "$work/encoder-1" --tokens "$(of 4e6 20000)" --lr 2e-4
    copy router/models/shortlist-small "$work/model-1"
    export_ --encoder "$work/encoder-1" --out "$work/model-1" --unfitted
    mine --out "$work/groups-1.jsonl" --encoder "$work/model-1" --max-corpus 12000
    encode --groups "$work/groups-1.jsonl" --start "$work/model-1" --out "$work/encoder-2" \
        --tokens "$(of 11e6 20000)" --lr 2e-4
    copy "$work/model-1" "$work/model-2"
    export_ --encoder "$work/encoder-2" --out "$work/model-2"
    mine --out "$work/groups.jsonl" --encoder "$work/model-2" --max-corpus 12000
    encode --groups "$work/groups.jsonl" --start "$work/model-2" --out "$work/encoder-3" \
        --tokens "$(of 8e6 20000)" --lr 2e-4
    # 2. The cross-encoder: with look-alikes of the first stage, with its own, and with those of the first stage again.
    train --groups "$work/groups.jsonl" --encoder "$work/encoder-3" --out "$work/cross-1" --tokens "$(of 14e6 20000)"
    copy "$work/model-2" "$work/model-3"
    export_ --cross-encoder "$work/cross-1" --encoder "$work/encoder-3" --out "$work/model-3"
    step training/harden.py --data "$data" --groups "$work/groups.jsonl" --model "$work/model-3" \
        --out "$work/hard.jsonl" --queries "$(of 8000 100 | cut -d. -f1)"
    train --groups "$work/hard.jsonl" --start "$work/cross-1" --out "$work/cross-2" --tokens "$(of 6e6 20000)" --lr 1.2e-4
    train --groups "$work/groups.jsonl" --start "$work/cross-2" --out "$work/cross-3" --tokens "$(of 10e6 20000)" --seed 2
    # The last round also trains the lowest layers, which are frozen until here.
    train --groups "$work/groups.jsonl" --start "$work/cross-2" "$work/cross-3" --out "$work/cross-4" \
        --tokens "$(of 8e6 20000)" --seed 3 --frozen-layers 0
    # 3. Long rounds with large steps, from the second rounds; the six-layer student of that cross-encoder; and the means
    #    of short and long rounds.
    copy "$work/model-3" "$work/model-4"
    export_ --cross-encoder "$work/cross-2" --out "$work/model-4"
    encode --groups "$work/groups.jsonl" --start "$work/model-4" --out "$work/encoder-4" --tokens "$(of 40e6 20000)" \
        --lr 3e-4 --seed 2 --frozen-layers 3 --sets-per-step 8
    long=(--groups "$work/groups.jsonl" --queries-per-step 64 --num-negatives 15)
    train "${long[@]}" --start "$work/model-4" --out "$work/cross-5" --tokens "$(of 200e6 20000)" \
        --lr 2.5e-4 --seed 2 --frozen-layers 3
    train "${long[@]}" --start "$work/cross-5" --student --out "$work/fast-1" --tokens "$(of 40e6 20000)" --lr 5e-4 --seed 3
    copy "$work/model-4" "$work/model-5"
    export_ --cross-encoder "$work/cross-4" "$work/cross-5" --encoder "$work/encoder-2" "$work/encoder-3" \
        "$work/encoder-4" --out "$work/model-5"
    # 4. Judged pools, four fifths of all: the encoder from half-way between the base and those means, then twice more;
    #    the cross-encoder with the encoder's look-alikes; and the student again.
    encode --groups "$work/words.jsonl" --start "$work/model-5" --start-share 0.5 --judged 0.8 \
        --out "$work/encoder-5" --tokens "$(of 4e6 20000)" --lr 1e-4 --frozen-layers 2
    copy "$work/model-5" "$work/model-6"
    export_ --encoder "$work/encoder-5" --out "$work/model-6"
    encode --groups "$work/words.jsonl" --start "$work/model-6" --judged 0.85 \
        --out "$work/encoder-6" --tokens "$(of 4.6e6 20000)" --lr 1e-4 --frozen-layers 2 --seed 2
    copy "$work/model-6" "$work/model-7"
    export_ --encoder "$work/encoder-5" "$work/encoder-6" --out "$work/model-7"
    encode --groups "$work/words.jsonl" --start "$work/model-7" --judged 0.85 \
        --out "$work/encoder-7" --tokens "$(of 5e6 20000)" --lr 1e-4 --frozen-layers 2 --seed 3
    copy "$work/model-7" "$work/model-8"
    export_ --encoder "$work/encoder-5" "$work/encoder-6" "$work/encoder-7" --out "$work/model-8"
    step training/rank_pools.py --data "$data" --model "$work/model-8" --out "$work/ranks.jsonl" \
        --share "$(of 1 0)"
    judged=(--groups "$work/words.jsonl" --judged 0.8 --ranks "$work/ranks.jsonl" --lr 1.2e-4 --frozen-layers 3)
    train "${judged[@]}" --start "$work/model-5" --out "$work/cross-6" --tokens "$(of 4.7e6 20000)"
    train "${judged[@]}" --start "$work/cross-6" --out "$work/cross-7" --tokens "$(of 3.5e6 20000)" --seed 2
    train "${judged[@]}" --start "$work/cross-7" --out "$work/cross-8" --tokens "$(of 8e6 20000)" --seed 3
    train --groups "$work/words.jsonl" --judged 0.8 --ranks "$work/ranks.jsonl" --start "$work/cross-8" \
        --student --student-start "$work/fast-1" --out "$work/fast" --tokens "$(of 3e6 20000)" --lr 3e-4 --seed 3
    # 5. What ships, and how its features make a score; it takes the place of the model only when all of it is there.
    final="$work/final"
    copy "$work/model-8" "$final"
    export_ --cross-encoder "$work/cross-8" --fast "$work/fast" --out "$final"
    mine --out "$work/held-out.jsonl" --held-out-only --encoder "$final" --max-corpus 4000 \
        --features "$work/first_stage.pt"
    step training/fit_first_stage.py --features "$work/first_stage.pt" --model "$final"
    for variant in "" fast; do
        named=(--model "$final" ${variant:+--variant "$variant"})
        step training/gather.py --data "$data" --first-stage "$work/first_stage.pt" --groups "$work/groups.jsonl" \
            "${named[@]}" --out "$work/features$variant.pt"
        # All wishes and questions about schemas, but only some of the many questions about passages, which take longer.
        step training/gather_judged.py --data "$data" "${named[@]}" --kinds tools tables \
            --limit "$(of 840 4 | cut -d. -f1)" --out "$work/judged$variant.pt"
        step training/gather_judged.py --data "$data" "${named[@]}" --kinds documents \
            --limit "$(of 16 1 | cut -d. -f1)" --out "$work/passages$variant.pt"
        step training/fit_score.py "${named[@]}" --features "$work/features$variant.pt" "$work/judged$variant.pt" \
            "$work/passages$variant.pt"
    done
    mkdir -p "$model"
    for file in "$final"/*.safetensors "$final/tokenizer.json" "$final/shortlist.json"; do
        cp "$file" "$model/.part" && mv "$model/.part" "$model/$(basename "$file")"
    done
    exit
}

main "$@"
