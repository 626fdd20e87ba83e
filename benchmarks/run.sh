#!/usr/bin/env bash
# Runs all benchmarks of speed, one after another, prints what each found and draws it: some 40 minutes on two cores.
# A part that failed or was stopped is run again by the next call, and those before it are not; after the last part the
# next call begins anew.
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
        echo "$name: from $(date -r "$text" '+%F %R'); remove $text to measure it again" >&2
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
