#!/usr/bin/env bash
# Writes the public members of the libraries into their PublicAPI.Shipped.txt, which the build compares with the code.
# Run it after a change of the public surface, and read the difference before it is committed.
#
#   eng/update-public-api.sh
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 LC_ALL=C.UTF-8

for project in PyramidFlow.Torch PyramidFlow PyramidFlow.Hosting PyramidFlow.Extensions.AI; do
    folder=$root/src/$project
    for list in Shipped Unshipped; do
        echo '#nullable enable' >"$folder/PublicAPI.$list.txt"
    done
    # With empty lists the analyzer names every public member, in the form of the list.
    log=$(dotnet build -noAutoResponse -c Release "$folder" -p:TreatWarningsAsErrors=false -clp:NoSummary -v quiet 2>&1) || { echo "$log" >&2; exit 1; }
    grep -oP "warning RS0016: Symbol '\K.*(?=' is not part of the declared public API)" <<<"$log" | sort -u >>"$folder/PublicAPI.Shipped.txt"
    echo "$project: $(($(wc -l <"$folder/PublicAPI.Shipped.txt") - 1)) public members"
done
