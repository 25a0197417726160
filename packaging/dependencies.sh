#!/usr/bin/env bash
# Installs the Debian packages that Kwik is built, demonstrated or tested with, and says which.
# Does nothing, and needs no network, when all are there.
#
#   packaging/dependencies.sh build|demo|test|system|conformance|matrix|deb [--list]
#
# The sets grow: demo contains build, test contains demo, system (for make system-test) contains test;
# conformance (for make conformance) is test and CPython's own tests; libuv's come by apt-get source, unpacked
# and compiled under build/.
# matrix (for make matrix) is demo and what is measured beside Kwik; deb is build and the packaging tools.
# --list prints what is missing and installs nothing.
set -eu

build="make gcc g++ libc6-dev binutils libsystemd-dev libngtcp2-dev libngtcp2-crypto-gnutls-dev
       libgnutls28-dev libprotobuf-c-dev libtomlplusplus-dev libjansson-dev libisal-dev libxxhash-dev
       libzstd-dev"
demo="nginx curl openssl python3"
test="git wget dpkg-dev apt-utils protobuf-c-compiler mandoc iproute2 nftables"
# Real programs and their servers; python3 is Debian's own, which python3-pip belongs to.
system="rsync openssh-client openssh-server netcat-openbsd socat postgresql redis-server redis-tools
        vsftpd lftp nodejs default-jdk-headless perl python3-pip"
# Of the version that python3 is.
conformance="libpython3-testsuite"
matrix="iproute2 aria2"

case "${1:-}" in
    build) wanted="$build" ;;
    demo) wanted="$build $demo" ;;
    test) wanted="$build $demo $test" ;;
    system) wanted="$build $demo $test $system" ;;
    conformance) wanted="$build $demo $test $conformance" ;;
    matrix) wanted="$build $demo $matrix" ;;
    deb) wanted="$build debhelper dpkg-dev" ;;
    *) echo "usage: $0 build|demo|test|system|conformance|matrix|deb [--list]" >&2; exit 2 ;;
esac

# A program that is there under another package's name (nginx-full, a newer gcc) is there.
present() {
    case "$1" in
        make | gcc | g++ | curl | openssl | git | wget | mandoc | rsync | socat | redis-server | lftp | perl)
            command -v "$1" >/dev/null ;;
        iproute2) command -v ip >/dev/null ;;
        nftables) command -v nft >/dev/null ;;
        aria2) command -v aria2c >/dev/null ;;
        nodejs) command -v node >/dev/null ;;
        # What runs a source file.
        default-jdk-headless) command -v javac >/dev/null ;;
        openssh-client) command -v scp >/dev/null ;;
        openssh-server) [ -x /usr/sbin/sshd ] ;;
        redis-tools) command -v redis-benchmark >/dev/null ;;
        python3) [ -x /usr/bin/python3 ] ;;
        libpython3-testsuite) compgen -G "/usr/lib/python3.*/test/test_socket.py" >/dev/null ;;
        nginx) [ -x /usr/sbin/nginx ] ;;
        *) [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ] ;;
    esac
}

missing=""
for package in $wanted; do
    present "$package" || missing="$missing $package"
done
if [ -z "$missing" ]; then
    exit 0
fi
if [ "${2:-}" = --list ]; then
    echo "missing:$missing"
    exit 0
fi
# The service manager's own nginx is not needed: every instance here is private and short-lived.
missing=${missing/ nginx / nginx-light }
missing=${missing/% nginx/ nginx-light}

if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null; then
    as_root="sudo"
else
    echo "These Debian packages are missing and neither root nor sudo is at hand:$missing" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    echo "These packages are missing, and there is no apt-get to install them with:$missing" >&2
    exit 1
fi

# Nor is any other server of the machine's own: the installation starts none (policy-rc.d's exit code 101).
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '$as_root rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
fi

echo "Installing Debian packages:$missing"
apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0"
$apt update
# shellcheck disable=SC2086 # a list of words on purpose
$apt install -y --no-install-recommends $missing
