#!/usr/bin/env bash
# Runs all speed benchmarks one after another, prints their results and draws plots. It takes some 40 minutes on two cores.
# If a part fails or is stopped, the next call continues with that part. After the last part, the next call runs all again.
set -euo pipefail
found=${1:?usage: benchmarks/run.sh FOUND [TOOLS]}
tools=(${2:+--tools "$2"})
python=${PYTHON:-python3}
rounds=${ROUNDS:-5}
mkdir -p "$found"

part() { # NAME SCRIPT ARGUMENTS…
    local name=$1 text="$found/.part-$1"
    shift
    if [ ! -e "$text" ]; then
        "$python" benchmarks/"$@" | tee "$text.part"
        mv "$text.part" "$text"
    else
        echo "$name: measured $(date -r "$text" '+%F %R'); remove $text to measure it again" >&2
        cat "$text"
    fi
}

for shape in built-in base large; do
    part "$shape" throughput.py --shape "$shape" --rounds "$rounds" --save "$found"
done
part serving serving.py --curves --save "$found" "${tools[@]}"
part curves curves.py --save "$found" "${tools[@]}"
part long_document long_document.py --save "$found"
part stages stages.py
"$python" benchmarks/speed_plots.py "$found" --out "${PLOTS:-$found}"
rm "$found"/.part-*
