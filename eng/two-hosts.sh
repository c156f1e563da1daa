#!/usr/bin/env bash
# Runs a command as two processes on two hosts: network namespaces of this machine, joined by a link of a given rate and delay.
# It needs root, the programs ip and tc (Debian: iproute2), and for a delay the module sch_netem of the kernel.
#
#   eng/two-hosts.sh RATE DELAY COMMAND...
#   eng/two-hosts.sh 1gbit 5ms ./pyramidflow generate "a cat" --threads 1 -o cat.mp4
#   eng/two-hosts.sh none 0ms ./pyramidflow generate "a cat" --threads 1 -o cat.mp4      the link as it is
set -euo pipefail

[[ $# -ge 3 ]] || { sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'; exit 2; }
rate=$1 delay=$2
shift 2

hosts=("pyramidflow-a-$$" "pyramidflow-b-$$")
links=("pfa$$" "pfb$$")
remove() {
    for host in "${hosts[@]}"; do
        ip netns pids "$host" 2>/dev/null | xargs -r kill 2>/dev/null || true
        ip netns del "$host" 2>/dev/null || true
    done
}
trap remove EXIT

ip link add "${links[0]}" type veth peer name "${links[1]}"
for i in 0 1; do
    ip netns add "${hosts[i]}"
    ip link set "${links[i]}" netns "${hosts[i]}"
    ip -n "${hosts[i]}" addr add "10.77.0.$((i + 1))/24" dev "${links[i]}"
    ip -n "${hosts[i]}" link set "${links[i]}" up
    ip -n "${hosts[i]}" link set lo up
    case $rate/$delay in
    none/*) ;;
    */0ms) ip netns exec "${hosts[i]}" tc qdisc add dev "${links[i]}" root tbf rate "$rate" burst 256kb latency 50ms ;;
    *) ip netns exec "${hosts[i]}" tc qdisc add dev "${links[i]}" root netem rate "$rate" delay "$delay" ;;
    esac
done

on() {
    ip netns exec "${hosts[$1]}" env RANK="$1" WORLD_SIZE=2 LOCAL_RANK=0 MASTER_ADDR=10.77.0.1 MASTER_PORT=29500 "${@:2}"
}
on 1 "$@" &
on 0 "$@"
wait $!
