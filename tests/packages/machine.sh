# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; run sets suite and debs
# Machines: Debian, bootstrapped once and booted by systemd-nspawn, each in a copy, in a network
# namespace and in control groups of its own. The only file that knows how that is done.

machines=${CARGO_TARGET_DIR:-$PWD/target}/machines
declare -A leader_of=() spawn_of=()
made=() scratch=

# What each machine has beside Debian's smallest system: what the page's commands need.
packages=systemd-sysv,ca-certificates,openssl,curl,iproute2,procps,sudo,hostname,netbase
packages+=,mosquitto,mosquitto-clients

# bootstrap SUITE: from where this machine's apt has its packages.
bootstrap() {
    local suite=$1 mirror codename
    [ ! -e "$machines/$suite" ] || return 0
    codename=$(sed -n "s/^VERSION_CODENAME=//p" /etc/os-release)
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' \
        "Codename: $codename" | sed -n 1p)
    mkdir -p "$machines"
    rm -rf "$machines/$suite.new"
    mmdebstrap --quiet --variant=minbase --include="$packages" "$suite" "$machines/$suite.new" \
        "$mirror"
    mv "$machines/$suite.new" "$machines/$suite"
}

# skip WHY: no machine boots here, which says nothing about the packages. 77 is automake's code.
skip() {
    printf 'SKIPPED: no Debian machine can be booted here: %s\n' "$1" >&2
    exit 77
}

# may_boot: skips where a container or a user may not do what booting needs.
may_boot() {
    local said
    [ "$(id -u)" = 0 ] || skip "this is not root"
    [ -n "$(control_groups)" ] || skip "there are no control groups that can be written"
    said=$(unshare --mount --net --pid --uts --ipc --fork --mount-proc \
        mount -t tmpfs none /mnt 2>&1) || skip "$said"
}

# The control groups that systemd works with, as paths in the file system: this shell's own.
control_groups() {
    local controllers path mounted
    while IFS=: read -r _ controllers path; do
        case $controllers in
            '') mounted=$(findmnt -nt cgroup2 -o TARGET | sed -n 1p) ;;
            name=systemd) mounted=$(findmnt -nt cgroup -O name=systemd -o TARGET | sed -n 1p) ;;
            *) continue ;;
        esac
        [ -z "$mounted" ] || [ ! -w "$mounted/$path/cgroup.procs" ] || echo "$mounted${path%/}"
    done </proc/self/cgroup
}

# make_machine NAME SUITE: its files, its network, its control groups.
make_machine() {
    local name=$1 group
    [ -n "$scratch" ] || scratch=$(mktemp -d /var/tmp/tedge-machines.XXXXXX)
    if [ ! -e "$scratch/$name" ]; then
        made+=("$name")
        layer "$machines/$2" "$name"
        rm -f "$scratch/$name/etc/machine-id"
        echo "$name" >"$scratch/$name/etc/hostname"
        printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" >"$scratch/$name/etc/hosts"
    fi
    make_network "$name"
    # Where two systemd share a group, each takes the other's services for its own.
    for group in $(control_groups); do
        mkdir -p "$group/tedge-$$-$name"
    done
}

# layer BASE NAME: a copy that costs nothing, or where there is no overlayfs, one that does.
layer() {
    local layers=$scratch/layers/$2
    mkdir -p "$layers/upper" "$layers/work" "$scratch/$2"
    mount -t overlay overlay "$scratch/$2" \
        -o "lowerdir=$1,upperdir=$layers/upper,workdir=$layers/work" 2>/dev/null ||
        cp -a --reflink=auto "$1/." "$scratch/$2"
}

# make_network NAME: a namespace with nothing but a loopback.
make_network() {
    if [ ! -e "/run/netns/tedge-$$-$1" ]; then
        ip netns add "tedge-$$-$1"
        ip -n "tedge-$$-$1" link set lo up
    fi
}

# boot NAME SUITE [OPTION…]: a new machine, or the one that was shut down.
boot() {
    start "$@" || broken "$1 does not boot: $(tail -n5 "$scratch/$1.console")"
}

# start NAME SUITE [OPTION…]: as `boot`, and fails where it does not come up.
start() {
    local name=$1 tries=0
    make_machine "$name" "$2"
    shift 2
    (
        for group in $(control_groups); do
            echo "$BASHPID" >"$group/tedge-$$-$name/cgroup.procs"
        done
        # Debian 13 boots on the unified hierarchy alone, Debian 12 on either.
        export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
        exec setpriv --pdeathsig KILL systemd-nspawn --quiet --register=no --keep-unit --boot \
            --directory="$scratch/$name" --machine="tedge-$$-$name" --hostname="$name" \
            --network-namespace-path="/run/netns/tedge-$$-$name" --console=pipe "$@"
    ) </dev/null >>"$scratch/$name.console" 2>&1 &
    spawn_of[$name]=$!
    until leader_of[$name]=$(pgrep -P "${spawn_of[$name]}") &&
        on "$name" 'systemctl show-environment' >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -le 600 ] && kill -0 "${spawn_of[$name]}" 2>/dev/null || return 1
        sleep 0.1
    done
    on "$name" 'systemctl is-system-running --wait' >/dev/null || true
}

# in_machine NAME COMMAND…: as root, in root's home.
in_machine() {
    local name=$1
    shift
    nsenter --target "${leader_of[$name]}" --all env -C /root -i HOME=/root TERM=dumb LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        DEBIAN_FRONTEND=noninteractive "$@"
}

# on NAME COMMANDS: in a shell that ends with the first that fails. `not` fails where its command
# succeeds; a `!` would go on.
on() {
    in_machine "$1" bash -eu -o pipefail -c 'not() { ! "$@"; }'$'\n'"$2" </dev/null
}

# shut_down NAME: in order, as by `poweroff`.
shut_down() {
    close_terminal "$1"
    kill -RTMIN+4 "${leader_of[$1]}"
    wait "${spawn_of[$1]}" || true
    unset "leader_of[$1]" "spawn_of[$1]"
}

# discard NAME: for good, at once, with its files.
discard() {
    # Without its first process a machine ends, and systemd-nspawn tidies up after it.
    kill -KILL "${leader_of[$1]}" 2>/dev/null || kill -KILL "${spawn_of[$1]}" 2>/dev/null || true
    # A terminal that is being shut down with it may be stopped.
    [ -z "${terminal_of[$1]:-}" ] || pkill -CONT -P "${terminal_of[$1]}" || true
    wait "${spawn_of[$1]}" 2>/dev/null || true
    unset "leader_of[$1]" "spawn_of[$1]" "terminal_of[$1]"
    remove_files "$1"
}

# remove_files NAME
remove_files() {
    ! mountpoint -q "$scratch/$1" || umount "$scratch/$1" || umount --lazy "$scratch/$1"
    rm -rf --one-file-system "${scratch:?}/$1" "$scratch/layers/$1"
}

# Nothing is left behind, whatever happened.
leave() {
    local name group status=$?
    trap - EXIT
    trap '' INT TERM
    for name in "${!spawn_of[@]}"; do
        discard "$name"
    done
    leave_companions
    for name in /run/netns/tedge-$$-*; do
        [ ! -e "$name" ] || ip netns delete "${name##*/}"
    done
    for group in $(control_groups); do
        find "$group" -mindepth 1 -depth -type d -path "$group/tedge-$$-*" -exec rmdir {} \;
    done
    rmdir /run/systemd/nspawn/propagate/tedge-$$-* 2>/dev/null || true
    for name in "${made[@]}"; do
        remove_files "$name"
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
