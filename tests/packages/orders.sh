# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; run sets suite and debs
# thin-edge.io's packages and ours in every order of installation, upgrade, removal and purge.

# follow_every_order STEPS: follows all orders with this number of steps in which both are installed.
# At the beginning of each, neither is.
follow_every_order() {
    title "Orders of $1 steps"
    boot device "$suite"
    make_thin_edge
    copy_to device "$debs"/*_amd64.deb
    # Without fsync: the machine is deleted at the end.
    on device 'echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/unsafe-io
        dpkg --install tedge.deb
        echo "[c8y]
url = \"example.invalid\"" >/etc/tedge/tedge.toml
        mkdir ours theirs && mv ./*_amd64.deb ours && mv tedge-*.deb theirs'
    # An upgrade installs the same version again: dpkg runs the same scripts.
    next_step "$1" absent absent ""
    shut_down device
}

# next_step STEPS THEIRS OURS BEFORE: follows all orders with STEPS more steps after those in BEFORE.
next_step() {
    local step next
    if [ "$1" = 0 ]; then
        [[ $4 != *theirs* || $4 != *ours* ]] || follow "$4"
        return
    fi
    for step in install upgrade remove purge; do
        next=$(after "$2" "$step") && next_step $(($1 - 1)) "$next" "$3" "$4 $step:theirs"
        next=$(after "$3" "$step") && next_step $(($1 - 1)) "$2" "$next" "$4 $step:ours"
    done
    return 0
}

# after STATE STEP: prints the state after the step. Fails if the step is not possible.
after() {
    case $1:$2 in
        absent:install | removed:install | installed:upgrade) echo installed ;;
        installed:remove) echo removed ;;
        installed:purge | removed:purge) echo absent ;;
        *) return 1 ;;
    esac
}

# follow ORDER: does each step. After each it checks which program has which port, what a restart
# restarts, whether the files are kept, and that no unit has failed.
follow() {
    local step theirs=absent ours=absent running=false stored=false
    for step in $1; do
        case $step in
            *:theirs) theirs=$(after "$theirs" "${step%:*}") ;;
            *:ours) ours=$(after "$ours" "${step%:*}") ;;
        esac
        [ "$theirs" = installed ] || running=false
        [[ $step != purge:* ]] || stored=false
        said=$(on device "step=$step theirs=$theirs ours=$ours running=$running stored=$stored; $check_step" 2>&1) ||
            broken "$1, at $step: $said"
        [ "$theirs" != installed ] || running=true
        [ "$ours" != installed ] || stored=true
    done
    [ "$theirs$ours" = absentabsent ] ||
        on device 'dpkg --purge tedge-agent tedge-mapper tedge-file-transfer tedge-c8y-proxy' >/dev/null 2>&1
    keep "$1"
}

check_step='
    case $step in
        install:* | upgrade:*) dpkg --install ${step#*:}/*.deb ;;
        *:theirs) dpkg --${step%:*} tedge-agent tedge-mapper ;;
        *:ours) dpkg --${step%:*} tedge-file-transfer tedge-c8y-proxy ;;
    esac
    owners() {
        for port in 8000 8001 18000 18001; do
            ss -Hltnp "sport = :$port" | sed -n "s/.*((\"\([^\"]*\)\".*/$port=\1/p"
        done | paste -sd " "
    }
    # Linux cuts the names of processes after 15 characters.
    expect_owners() {
        case $ours:$running in
            installed:true) owners="8000=tedge-file-tran 8001=tedge-c8y-proxy 18000=tedge-agent 18001=tedge-mapper-c8" ;;
            installed:false) owners="8000=tedge-file-tran 8001=tedge-c8y-proxy" ;;
            *:true) owners="8000=tedge-agent 8001=tedge-mapper-c8" ;;
            *:false) owners= ;;
        esac
        for try in $(seq 50); do
            [ "$(owners)" != "$owners" ] || return 0
            sleep 0.1
        done
        echo "the ports are: $(owners), not: $owners"
        return 1
    }
    processes() {
        systemctl show -P MainPID tedge-file-transfer tedge-c8y-proxy | paste -sd " "
    }
    serves() {
        [ "$ours" = installed ] || return 0
        echo "$step" | curl -sSf -T - http://localhost:8000/tedge/file-transfer/kept
        [ "$(cat /var/tedge/file-transfer/kept)" = "$step" ]
        # The agent answers requests for entities. Without it, the answer is an error.
        entities=$(curl -sS http://localhost:8000/te/v1/entities)
        case $running:$entities in
            "true:GET /te/v1/entities HTTP"* | "false:The entity store belongs to"*) ;;
            *) echo "running=$running: $entities" && return 1 ;;
        esac
    }
    expect_owners
    if $stored; then
        [ -e /var/tedge/file-transfer/kept ]
    else
        [ ! -e /var/tedge/file-transfer/kept ]
    fi
    serves
    before=$(processes)
    if [ "$theirs" = installed ] || [ "$ours" = installed ]; then
        systemctl restart tedge-agent tedge-mapper-c8y
    else
        not systemctl restart tedge-agent tedge-mapper-c8y
    fi
    [ "$theirs" != installed ] || running=true
    expect_owners
    [ "$ours" != installed ] || [ "$(processes)" != "$before" ]
    serves
    systemctl list-units --failed --no-legend | not grep tedge'
