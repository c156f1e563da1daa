#!/usr/bin/env bash
# Shows that a program of a user compiles the native part from the package: outside the repository, with the packages alone.
# It takes some minutes, of which the compiler takes nearly all, and is no part of ./test.
#
#   eng/compile-packaged-shim.sh        packs what is built, under a version of its own
#
# LIBTORCH, LIBTORCH_USE_PIP     another libtorch than the system's, as everywhere
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
source "$root/eng/bootstrap.sh"
bootstrap src/PyramidFlow.Cli
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
# A version that no folder of packages has from before.
feed=$place/feed
version=0.1.0-shim.$$
"$root/eng/pack.sh" --no-build --version "$version" --output "$feed"
[[ -z ${LIBTORCH:-} ]] || LIBTORCH=$(realpath "$LIBTORCH")
machine=${NUGET_PACKAGES:-$HOME/.nuget/packages}
unset NUGET_PACKAGES
cp -r "$root/samples/Quickstart" "$root/samples"/Directory.* "$place"
rm -rf "$place/Quickstart"/{bin,obj}
# The packages and the compiled shim are kept here, and not for the other projects of the user.
cat >"$place/nuget.config" <<EOF
<configuration>
  <config><add key="globalPackagesFolder" value="$place/packages" /></config>
  <packageSources><clear /><add key="packed" value="$feed" /></packageSources>
  <fallbackPackageFolders><clear /><add key="machine" value="$machine" /></fallbackPackageFolders>
</configuration>
EOF
export XDG_CACHE_HOME=$place/cache
unset PYRAMIDFLOW_NATIVE PYRAMIDFLOW_MODELS
options=(-v quiet -nologo -nodeReuse:false -p:PyramidFlowVersion="$version" -p:PyramidFlowNative=compile)
cd "$place/Quickstart"

# shims FOLDER: the native parts of a publication.
shims() {
    find "$1" -name 'libpyramidflow_torch.so' -printf '%P\n' | sort
}

say "Building a program, which compiles the native part ..."
started=$SECONDS
dotnet build -c Release "${options[@]}"
say "built in $((SECONDS - started)) s"
compiled=$(find "$place" -path "$XDG_CACHE_HOME/*" -name libpyramidflow_torch.so)
[[ -f $compiled ]] || fail "nothing was compiled"
cmp "$compiled" bin/Release/net10.0/libpyramidflow_torch.so || fail "the program has another native part than the one that was compiled"
dotnet bin/Release/net10.0/Quickstart.dll

say "Building it again ..."
started=$SECONDS
dotnet build -c Release "${options[@]}"
say "built in $((SECONDS - started)) s"

say "Publishing it for linux-x64 ..."
dotnet publish -c Release -r linux-x64 --no-self-contained -p:UseAppHost=false "${options[@]}" -o "$place/published"
[[ $(shims "$place/published") == libpyramidflow_torch.so ]] || fail "the publication has other native parts than one: $(shims "$place/published")"
cmp "$compiled" "$place/published/libpyramidflow_torch.so" || fail "the publication has the native part of the package and not the compiled one"
(cd "$place/published" && dotnet Quickstart.dll)
say "compiled, built, published and run"
