# shellcheck shell=bash
# shellcheck disable=SC2154  # run sets scratch
# A terminal on each machine, where root types one command after the other: directory and
# variables stay from one to the next, and the first that fails ends it.

declare -A keyboard_of=() screen_of=() terminal_of=()
marker='-- this was all --'

# open_terminal MACHINE
open_terminal() {
    local name=$1 keyboard screen files=$scratch/$1.terminal
    mkfifo "$files.keyboard" "$files.screen"
    # Not its standard input, which the commands have too.
    in_machine "$name" bash -e /dev/fd/9 9<"$files.keyboard" \
        >"$files.screen" 2>"$files.complaints" </dev/null &
    terminal_of[$name]=$!
    exec {keyboard}>"$files.keyboard" {screen}<"$files.screen"
    keyboard_of[$name]=$keyboard
    screen_of[$name]=$screen
}

# close_terminal MACHINE: before it is shut down, or nsenter, stopped by that together with what
# runs in it, would wait for ever.
close_terminal() {
    if [ -n "${terminal_of[$1]:-}" ]; then
        echo exit >&"${keyboard_of[$1]}"
        wait "${terminal_of[$1]}" || true
        unset "terminal_of[$1]"
    fi
}

# type_in MACHINE TEXT: leaves in `said` what the commands print.
type_in() {
    local line
    said=
    printf '%s\nprintf "\\n%%s\\n" "%s"\n' "$2" "$marker" >&"${keyboard_of[$1]}"
    while IFS= read -r -t 120 -u "${screen_of[$1]}" line; do
        if [ "$line" = "$marker" ]; then
            said=${said%$'\n'}
            return
        fi
        said+=${said:+$'\n'}$line
    done
    broken "on $1 this failed:"$'\n'"$2"$'\n'"and said: $said"$'\n'"$(
        tail -n 5 "$scratch/$1.terminal.complaints"
    )"
}

# page MACHINES TEXT [WANTED] <<'PAGE': the page's commands as they stand there, typed on each of
# the machines. Kept where they succeed and what they print is as wanted.
page() {
    local name block wanted=${3:-*}
    block=$(cat)
    for name in $1; do
        type_in "$name" "$block"
        # shellcheck disable=SC2053  # a pattern
        [[ $said == $wanted ]] || broken "$2: on $name printed in place of $wanted: $said"
        keep "$2, on ${role_of[$name]:-$name}"
    done
}
