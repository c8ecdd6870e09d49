#!/usr/bin/env bash
# unpack.sh FOLDER: RabbitMQ 4 and its Erlang from the next Debian release, unpacked and not installed.
#
# Its programs need a newer libc than the system's. They get the loader and the libraries that come with them by
# patchelf, so the system stays as it is.
set -euo pipefail

release=trixie version=4.0.5
folder=$(mkdir -p "$1" && cd "$1" && pwd)

# The mirror that this system uses already.
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null |
    sed -nE 's/^URIs: *([^ ]+\/debian)\/? *$/\1/p; s/^deb (\[[^]]*\] )?([^ ]+\/debian)\/? .*/\2/p' | head -n 1) || true
[[ -n $mirror ]] || { echo "no Debian mirror in /etc/apt" >&2; exit 1; }

# apt with lists, cache and state of its own.
apt=$folder/apt
mkdir -p "$apt"/{lists/partial,parts,debs}
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" >"$apt/sources.list"
options=(-q -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts="$apt/parts" -o Dir::Cache="$apt"
    -o Dir::State::lists="$apt/lists" -o Dir::State::status=/dev/null -o APT::Sandbox::User="$(id -un)")
apt-get "${options[@]}" update
mapfile -t erlang < <(apt-get "${options[@]}" -s install --no-install-recommends rabbitmq-server |
    awk '$1 == "Inst" && $2 ~ /^erlang/ {print $2}')
(cd "$apt/debs" && apt-get "${options[@]}" download rabbitmq-server "${erlang[@]}" libc6 libcap2 libgcc-s1 libsctp1 \
    libssl3t64 libstdc++6 libsystemd0 libtinfo6 libzstd1 zlib1g)
for deb in "$apt"/debs/*.deb; do dpkg-deb -x "$deb" "$folder"; done
rm -rf "$apt"

libraries=("$folder"/usr/lib/*-linux-gnu) loader=("$folder"/usr/lib/*-linux-gnu/ld-linux-*.so.*)
while IFS= read -r file; do # only what the kernel starts: its libraries inherit where to look
    ! patchelf --print-interpreter "$file" >/dev/null 2>&1 ||
        patchelf --set-interpreter "${loader[0]}" --force-rpath --set-rpath "${libraries[0]}" "$file"
done < <(find "$folder"/usr/lib/erlang/erts-*/bin "$folder"/usr/lib/erlang/lib -path '*bin/*' -type f)
sed -i "s|ROOTDIR=/usr/lib/erlang|ROOTDIR=$folder/usr/lib/erlang|" "$folder/usr/lib/erlang/bin/erl"
"$folder/usr/lib/erlang/bin/erl" -noshell -eval 'crypto:info_lib(), halt().'
[[ -d $folder/usr/lib/rabbitmq/lib/rabbitmq_server-$version ]] || { echo "$release has no RabbitMQ $version" >&2; exit 1; }
