#!/usr/bin/env bash
# Makes the reference of the packed libraries' public API from their XML comments, as a site in artifacts/api-docs/site.
# It needs nuget.org the first time, for docfx. A comment that names what no reader of the site can see is an error.
#
#   eng/api-docs.sh && python3 -m http.server -b 127.0.0.1 -d artifacts/api-docs/site 8080        then http://127.0.0.1:8080
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
source "$root/eng/bootstrap.sh"

version=2.81.0
tool=$root/artifacts/tools/docfx-$version
check_dotnet
[[ -x $tool/docfx ]] || dotnet tool install docfx --version "$version" --tool-path "$tool" >&2 || fail "docfx was not installed: check that nuget.org is reachable"
rm -rf "$root/artifacts/api-docs"
(cd "$root" && "$tool/docfx" docs/api/docfx.json --warningsAsErrors) || fail "docfx failed; its messages are above"

# What docfx does not find it shows without a link and without a warning, by the whole name if a comment named it.
if grep -roE '<span class="xref">PyramidFlow\.[^<]*' "$root/artifacts/api-docs/site" --include='*.html' | sort -u >&2; then
    fail "the comments of public members name members that are not public; see above"
fi
say "$root/artifacts/api-docs/site/index.html"
