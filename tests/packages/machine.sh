# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; run sets suite and debs
# Makes and boots machines. Debian is bootstrapped once. Each machine is a copy of it that
# systemd-nspawn boots, with its own network namespace and control groups.

machines=${CARGO_TARGET_DIR:-$PWD/target}/machines
declare -A leader_of=() spawn_of=()
made=() scratch=

# Packages that each machine has in addition to Debian's smallest system. The page's commands need them.
packages=systemd-sysv,ca-certificates,openssl,curl,iproute2,procps,sudo,hostname,netbase
packages+=,mosquitto,mosquitto-clients

# bootstrap SUITE: from the mirror that apt uses on this machine.
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

# skip REASON: ends without a result, since no machine boots here. 77 is automake's exit code for this.
skip() {
    printf 'SKIPPED: no Debian machine can be booted here: %s\n' "$1" >&2
    exit 77
}

# may_boot: skips the tests if this user or container lacks the rights to boot a machine.
may_boot() {
    local said
    [ "$(id -u)" = 0 ] || skip "this is not root"
    [ -n "$(control_groups)" ] || skip "there are no control groups that can be written"
    said=$(unshare --mount --net --pid --uts --ipc --fork --mount-proc \
        mount -t tmpfs none /mnt 2>&1) || skip "$said"
}

# control_groups: prints the directories of this shell's control groups that systemd needs.
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

# make_machine NAME SUITE: makes its files, network namespace and control groups, if they are missing.
make_machine() {
    local name=$1 group
    [ -n "$scratch" ] || scratch=$(mktemp -d /var/tmp/tedge-machines.XXXXXX)
    if [ ! -e "$scratch/$name" ]; then
        made+=("$name")
        layer "$machines/$2" "$name"
        rm -f "$scratch/$name/etc/machine-id"
        echo "$name" >"$scratch/$name/etc/hostname"
        printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" >"$scratch/$name/etc/hosts"
        # By default uploads are refused while less than 5 % of the disk is free: here, of the host's.
        mkdir -p "$scratch/$name/etc/systemd/system.conf.d"
        printf '[Manager]\nDefaultEnvironment=TEDGE_HTTP_UPLOAD_MIN_FREE=0\n' \
            >"$scratch/$name/etc/systemd/system.conf.d/tests.conf"
    fi
    make_network "$name"
    # If two systemds share a group, each treats the other's services as its own.
    for group in $(control_groups); do
        mkdir -p "$group/tedge-$$-$name"
    done
}

# layer BASE NAME: makes the files of a machine, with overlayfs, or as a copy where it is not available.
layer() {
    local layers=$scratch/layers/$2
    mkdir -p "$layers/upper" "$layers/work" "$scratch/$2"
    mount -t overlay overlay "$scratch/$2" \
        -o "lowerdir=$1,upperdir=$layers/upper,workdir=$layers/work" 2>/dev/null ||
        cp -a --reflink=auto "$1/." "$scratch/$2"
}

# make_network NAME: makes a network namespace that has only a loopback interface, if it is missing.
make_network() {
    if [ ! -e "/run/netns/tedge-$$-$1" ]; then
        ip netns add "tedge-$$-$1"
        ip -n "tedge-$$-$1" link set lo up
    fi
}

# boot NAME SUITE [OPTION…]: boots a new machine, or one that was shut down. The options are nspawn's.
boot() {
    start "$@" || broken "$1 does not boot: $(tail -n5 "$scratch/$1.console")"
}

# start NAME SUITE [OPTION…]: the same, but returns 1 if the machine does not boot.
start() {
    local name=$1 tries=0
    make_machine "$name" "$2"
    shift 2
    (
        for group in $(control_groups); do
            echo "$BASHPID" >"$group/tedge-$$-$name/cgroup.procs"
        done
        # Debian 13 boots only with the unified hierarchy, Debian 12 with both.
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

# in_machine NAME COMMAND…: runs the command as root, in root's home.
in_machine() {
    local name=$1
    shift
    nsenter --target "${leader_of[$name]}" --all env -C /root -i HOME=/root TERM=dumb LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        DEBIAN_FRONTEND=noninteractive "$@"
}

# on NAME COMMANDS: runs them in a shell that ends at the first command that fails. `not` fails if its
# command succeeds; with `!`, the shell would continue.
on() {
    in_machine "$1" bash -eu -o pipefail -c 'not() { ! "$@"; }'$'\n'"$2" </dev/null
}

# shut_down NAME: as `poweroff` does.
shut_down() {
    close_terminal "$1"
    kill -RTMIN+4 "${leader_of[$1]}"
    wait "${spawn_of[$1]}" || true
    unset "leader_of[$1]" "spawn_of[$1]"
}

# discard NAME: kills the machine and deletes its files.
discard() {
    # A machine ends with its first process, and systemd-nspawn then removes what it made.
    kill -KILL "${leader_of[$1]}" 2>/dev/null || kill -KILL "${spawn_of[$1]}" 2>/dev/null || true
    # The shutdown may have stopped the processes of its terminal.
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

# leave: removes all that the tests made, also after a failure or a signal.
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

# copy_to NAME FILE…: copies the files to /root of the machine.
copy_to() {
    local name=$1
    shift
    cp "$@" "$scratch/$name/root/"
}
