# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; run sets suite and debs
# Machines: Debian, bootstrapped once and booted by systemd-nspawn, each in a copy and in a network
# namespace of its own. The only file that knows how that is done.

machines=${CARGO_TARGET_DIR:-$PWD/target}/machines
declare -A leader_of=() spawn_of=()
scratch=

# What each machine has beside Debian's smallest system: what the page's commands need.
packages=systemd-sysv,ca-certificates,openssl,curl,iproute2,procps,sudo,hostname,netbase
packages+=,mosquitto,mosquitto-clients

# bootstrap SUITE: from where this machine's apt has its packages.
bootstrap() {
    local suite=$1 mirror codename
    [ ! -e "$machines/$suite" ] || return 0
    codename=$(sed -n "s/^VERSION_CODENAME=//p" /etc/os-release)
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' \
        "Codename: $codename" | head -n1)
    mkdir -p "$machines"
    rm -rf "$machines/$suite.new"
    mmdebstrap --quiet --variant=minbase --include="$packages" "$suite" "$machines/$suite.new" \
        "$mirror"
    mv "$machines/$suite.new" "$machines/$suite"
}

# boot NAME SUITE [OPTION…]: a new machine, or the one that was shut down.
boot() {
    local name=$1 suite=$2 tries=0
    shift 2
    [ -n "$scratch" ] || scratch=$(mktemp -d /var/tmp/tedge-machines.XXXXXX)
    if [ ! -e "$scratch/$name" ]; then
        cp -a --reflink=auto "$machines/$suite" "$scratch/$name"
        rm -f "$scratch/$name/etc/machine-id"
        echo "$name" >"$scratch/$name/etc/hostname"
        printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" >"$scratch/$name/etc/hosts"
    fi
    if ! ip netns list | grep -qw "tedge-$$-$name"; then
        ip netns add "tedge-$$-$name"
        ip -n "tedge-$$-$name" link set lo up
    fi
    systemd-nspawn --quiet --register=no --keep-unit --boot --directory="$scratch/$name" \
        --hostname="$name" --network-namespace-path="/run/netns/tedge-$$-$name" \
        --console=pipe "$@" </dev/null >>"$scratch/$name.console" 2>&1 &
    spawn_of[$name]=$!
    until leader_of[$name]=$(pgrep -P "${spawn_of[$name]}") && on "$name" 'systemctl show-environment' >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 600 ] || ! kill -0 "${spawn_of[$name]}"; then
            broken "$name does not boot: $(tail -n5 "$scratch/$name.console")"
        fi
        sleep 0.1
    done
    on "$name" 'systemctl is-system-running --wait' >/dev/null || true
}

# on NAME COMMANDS: in the machine, as root.
on() {
    nsenter --target "${leader_of[$1]}" --all env -C /root -i HOME=/root TERM=dumb LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        DEBIAN_FRONTEND=noninteractive bash -eu -o pipefail -c "$2" </dev/null
}

# shut_down NAME: in order, as by `poweroff`.
shut_down() {
    kill -RTMIN+4 "${leader_of[$1]}"
    wait "${spawn_of[$1]}" || true
    unset "leader_of[$1]" "spawn_of[$1]"
}

# Nothing is left behind, whatever happened.
leave() {
    local name status=$?
    trap - EXIT
    for name in "${!spawn_of[@]}"; do
        kill -KILL "${leader_of[$name]}" "${spawn_of[$name]}" 2>/dev/null || true
        wait "${spawn_of[$name]}" 2>/dev/null || true
    done
    for name in $(ip netns list | grep -o "^tedge-$$-[^ ]*"); do
        ip netns delete "$name"
    done
    [ -z "$scratch" ] || rm -rf --one-file-system "$scratch"
    exit "$status"
}

# copy_to NAME FILE…: into /root.
copy_to() {
    local name=$1
    shift
    cp "$@" "$scratch/$name/root/"
}
