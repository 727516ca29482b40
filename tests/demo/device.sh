# shellcheck shell=bash
# A device in a directory: what the page calls /etc/tedge, /etc/ssl/certs, systemctl and the
# network, without touching the machine's own. The only file that knows how the two differ.

# The name and the address of the page's main device.
name=rpi4-dca632efb150
address=127.0.0.2

declare -A pid_of reader_of curl_to

make_device() {
    device=$(mktemp -d "${TMPDIR:-/tmp}/tedge-demo.XXXXXX")
    certificates=$device/etc/tedge/device-local-certs
    mkdir -p "$certificates" "$device/etc/ssl/certs" "$device/tmp" "$device/bin" "$device/log" \
        "$device/run" "$device/hooks" "$device/var/tedge" \
        "$device/usr/local/share/ca-certificates"
    for program in tedge-file-transfer tedge-c8y-proxy; do
        ln -s "$(realpath "$programs/$program")" "$device/bin/$program"
    done
    ln -s tedge-file-transfer "$device/bin/tedge"

    # Nothing of the person's own settings gets in: neither ours, nor curl's, nor a web proxy.
    local variable
    for variable in $(compgen -e); do
        case $variable in
            TEDGE_* | SSL_CERT_* | CURL_* | *_proxy | *_PROXY | RUST_LOG | NOTIFY_SOCKET | JOURNAL_STREAM)
                unset "$variable" ;;
        esac
    done
    # Debian keeps mosquitto and update-ca-certificates where not everybody's PATH leads.
    export PATH=$device/bin:$PATH:/usr/sbin
    export TEDGE_CONFIG_DIR=$device/etc/tedge
    export CURL_HOME=$device
    # By default uploads are refused while less than 5 % of the disk is free.
    export TEDGE_HTTP_UPLOAD_MIN_FREE=0
    export CURL_CA_BUNDLE=$device/etc/ssl/certs/ca-certificates.crt
    cd "$certificates"
    update-ca-certificates >/dev/null 2>&1
    write_curlrc
}

explain() {
    cat <<TEXT
The demo runs the commands of thin-edge.io's page "HTTPS Configuration" with the real programs.
To leave this machine unchanged, it differs from a device in these points:
  - /etc/tedge, /etc/ssl/certs, /usr/local/share/ca-certificates and /tmp are below $device,
    which is deleted at the end. TEDGE_CONFIG_DIR and CURL_CA_BUNDLE select these directories.
  - update-ca-certificates is Debian's, with options for these directories.
  - The services use free ports (TEDGE_HTTP_BIND_PORT=0, TEDGE_C8Y_PROXY_BIND_PORT=0). A .curlrc
    maps ports 8000 and 8001 of localhost and $name to them, and makes curl fail on an HTTP error.
    curl still verifies names and certificates.
  - TEDGE_HTTP_UPLOAD_MIN_FREE=0 allows uploads even if the disk is nearly full.
  - The address of the main device is $address, not 192.168.1.6. Its host name is $name.
  - "systemctl restart" stops the process with SIGTERM, expects exit status 0, and starts it again.
    Restarts of the tedge-agent of a child are omitted: the demo has no such program.
  - sudo runs the command as the current user.
These commands set the name of the device and its data directory:

    $ tedge config set device.id $name
    $ tedge config set data.path $device/var/tedge
TEXT
    {
        tedge config set device.id "$name"
        tedge config set data.path "$device/var/tedge"
    } 2>"$device/complained"
}

# The page's text, with the page's places as they are on this device.
on_this_device() {
    local text=$1 place
    for place in /tmp/foo.txt /etc/tedge /etc/ssl/certs /usr/local/share/ca-certificates; do
        text=${text//"$place"/"$device$place"}
    done
    printf '%s' "${text//192.168.1.6/"$address"}"
}

# The rest stands in for commands of the page.
# shellcheck disable=SC2317,SC2329  # called by the page's text
sudo() {
    "$@"
}

# shellcheck disable=SC2317,SC2329
hostname() {
    echo "$name"
}

update-ca-certificates() {
    command update-ca-certificates --etccertsdir "$device/etc/ssl/certs" \
        --localcertsdir "$device/usr/local/share/ca-certificates" --hooksdir "$device/hooks"
}

# systemctl restart UNIT
systemctl() {
    local unit=$2 status=0
    if [ -n "${pid_of[$unit]:-}" ]; then
        stop "$unit" || status=$?
        [ "$status" -eq 0 ] || broken "$unit exited with status $status after SIGTERM"
    fi
    case $unit in
        tedge-agent) serve "$unit" 8000 env TEDGE_HTTP_BIND_PORT=0 tedge-file-transfer ;;
        tedge-mapper-c8y) serve "$unit" 8001 env TEDGE_C8Y_PROXY_BIND_PORT=0 tedge-c8y-proxy ;;
        *) broken "no unit $unit on this device" ;;
    esac
}

# serve UNIT PORT COMMAND…: starts it, leads curl from PORT to where it listens, and prints what
# the service says of that.
serve() {
    local unit=$1 port=$2
    shift 2
    start "$unit" 'Serving https?://([0-9.]+:[0-9]+)' "$@"
    curl_to[$port]=$heard
    write_curlrc
    printf '%s\n' "$announced"
}

write_curlrc() {
    local port host
    {
        printf 'silent\nshow-error\nfail-with-body\nmax-time = 120\n'
        for port in "${!curl_to[@]}"; do
            for host in localhost "$name"; do
                printf 'connect-to = "%s:%s:%s"\n' "$host" "$port" "${curl_to[$port]}"
            done
        done
    } >"$device/.curlrc"
}

# start NAME PATTERN COMMAND…: returns once the program has printed a line that matches PATTERN,
# with that line in `announced` and its first group in `heard`. It ends with this shell, whatever becomes of it.
start() {
    local program=$1 pattern=$2 line said
    shift 2
    rm -f "$device/run/$program"
    mkfifo "$device/run/$program"
    setpriv --pdeathsig KILL "$@" >"$device/run/$program" 2>&1 &
    pid_of[$program]=$!
    exec {said}<"$device/run/$program"
    while :; do
        IFS= read -r -t 120 -u "$said" line || broken "$program does not start; its log is below"
        printf '%s\n' "$line" >>"$device/log/$program"
        [[ ! $line =~ $pattern ]] || break
    done
    announced=$line
    heard=${BASH_REMATCH[1]:-}
    # Reads on, so that the program never waits for a reader.
    cat <&"$said" >>"$device/log/$program" &
    reader_of[$program]=$!
    exec {said}<&-
}

# stop NAME: returns the program's exit code.
stop() {
    local pid=${pid_of[$1]} status=0
    unset "pid_of[$1]"
    kill -TERM "$pid" 2>/dev/null || true
    wait "$pid" || status=$?
    if [ -n "${reader_of[$1]:-}" ]; then
        wait "${reader_of[$1]}" || true
        unset "reader_of[$1]"
    fi
    return "$status"
}

stop_all() {
    local program
    for program in "${!pid_of[@]}"; do
        stop "$program" || true
    done
}
