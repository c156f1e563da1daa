#!/usr/bin/env bash
# Packs the libraries, the sprites model and the tool into artifacts/packages. What is packed and why: docs/decisions/0032-packages.md.
#
#   eng/pack.sh [--version V] [--output DIR] [--no-build]
#
# --version V   other than VersionPrefix in Directory.Build.props, such as 0.2.0-beta.1
# --output DIR  other than artifacts/packages
# --no-build    packs what is built already in Release; without it everything is built first as a release is: with paths that are the same on every machine
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
source "$root/eng/bootstrap.sh"

output=$root/artifacts/packages
build=1
options=()
while [[ $# -gt 0 ]]; do
    case $1 in
        --version) options+=("-p:Version=${2:?--version needs a version}"); shift 2 ;;
        --output) output=$(realpath -m "${2:?--output needs a folder}"); shift 2 ;;
        --no-build) build=; shift ;;
        -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit ;;
        *) fail "$1 is unknown; --help lists the options" ;;
    esac
done

if [[ $build ]]; then
    bootstrap src/PyramidFlow.Cli
    options+=(-p:ContinuousIntegrationBuild=true)
else
    options+=(--no-build)
fi
[[ -f $root/artifacts/native/built-for.txt && -f $shim ]] || fail "the shim is not built: run ./pyramidflow doctor"
builtfor=$(<"$root/artifacts/native/built-for.txt")
[[ $builtfor == */libtorch_cpu.so.1.13 ]] ||
    say "The shim is the one for $builtfor, not for Debian 12's libtorch: on other machines the package compiles its own."

# One call of MSBuild for all: a call for each would evaluate the same projects again. It has all projects of src, since those that only others refer to would be looked for in Debug;
# what is no package is left out by itself.
solution=$(mktemp -d)/Packages.slnx
trap 'rm -rf "$(dirname "$solution")"' EXIT
{
    echo '<Solution>'
    printf '<Project Path="%s" />\n' "$root"/src/*/*.csproj
    echo '</Solution>'
} >"$solution"
dotnet pack -c Release -v quiet -nologo -clp:NoSummary "$solution" "${options[@]}" -p:PackageOutputPath="$output" >&2 || fail "packing failed; its messages are above"
ls -l "$output" | awk 'NR > 1 {printf "%9.1f KiB  %s\n", $5 / 1024, $9}'
