# shellcheck shell=bash
# Shows and runs the commands of the page, and checks what comes of them. Knows no service.

# What a step prints goes to the person even where a command of the page is redirected.
exec 3>&1 4>&2
kept=0
block=

title() {
    printf '\n== %s\n' "$1"
}

# page WHERE <<'PAGE': the commands between the marks are the page's, word for word. They run in
# this shell, as they would in a terminal, but the first that fails ends the demonstration.
page() {
    show "$1" "$(cat)"
    eval "$block" >"$device/said" 2>"$device/complained"
    sed -e 's/^/    /' -e '$a\' "$device/said"
}

# refused WHERE BECAUSE <<'PAGE': as `page`, for what has to fail, with BECAUSE among its words.
refused() {
    show "$1" "$(cat)"
    if (eval "$block") >"$device/said" 2>"$device/complained"; then
        broken "this request must be refused, but was not"
    fi
    sed -e 's/^/    /' -e '$a\' "$device/complained"
    grep -qiE "$2" "$device/complained" || broken "refused, but not because of: $2"
    keep "refused"
}

# show WHERE TEXT: prints the commands, a prompt before each, and leaves them in `block`.
show() {
    block=$(on_this_device "$2")
    printf '\n[%s]\n' "$1"
    printf '%s\n' "$block" | awk '{
        print (inside || /^$|^#/ ? "      " : "    $ ") $0
        if (/<< EOF$/) document = 1; else if (/^EOF$/) document = 0
        inside = document || /\\$/
    }'
}

# The last command printed just this.
expect() {
    [ "$(cat "$device/said")" = "$1" ] || broken "expected: $1"
    keep "$2"
}

# The last command printed something with this in it.
expect_within() {
    grep -qF "$1" "$device/said" || broken "expected to see: $1"
    keep "$2"
}

keep() {
    kept=$((kept + 1))
    printf '  ok %s\n' "$1"
}

broken() {
    printf '\nFAILED: %s\n' "$1" >&4
    exit 1
}

# At the end, however it came: nothing keeps running, nothing is left on the disk.
leave() {
    local status=$?
    trap - EXIT
    exec >&3 2>&4
    if [ "$status" -ne 0 ]; then
        tell_why "$status"
    fi
    stop_all
    cd /
    rm -rf "$device"
    if [ "$status" -eq 0 ]; then
        printf '\ndemo: %s passed, 0 failed\n' "$kept"
    else
        printf '\ndemo: %s passed, 1 failed\n' "$kept" >&2
    fi
    exit "$status"
}

tell_why() {
    local file
    {
        printf '\nThe demo failed with exit status %s in:\n%s\n' "$1" "$block"
        for file in "$device/said" "$device/complained" "$device"/log/*; do
            if [ -s "$file" ]; then
                printf '\n-- %s\n' "${file##*/}"
                tail -n 30 "$file"
            fi
        done
    } >&2
}
