#!/usr/bin/env bash
# Runs a command and says the most memory that each of its processes had, as the kernel counts it (VmHWM): tensors, program and the files that are mapped.
#
#   eng/process-memory.sh ./pyramidflow launch --nproc 2 -- generate "a cat" -o cat.mp4
set -euo pipefail

"$@" &
root=$!
declare -A most
processes() {
    local parent=$1 child
    echo "$parent"
    for child in $(cat "/proc/$parent/task/"*/children 2>/dev/null); do processes "$child"; done
}

while kill -0 "$root" 2>/dev/null; do
    for process in $(processes "$root"); do
        peak=$(awk '/^VmHWM/ { print $2 }' "/proc/$process/status" 2>/dev/null) || continue
        [[ -z $peak ]] || most[$process]="$peak $(tr '\0' '\n' 2>/dev/null <"/proc/$process/environ" | sed -n 's/^RANK=//p')"
    done
    sleep 0.2
done
code=0
wait "$root" || code=$?
for process in $(printf '%s\n' "${!most[@]}" | sort -n); do
    read -r peak rank <<<"${most[$process]}"
    echo "process ${rank:--} ($process): $((peak * 1024 / 1000000)) MB" >&2
done
exit "$code"
