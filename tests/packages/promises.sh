# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; run sets suite and debs
# Runs the commands that test a promise, and prints a line for each promise that is kept.

kept=0

# broken TEXT: ends the tests, with the logs of machines and companions.
broken() {
    local name
    printf '\nBROKEN: %s\n' "$*" >&2
    for name in "${!leader_of[@]}"; do
        printf '\nThe end of the journal of %s:\n' "$name" >&2
        on "$name" 'journalctl --no-pager -n 25 -o short-monotonic' >&2 || true
    done
    for name in "${!companions[@]}"; do
        printf '\nThe end of the output of %s:\n' "$name" >&2
        tail -n 10 "$scratch/$name.log" >&2
    done
    exit 1
}

keep() {
    kept=$((kept + 1))
    printf 'ok: %s\n' "$1"
}

# promise TEXT MACHINE COMMANDS: the promise is kept if the commands succeed.
promise() {
    local said
    if said=$(on "$2" "$3" 2>&1); then
        keep "$1"
    else
        broken "$1: on $2: $3"$'\n'"$said"
    fi
}

# eventually SECONDS TEXT MACHINE COMMANDS: the same, repeated until they succeed or the time is over.
eventually() {
    local end=$((SECONDS + $1))
    until on "$3" "$4" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || broken "$2: on $3, this did not succeed within $1 s: $4"
        sleep 0.1
    done
    keep "$2"
}

title() {
    printf '\n== %s\n' "$1"
}
