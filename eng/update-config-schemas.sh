#!/usr/bin/env bash
# Writes the JSON schemas of the training configurations into configs/schema, from the types that read them and their documentation.
# Run it after a change of a key, and read the difference before it is committed.
#
#   eng/update-config-schemas.sh
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 LC_ALL=C.UTF-8

project=$root/tests/PyramidFlow.Cli.Tests
dotnet build -c Release -v quiet -clp:NoSummary "$project"
PYRAMIDFLOW_WRITE_SCHEMAS=1 dotnet "$project/bin/Release/net10.0/PyramidFlow.Cli.Tests.dll" -noLogo -class "*ConfigSchemaTests"
git -C "$root" diff --stat -- configs/schema
