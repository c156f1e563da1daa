#!/usr/bin/env bash
# Makes a small video with one process, and with two under each program that starts processes and is here: torchrun, mpirun and srun. Says whether the latents are those of one process.
# For srun it starts munged, slurmctld and slurmd of its own, in a folder that is removed at the end; that needs root. Debian: python3-torch, openmpi-bin, slurm-wlm.
#
#   eng/launchers.sh [OPTIONS OF GENERATE]
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
place=$(mktemp -d /tmp/pyramidflow-launchers.XXXXXX)
started=()
finish() {
    for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
    wait
    rm -rf "$place"
}
trap finish EXIT

make=("${PYRAMIDFLOW:-$root/pyramidflow}" generate "a small red circle moving right on a black background" --frames 17 --seed 1 --threads 1 --save-latents)
options=("$@")
failed=0
try() {
    local name=$1
    shift
    local file="$place/${name// /-}"
    if timeout 300 "$@" "${make[@]}" "$file.safetensors" -o "$file.mp4" "${options[@]}" >"$file.log" 2>&1 && [[ -f $file.safetensors ]]; then
        python3 - "$name" "$place/alone.safetensors" "$file.safetensors" <<'P'
import json, struct, sys
def values(path):
    data = open(path, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    first, end = next(entry["data_offsets"] for key, entry in header.items() if key != "__metadata__")
    return struct.unpack(f"<{(end - first) // 4}f", data[8 + size + first:8 + size + end])
alone, other = values(sys.argv[2]), values(sys.argv[3])
most = max(abs(a - b) for a, b in zip(alone, other, strict=True)) / max(map(abs, alone))
print(f"{sys.argv[1]}: the latents differ from those of one process by {most:.1e} of the largest value")
sys.exit(most > 1e-5)
P
    else
        echo "$name: failed"
        tail -20 "$file.log"
        failed=1
    fi || failed=1
}

slurm() {
    local host
    host=$(hostname -s)
    (umask 077 && head -c 1024 /dev/urandom >"$place/munge.key")
    munged --foreground --force --key-file "$place/munge.key" --socket "$place/munge.socket" --pid-file "$place/munge.pid" --log-file "$place/munge.log" --seed-file "$place/munge.seed" 2>/dev/null &
    started+=($!)
    mkdir "$place/state" "$place/spool"
    cat >"$place/slurm.conf" <<C
ClusterName=launchers
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$place/munge.socket
CredType=cred/munge
SlurmctldPort=26817
SlurmdPort=26818
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd.pid
SlurmctldLogFile=$place/slurmctld.log
SlurmdLogFile=$place/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP OverSubscribe=YES
C
    export SLURM_CONF=$place/slurm.conf
    slurmctld -D >/dev/null 2>&1 &
    started+=($!)
    slurmd -D >/dev/null 2>&1 &
    started+=($!)
    for _ in {1..60}; do
        [[ $(sinfo -h -o %T 2>/dev/null) == idle ]] && return
        sleep 0.5
    done
    echo "slurm does not start:" && tail -5 "$place"/slurm*.log
    return 1
}

cd "$root"
"${make[@]}" "$place/alone.safetensors" -o "$place/alone.mp4" "${options[@]}" >"$place/alone.log" 2>&1 || { cat "$place/alone.log"; exit 1; }
if command -v torchrun >/dev/null; then
    # Debian 12 has torchrun 1.13 with Python 3.11, which ends with an error unless it redirects stdout or stderr alone.
    output=(--redirects 1 --tee 1 --log_dir "$place/torchrun")
    try "torchrun --standalone" torchrun "${output[@]}" --standalone --no_python --nproc_per_node 2
    try "torchrun, static" torchrun "${output[@]}" --no_python --nnodes 1 --nproc_per_node 2 --master_addr 127.0.0.1 --master_port 29517
    try "torchrun, c10d" torchrun "${output[@]}" --no_python --nnodes 1 --nproc_per_node 2 --rdzv_backend c10d --rdzv_endpoint 127.0.0.1:29518 --rdzv_id launchers
fi
if command -v mpirun >/dev/null; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    try "mpirun" mpirun --oversubscribe -n 2
fi
if command -v srun >/dev/null; then
    if slurm; then try "srun" srun --ntasks 2; else failed=1; fi
fi
exit "$failed"
