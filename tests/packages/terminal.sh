# shellcheck shell=bash
# shellcheck disable=SC2154  # run sets scratch
# A terminal on each machine, in which root types commands: a shell that keeps its directory and its
# variables between commands, and ends at the first command that fails.

declare -A keyboard_of=() screen_of=() terminal_of=()
marker='-- this was all --'

# open_terminal MACHINE
open_terminal() {
    local name=$1 keyboard screen files=$scratch/$1.terminal
    mkfifo "$files.keyboard" "$files.screen"
    # The shell does not read from its standard input, since the commands could read from it.
    in_machine "$name" bash -e /dev/fd/9 9<"$files.keyboard" \
        >"$files.screen" 2>"$files.complaints" </dev/null &
    terminal_of[$name]=$!
    exec {keyboard}>"$files.keyboard" {screen}<"$files.screen"
    keyboard_of[$name]=$keyboard
    screen_of[$name]=$screen
}

# close_terminal MACHINE: must be called before the machine is shut down. The shutdown would stop the
# terminal's nsenter, which would then never end.
close_terminal() {
    if [ -n "${terminal_of[$1]:-}" ]; then
        echo exit >&"${keyboard_of[$1]}"
        wait "${terminal_of[$1]}" || true
        unset "terminal_of[$1]"
    fi
}

# type_in MACHINE COMMANDS: runs them in the terminal. Their output is then in the variable `said`.
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
    broken "on $1 this failed:"$'\n'"$2"$'\n'"and printed: $said"$'\n'"$(
        tail -n 5 "$scratch/$1.terminal.complaints"
    )"
}

# page MACHINES TEXT [PATTERN] <<'PAGE': types the page's commands, unchanged, on each of the machines.
# The promise is kept if they succeed and their output matches the pattern.
page() {
    local name block wanted=${3:-*}
    block=$(cat)
    for name in $1; do
        type_in "$name" "$block"
        # shellcheck disable=SC2053  # a pattern
        [[ $said == $wanted ]] || broken "$2: on $name, the output is not $wanted: $said"
        keep "$2, on ${role_of[$name]:-$name}"
    done
}
