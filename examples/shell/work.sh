#!/bin/sh
# Integrates 4 / (1 + x^2) from 0 to 1, which is pi, twice as finely in each round.
#
# A program in any language can be a trial: this one needs a POSIX shell and awk. By hand: sh work.sh simpson 8
# Arguments: the rule (midpoint, trapezoid or simpson) and the number of rounds.
set -eu
export LC_ALL=C # a point in 3.14, wherever this runs

rule=$1
num_rounds=$2
metrics=${DROPSWEEP_METRICS:-metrics.jsonl}
checkpoints=${DROPSWEEP_CHECKPOINTS:-checkpoints}
mkdir -p outputs "$checkpoints"

# Resume: on a later attempt the variable names the latest whole checkpoint.
round=0
estimate=none
if [ -n "${DROPSWEEP_RESUME_FROM:-}" ]; then
    read -r round estimate <"$DROPSWEEP_RESUME_FROM/state.txt"
    echo "resumed after round $round"
fi

while [ "$round" -lt "$num_rounds" ]; do
    round=$((round + 1))
    result=$(awk -v rule="$rule" -v round="$round" '
        function f(x) { return 4 / (1 + x * x) }
        BEGIN {
            n = 2 ^ round
            for (i = 0; i < n; i++) {
                middle += f((i + 0.5) / n)
                ends += (f(i / n) + f((i + 1) / n)) / 2
            }
            if (rule == "midpoint") estimate = middle / n
            else if (rule == "trapezoid") estimate = ends / n
            else if (rule == "simpson") estimate = (2 * middle + ends) / (3 * n)
            else { print "unknown rule: " rule >"/dev/stderr"; exit 2 }
            error = estimate - atan2(0, -1)
            printf "%.15f %.3e\n", estimate, error < 0 ? -error : error
        }')
    estimate=${result% *}
    error=${result#* }

    # Metrics: one JSON object a line.
    printf '{"step": %d, "estimate": %s, "error": %s}\n' "$round" "$estimate" "$error" >>"$metrics"

    # A checkpoint is written under a hidden name and made whole by renaming it.
    name=$(printf 'round-%03d' "$round")
    mkdir -p "$checkpoints/.$name"
    echo "$round $estimate" >"$checkpoints/.$name/state.txt"
    rm -rf "${checkpoints:?}/$name"
    mv "$checkpoints/.$name" "$checkpoints/$name"
done

echo "$estimate" >outputs/result.txt
echo "pi is about $estimate"
