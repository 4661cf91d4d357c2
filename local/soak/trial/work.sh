#!/bin/sh
# One trial of the soak: a few short steps, a checkpoint after each, and the ending that its plan asks for.
#
# Arguments: the plan, as index/steps/milliseconds/ending; the ledger, a file outside of the trial to which each attempt
# appends a line when it begins and when it ends.
set -eu
IFS=/ read -r index num_steps step_ms ending <<PLAN
$1
PLAN
ledger=$2

note() {
    printf '%s %s %s %s %s\n' "$1" "$DROPSWEEP_JOB" "$DROPSWEEP_TRIAL" "$DROPSWEEP_ATTEMPT" "$$" >>"$ledger"
}

note begin
step=0
total=0
if [ -n "${DROPSWEEP_RESUME_FROM:-}" ]; then
    read -r step total <"$DROPSWEEP_RESUME_FROM/state.txt"
fi
pause=$(printf '%d.%03d' $((step_ms / 1000)) $((step_ms % 1000)))
while [ "$step" -lt "$num_steps" ]; do
    step=$((step + 1))
    total=$((total + index * step))
    sleep "$pause"
    printf '{"step": %d, "total": %d}\n' "$step" "$total" >>"$DROPSWEEP_METRICS"
    if [ "$num_steps" -gt 1 ]; then
        mkdir "$DROPSWEEP_CHECKPOINTS/.making"
        echo "$step $total" >"$DROPSWEEP_CHECKPOINTS/.making/state.txt"
        mv "$DROPSWEEP_CHECKPOINTS/.making" "$DROPSWEEP_CHECKPOINTS/step-$step" # whole from here on
    fi
done
note end
case $ending in
exit-1) exit 1 ;;
first-75) [ "$DROPSWEEP_ATTEMPT" -gt 1 ] || exit 75 ;;
esac
