#!/usr/bin/env bash
# Builds and tests this working tree on another Debian's libtorch, in a tree of its own; Debian 13 has libtorch 2.6.
#
#   eng/test-other-libtorch.sh TREE [ROOM...]      as root: what ./test ROOM... does, in there
#
# The tree is made by debootstrap where there is none (about 3 GB) and kept; SUITE=forky chooses another release, MIRROR
# another server. This system's .NET SDK, packages of NuGet and, where it is set, PYRAMIDFLOW_TOKENIZERS are lent to it.
set -euo pipefail

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "error: $*"
    exit 1
}

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
suite=${SUITE:-trixie}
mirror=${MIRROR:-http://deb.debian.org/debian}
packages=ca-certificates,libtorch-dev,libgloo-dev,libopenblas0-openmp,ffmpeg,cmake,make,g++,git,procps,libssl3t64

# Everything mounted is in a mount namespace of its own and goes with it.
if [[ ${1:-} != --inside ]]; then
    [[ $# -gt 0 && $1 != -* ]] || { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2; }
    [[ $EUID -eq 0 ]] || fail "making and entering the tree needs root: sudo $0 $*"
    for tool in debootstrap unshare chroot git tar; do
        command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install debootstrap util-linux coreutils git tar"
    done
    exec unshare --mount --propagation private "$BASH" "${BASH_SOURCE[0]}" --inside "$@"
fi

tree=$(readlink -m "$2")
shift 2
if [[ ! -e $tree/.ready ]]; then
    say "Making $suite in $tree ..."
    [[ -e $tree/usr/bin/dpkg && -e $tree/usr/bin/cmake ]] ||
        debootstrap --variant=minbase "--include=$packages" "$suite" "$tree" "$mirror" >&2 ||
        fail "debootstrap failed: remove $tree and try again"
    touch "$tree/.ready"
fi

dotnet=$(dirname "$(readlink -f "$(command -v dotnet)")") || fail "the .NET SDK was not found on this system"
inside=/pyramidflow
lend() { # lend FOLDER PLACE
    mkdir -p "$tree$2"
    mount --bind "$1" "$tree$2"
}
lend "$dotnet" /usr/share/dotnet
mkdir -p "$HOME/.nuget/packages"
lend "$HOME/.nuget/packages" /root/.nuget/packages
lend /dev /dev
lend /dev/shm /dev/shm
mount -t proc proc "$tree/proc"
cp -L /etc/resolv.conf "$tree/etc/resolv.conf"
if [[ -d /etc/ssl/certs ]]; then
    lend /etc/ssl/certs /etc/ssl/certs
    lend "$(readlink -f /usr/local/share/ca-certificates)" /usr/local/share/ca-certificates
fi
tokenizers=
if [[ -n ${PYRAMIDFLOW_TOKENIZERS:-} ]]; then
    tokenizers=/tokenizers
    lend "$PYRAMIDFLOW_TOKENIZERS" $tokenizers
fi

# The files of the working tree, with what is new and without what is gone; builds in there stay.
mkdir -p "$tree$inside"
list=$tree$inside/.files
[[ -e $list ]] || : >"$list"
(cd "$root" && git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    [[ -e $file || -L $file ]] && printf '%s\n' "$file"
done | sort) >"$list.new"
(cd "$tree$inside" && comm -23 .files .files.new | tr '\n' '\0' | xargs -0 -r rm -f)
mv "$list.new" "$list"
tar -C "$root" -c -T "$list" | tar -C "$tree$inside" -x

exec chroot "$tree" /usr/bin/env -i HOME=/root PATH=/usr/share/dotnet:/usr/bin:/bin:/usr/sbin:/sbin LC_ALL=C.UTF-8 \
    DOTNET_ROOT=/usr/share/dotnet NUGET_CERT_REVOCATION_MODE="${NUGET_CERT_REVOCATION_MODE:-online}" \
    ${tokenizers:+PYRAMIDFLOW_TOKENIZERS=$tokenizers} OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}" \
    /bin/bash "$inside/test" "$@"
