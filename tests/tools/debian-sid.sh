#!/bin/sh
# A Debian "sid" tree: newer interpreters and another Qt than this machine has.
#
#   debian-sid.sh create           makes the tree, or adds to it what is missing
#   debian-sid.sh run COMMAND...   runs a command inside, with the checkout as /checkout
#
# The tree is in $QTINTER_SID (default: /var/tmp/qtinter-sid) and takes about 2 GB.  It
# comes from the package mirror that apt uses already.  Needs root and debootstrap.
set -eu

dir=${QTINTER_SID:-/var/tmp/qtinter-sid}
checkout=$(cd "$(dirname "$0")/../.." && pwd)
log=$dir.log
ready=$dir/.qtinter-packages

packages="
 g++ cmake ninja-build binutils ca-certificates openssl procps
 libmsgpack-c-dev libzstd-dev python3-msgpack
 python3-scikit-build-core python3-pip python3-pytest python3-aiohttp
 python3-cryptography python3-hypothesis python3-rich
 python3.14 python3.14-dev python3.14-venv
 python3.15 python3.15-dev python3.15-venv
 libpython3.14-testsuite libpython3.15-testsuite
 qt6-base-dev python3-pyqt6
 python3-pyside6.qtcore python3-pyside6.qtgui python3-pyside6.qtwidgets
 python3-pyside6.qtnetwork
 qtbase5-dev python3-pyqt5"

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

mirror() {
    apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Label: Debian' |
        sort -u | head -n 1
}

# inside COMMAND...: in a mount namespace of its own, so that nothing stays mounted.
inside() {
    mkdir -p "$dir/checkout"
    # shellcheck disable=SC2016 # for the inner shell
    unshare --mount sh -c '
        set -eu
        dir=$1
        mount --rbind /dev "$dir/dev"
        mount --bind /proc "$dir/proc"
        mount --bind "$2" "$dir/checkout"
        shift 2
        exec chroot "$dir" env -i HOME=/root LANG=C.UTF-8 \
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            QT_QPA_PLATFORM=offscreen DEBIAN_FRONTEND=noninteractive "$@"
    ' sh "$dir" "$checkout" "$@"
}

bootstrap() {
    command -v debootstrap >/dev/null || apt-get install -y debootstrap >>"$log" 2>&1 ||
        die "debootstrap is missing and could not be installed, see $log"
    url=$(mirror)
    [ -n "$url" ] || die "apt names no Debian mirror (apt-get update may help)"
    echo "== making a Debian sid tree in $dir (some minutes, about 2 GB)"
    rm -rf "$dir"
    debootstrap --variant=minbase sid "$dir" "$url" >>"$log" 2>&1 ||
        die "debootstrap failed, see $log"
}

# The network and the proxy are those of the machine.
copy_settings() {
    cp -L /etc/resolv.conf /etc/hosts "$dir/etc/"
    for file in /etc/apt/apt.conf.d/*; do
        case $file in *docker*) ;; *) cp "$file" "$dir/etc/apt/apt.conf.d/" ;; esac
    done
}

# Together if possible; one by one if not, so that one name does not cost the rest.
install_packages() {
    set -- apt-get install -y --no-install-recommends
    inside apt-get update >>"$log" 2>&1 || die "apt-get update failed, see $log"
    # shellcheck disable=SC2086 # a list of words
    inside "$@" $packages >>"$log" 2>&1 && return 0
    for package in $packages; do
        inside "$@" "$package" >>"$log" 2>&1 || echo "not available in sid: $package"
    done
}

create() {
    [ "$(uname -s)" = Linux ] || die "a Debian tree needs Linux"
    [ "$(cat "$ready" 2>/dev/null)" != "$packages" ] || return 0
    [ "$(id -u)" = 0 ] || die "making a Debian tree in $dir needs root"
    command -v apt-get >/dev/null || die "there is no apt-get here, so no mirror"
    # Without its interpreter debootstrap did not come to its end.
    [ -x "$dir/usr/bin/apt-get" ] && [ -d "$dir/var/lib/dpkg/info" ] &&
        [ ! -d "$dir/debootstrap" ] || bootstrap
    copy_settings
    echo "== installing packages in $dir"
    install_packages
    printf '%s\n' "$packages" >"$ready"
}

case ${1:-} in
create) create ;;
run)
    shift
    [ -e "$ready" ] || die "there is no tree in $dir: $0 create"
    inside "$@"
    ;;
*)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
