# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; run sets suite and debs
# The network between machines: a bridge in the namespace of the cloud, and a veth pair from there to
# each machine. The network of the host is not changed.

declare -A companions=()

# make_cloud_network ADDRESS: makes the bridge, if it is missing.
make_cloud_network() {
    make_network cloud
    ! ip -n "tedge-$$-cloud" link show bridge >/dev/null 2>&1 || return 0
    ip -n "tedge-$$-cloud" link add bridge type bridge
    ip -n "tedge-$$-cloud" addr add "$1/24" dev bridge
    ip -n "tedge-$$-cloud" link set bridge up
}

# plug NAME ADDRESS: connects the machine, which need not have booted yet. The name of an interface has
# at most 15 characters.
plug() {
    make_network "$1"
    ip -n "tedge-$$-cloud" link add "to-${1:0:12}" type veth peer name eth0 netns "tedge-$$-$1"
    ip -n "tedge-$$-cloud" link set "to-${1:0:12}" master bridge up
    ip -n "tedge-$$-$1" addr add "$2/24" dev eth0
    ip -n "tedge-$$-$1" link set eth0 up
}

# accompany NAME TEXT COMMAND…: runs the command in the namespace of the cloud until the test ends.
# Returns when the command has printed the text.
accompany() {
    local name=$1 text=$2 tries=0
    shift 2
    : >"$scratch/$name.log"
    setpriv --pdeathsig KILL nsenter --net="/run/netns/tedge-$$-cloud" "$@" \
        >"$scratch/$name.log" 2>&1 </dev/null &
    companions[$name]=$!
    until grep -q "$text" "$scratch/$name.log"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ] || ! kill -0 "${companions[$name]}" 2>/dev/null; then
            broken "$name does not start: $(tail -n 5 "$scratch/$name.log")"
        fi
        sleep 0.1
    done
}

leave_companions() {
    local pid
    for pid in "${companions[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    companions=()
}
