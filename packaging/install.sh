#!/usr/bin/env bash
# Installs what `make` built:  install.sh DESTDIR PREFIX
set -eu
destination=$1
prefix=$2
top=$(cd "$(dirname "$0")/.." && pwd)

put() { # mode, file, directory below the prefix
    install -D -m "$1" "$2" "$destination$prefix/$3/$(basename "$2")"
}

for program in kwikd kwik-gateway kwikctl; do
    put 755 "$(readlink -f "$top/build/$program")" bin
done
put 644 "$top/build/libkwik.so" lib/kwik
for page in "$top"/man/*.[1-8]; do
    put 644 "$page" "share/man/man${page##*.}"
done
for example in "$top"/packaging/examples/*; do
    put 644 "$example" share/doc/kwik/examples
done
if [ -e "$top/packaging/completions/kwikctl.bash" ]; then
    install -D -m 644 "$top/packaging/completions/kwikctl.bash" \
        "$destination$prefix/share/bash-completion/completions/kwikctl"
fi

unit() { # file, directory below the prefix
    put 644 "$top/packaging/systemd/$1" "$2"
    sed -i "s|@BINDIR@|$prefix/bin|" "$destination$prefix/$2/$1"
}
unit kwikd.socket lib/systemd/user
unit kwikd.service lib/systemd/user
unit kwik-gateway.service lib/systemd/system
install -D -m 644 "$top/packaging/systemd/kwik-gateway.sysusers" \
    "$destination$prefix/lib/sysusers.d/kwik-gateway.conf"
