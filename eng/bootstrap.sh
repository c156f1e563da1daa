#!/usr/bin/env bash
# Makes the repository ready to run: system packages, the libtorch shim, the .NET build.
#
#   eng/bootstrap.sh PROJECT...      installs what is missing and builds; does nothing when all of it is up to date
#   source eng/bootstrap.sh          gives is_fresh, bootstrap and fail to ./pyramidflow and ./test
#
# LIBTORCH=DIR (with include/ and lib/) or LIBTORCH_USE_PIP=1 choose another libtorch than the system's package.
# All messages go to stderr; the output of the tools goes to artifacts/bootstrap.log.
set -euo pipefail

root=${root:-$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")}
export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_GENERATE_ASPNET_CERTIFICATE=false

shim=$root/artifacts/native/libpyramidflow_torch.so
shim_note=$root/artifacts/native/.libtorch
libtorch_choice="libtorch: ${LIBTORCH:-system} ${LIBTORCH_USE_PIP:-0}"

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "error: $*"
    exit 1
}

# inputs_of PROJECT sets `inputs`: what its build is made from; only test projects are made from tests/.
inputs_of() {
    inputs=()
    local path
    for path in "$root"/{src,native,models,eng,tests} "$root"/Directory.* "$root"/global.json "$root"/*.slnx; do
        if [[ -e $path && ( $path != */tests || $1 != src/* ) ]]; then
            inputs+=("$path")
        fi
    done
}

# newer_input STAMP [find test...]: succeeds when some input is newer than the stamp; build output is no input.
newer_input() {
    [[ -n $(find "${inputs[@]}" \( -name bin -o -name obj -o -name goldens \) -prune -o "${@:2}" -newer "$1" -print -quit) ]]
}

# stamp_of PROJECT sets `stamp`: a file that is as old as the last good build of the project.
stamp_of() {
    stamp=$root/artifacts/.built-${1//\//-}
}

# CMake remembers the libtorch it found first, so we note which one that was, and the folder it ran in: a checkout that was
# moved or copied is configured anew.
shim_fits() {
    local cache=$root/artifacts/native/CMakeCache.txt
    [[ -f $shim_note && $(<"$shim_note") == "$libtorch_choice" ]] || return 1
    [[ ! -f $cache ]] || grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root/native" "$cache"
}

# is_fresh PROJECT: the shim and the project were built from what is on disk now, against the libtorch chosen now.
is_fresh() {
    stamp_of "$1"
    [[ -f $stamp && -f $shim ]] && shim_fits || return 1
    inputs_of "$1"
    ! newer_input "$stamp"
}

# bootstrap PROJECT...: one at a time on this machine; flock -o keeps the lock out of build servers that outlive us.
bootstrap() {
    mkdir -p "$root/artifacts" || fail "cannot write to $root: copy the repository to a folder of your own"
    flock -o "$root/artifacts/.lock" "$BASH" "$root/eng/bootstrap.sh" "$@"
}

# run WHAT COMMAND...: says what is done, keeps the output in the log, shows its end when it fails.
run() {
    say "$1 ..."
    printf '\n== %s\n' "$1" >>"$log"
    if ! "${@:2}" >>"$log" 2>&1 </dev/null; then
        awk '/^== /{delete seen} !seen[$0]++' "$log" | tail -n 30 >&2
        return 1
    fi
}

need() { # need COMMAND PACKAGE
    command -v "$1" >/dev/null || packages+=("$2")
}

need_package() {
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]] || packages+=("$1")
}

check_libtorch() {
    if [[ -n ${LIBTORCH:-} ]]; then
        [[ -d $LIBTORCH/include && -d $LIBTORCH/lib ]] ||
            fail "LIBTORCH=$LIBTORCH has no include/ and lib/: point it to an unpacked libtorch, or unset it"
    elif [[ ${LIBTORCH_USE_PIP:-} == 1 ]]; then
        python3 -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)' 2>/dev/null ||
            fail "LIBTORCH_USE_PIP=1, but python3 has no torch package: pip install torch, or unset it"
    elif command -v dpkg-query >/dev/null; then
        need_package libtorch-dev
        need_package libopenblas0-openmp
        need_package libgloo-dev
    elif [[ ! -e /usr/include/ATen/ATen.h ]]; then
        fail "no libtorch: unpack one from https://pytorch.org (libtorch, cxx11 ABI) and set LIBTORCH to its folder"
    fi
}

install_packages() {
    packages=()
    check_libtorch
    need ffmpeg ffmpeg
    need cmake cmake
    need g++ g++
    need make make
    [[ ${#packages[@]} -gt 0 ]] || return 0

    command -v apt-get >/dev/null ||
        fail "missing: ${packages[*]} (names of the Debian packages): install them with this system's package manager"
    local as_root=()
    if [[ $EUID -ne 0 ]]; then
        command -v sudo >/dev/null ||
            fail "missing packages; run as root: apt-get install --no-install-recommends ${packages[*]}"
        as_root=(sudo)
        sudo -v || fail "missing packages; run: sudo apt-get install --no-install-recommends ${packages[*]}"
    fi
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
    say "Missing for building and running: ${packages[*]}"
    run "Reading the package lists" "${apt[@]}" update || say "the package lists could not be read; trying with the old ones"
    run "Installing ${packages[*]}" "${apt[@]}" install -y --no-install-recommends "${packages[@]}" ||
        fail "the packages were not installed; run: sudo apt-get install --no-install-recommends ${packages[*]}"
}

check_dotnet() {
    command -v dotnet >/dev/null ||
        fail "the .NET 10 SDK was not found: install the package dotnet-sdk-10.0 (https://dotnet.microsoft.com/download)"
    (cd "$root" && dotnet --version >/dev/null 2>&1) ||
        fail "dotnet is here, but not the .NET 10 SDK: install the package dotnet-sdk-10.0 (https://dotnet.microsoft.com/download)"
}

build_shim() {
    local build=$root/artifacts/native
    shim_fits || rm -rf "$build"
    run "Configuring the libtorch shim" cmake -S "$root/native" -B "$build" -DCMAKE_BUILD_TYPE=Release ||
        fail "the shim could not be configured; run: cmake -S native -B artifacts/native"
    printf '%s\n' "$libtorch_choice" >"$shim_note"
    run "Building the libtorch shim" cmake --build "$build" --parallel ||
        fail "the shim could not be built; run: cmake --build artifacts/native"
}

build_project() {
    stamp_of "$1"
    local started=$stamp.started
    touch "$started"
    run "Building $1" dotnet build -c Release "$root/$1" -v quiet -clp:NoSummary ||
        fail "the build failed; run: dotnet build -c Release $1"
    # The build makes folders among its inputs, so the stamp is set to now, unless somebody edited a file meanwhile.
    inputs_of "$1"
    newer_input "$started" -type f || touch "$started"
    mv "$started" "$stamp"
}

main() {
    [[ $# -gt 0 ]] || fail "name the projects to build, such as src/PyramidFlow.Cli"
    log=$root/artifacts/bootstrap.log
    local stale=() project
    for project in "$@"; do
        is_fresh "$project" || stale+=("$project")
    done
    [[ ${#stale[@]} -gt 0 ]] || return 0
    : >"$log"
    check_dotnet
    install_packages
    build_shim
    for project in "${stale[@]}"; do
        build_project "$project"
    done
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    main "$@"
fi
