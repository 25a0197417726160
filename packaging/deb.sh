#!/usr/bin/env bash
# Makes a Debian package of what `make` built:  deb.sh DIRECTORY
set -eu
out=$1
top=$(cd "$(dirname "$0")/.." && pwd)
version=$(sed -n 's/^## \([0-9][0-9.]*\).*/\1/p' "$top/CHANGELOG.md" | head -n 1)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree="$work/kwik-$version"
mkdir -p "$tree" "$out"
mkdir "$tree/build"
for product in kwikd kwik-gateway kwikctl libkwik.so; do
    cp -L "$top/build/$product" "$tree/build/"
done
cp -R "$top/packaging" "$top/man" "$tree/"
cp -R "$top/packaging/debian" "$tree/debian"
cat >"$tree/debian/changelog" <<END
kwik ($version) unstable; urgency=medium

  * See CHANGELOG.md.

 -- The Kwik authors <kwik@kwik.invalid>  $(date -R)
END
(cd "$tree" && HOME="$work" dpkg-buildpackage -us -uc -b -d)
cp "$work"/*.deb "$out/"
ls "$out"/*.deb
