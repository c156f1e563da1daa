#!/bin/sh
# Compiles the shim for the libtorch of this machine, once for each libtorch and version of the sources, and prints its path.
#
#   sh native/compile.sh FOLDER [LIBTORCH-OF-THE-SHIPPED-SHIM]
#
# Where that is impossible it prints one sentence that says what is missing, and fails. LIBTORCH and LIBTORCH_USE_PIP choose a libtorch as in CMakeLists.txt.
set -eu
sources=$(dirname "$(readlink -f "$0")")
kept=$1
shipped=${2:-}

fail() {
    echo "PyramidFlow has no native part for this machine${shipped:+ (its package brings that for $shipped)}: $*; -p:PyramidFlowNative=none builds without it."
    exit 1
}

missing=
for tool in cmake g++ make; do
    command -v "$tool" >/dev/null || missing="$missing $tool"
done
if [ -n "${LIBTORCH:-}" ]; then
    root=$(readlink -f "$LIBTORCH") || fail "LIBTORCH=$LIBTORCH is no folder"
    [ -e "$root/include/ATen/ATen.h" ] || fail "LIBTORCH=$LIBTORCH has no include/ATen: point it to an unpacked libtorch"
elif [ "${LIBTORCH_USE_PIP:-}" = 1 ]; then
    root=$(python3 -c 'import importlib.util as u, os; print(os.path.dirname(u.find_spec("torch").origin))' 2>/dev/null) || fail "LIBTORCH_USE_PIP=1 and python3 has no torch: pip install torch"
else
    root=/usr
    [ -e /usr/include/ATen/ATen.h ] || missing=" libtorch-dev libopenblas0-openmp libgloo-dev$missing"
fi
[ -z "$missing" ] || fail "sudo apt install$missing, or set LIBTORCH to an unpacked libtorch"

# Another libtorch, also one that took the place of an older one, has another folder.
library=$(find "$root/lib" -name 'libtorch_cpu.so*' ! -type l 2>/dev/null | head -n 1)
key=$( (echo "$root"; [ -z "$library" ] || stat -c '%n %s %Y' "$library"; cat "$sources"/CMakeLists.txt "$sources"/*.cpp "$sources"/*.h) | sha256sum | cut -c 1-16)
target=$kept/$key
shim=$target/libpyramidflow_torch.so
mkdir -p "$target" || fail "$target cannot be written: make $kept writable"
if [ ! -e "$target/done" ]; then
    exec 9>"$target/lock"
    flock 9
    if [ ! -e "$target/done" ]; then
        (cmake -S "$sources" -B "$target" -DCMAKE_BUILD_TYPE=Release && cmake --build "$target" --parallel) >"$target/build.log" 2>&1 9>&- || fail "it does not compile with $root (see $target/build.log)"
        touch "$target/done"
    fi
fi
echo "$shim"
