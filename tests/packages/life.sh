# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; run sets suite and debs
# The packages on one machine: installed, upgraded, removed, purged and installed again. The services:
# killed, hung, with wrong settings, and booted without their address.

install_and_use() {
    title "Install"
    copy_to gateway "$debs"/*_amd64.deb
    promise "apt installs both packages, without anything else" gateway '
        apt-get -q -y install --no-install-recommends ./*.deb'
    promise "the File Transfer Service runs and serves" gateway '
        systemctl is-active tedge-file-transfer
        echo "Hello thin-edge.io" >/tmp/foo.txt
        curl -sSf -X PUT -F "file=@/tmp/foo.txt" http://localhost:8000/tedge/file-transfer/foo.txt
        curl -sSf http://localhost:8000/tedge/file-transfer/foo.txt | grep -x >/dev/null "Hello thin-edge.io"'
    promise "the proxy waits for a tenant: neither running nor failed" gateway '
        systemctl is-enabled tedge-c8y-proxy
        [ "$(systemctl is-active tedge-c8y-proxy)" = inactive ]
        journalctl -u tedge-c8y-proxy | grep >/dev/null "Not started: neither c8y.url nor c8y.http is set"'
    promise "with a tenant, it runs" gateway '
        tedge config set c8y.url example.invalid
        systemctl restart tedge-c8y-proxy
        systemctl is-active tedge-c8y-proxy
        [ "$(curl -sS -o /dev/null -w "%{http_code}" http://localhost:8001/c8y/x)" = 502 ]'
    promise "the documentation's restarts work" gateway '
        systemctl restart tedge-agent
        systemctl restart tedge-mapper-c8y
        systemctl is-active tedge-agent tedge-mapper-c8y tedge-file-transfer tedge-c8y-proxy'
    promise "the directories belong to user tedge, and others cannot read them" gateway '
        [ "$(stat -c "%a %U:%G" /var/tedge)" = "750 tedge:tedge" ]
        [ "$(stat -c "%a %U:%G" /var/tedge/file-transfer)" = "750 tedge:tedge" ]
        [ "$(stat -c "%a %U:%G" /etc/tedge)" = "755 root:tedge" ]
        [ "$(stat -c "%a %U:%G" /etc/tedge/device-local-certs)" = "750 root:tedge" ]
        getent passwd tedge | grep >/dev/null /usr/sbin/nologin'
    promise "systemd-analyze finds no fault in the units, and their exposure is low: $(exposure)" gateway '
        systemd-analyze verify --man=no tedge-{file-transfer,c8y-proxy}.service 2>&1 | { ! grep .; }
        systemd-analyze security --threshold=15 tedge-file-transfer >/dev/null
        systemd-analyze security --threshold=15 tedge-c8y-proxy >/dev/null'
}

exposure() {
    on gateway 'for unit in tedge-file-transfer tedge-c8y-proxy; do
        systemd-analyze security --no-pager $unit | tail -n1 | grep -o "[0-9.]* OK"; done' |
        paste -sd, -
}

stay_alive() {
    title "Trouble"
    promise "a killed service is back within two seconds" gateway '
        # The best of five tries, since the host may be busy.
        for try in 1 2 3 4 5; do
            before=$(systemctl show -P MainPID tedge-file-transfer)
            kill -9 "$before"
            back=0
            timeout 2 sh -c "until curl -sf http://localhost:8000/health >/dev/null; do :; done" || back=$?
            timeout 60 sh -c "until curl -sf http://localhost:8000/health >/dev/null; do :; done"
            [ "$(systemctl show -P MainPID tedge-file-transfer)" != "$before" ]
            [ "$back" != 0 ] || exit 0
        done
        exit 1'
    on gateway 'kill -STOP "$(systemctl show -P MainPID tedge-file-transfer)"'
    eventually 150 "the watchdog restarts a service that hangs" gateway '
        journalctl -u tedge-file-transfer | grep >/dev/null "Watchdog timeout"
        curl -sf -m 1 http://localhost:8000/health'
    promise "a service with a wrong setting fails once, with a message of one line" gateway '
        echo "[http]
bind.port = \"many\"" >/etc/tedge/tedge.toml
        not systemctl restart tedge-file-transfer
        sleep 3
        [ "$(systemctl is-active tedge-file-transfer)" = failed ]
        [ "$(systemctl show -P NRestarts tedge-file-transfer)" = 0 ]
        [ "$(journalctl -o cat -u tedge-file-transfer -p err _TRANSPORT=stdout | grep -c "http.bind.port is .many. in")" = 1 ]'
    promise "another data directory needs only a setting" gateway '
        rm /etc/tedge/tedge.toml
        install -d -o tedge -g tedge /srv/data
        tedge config set data.path /srv/data
        systemctl restart tedge-file-transfer
        curl -sSf -T /tmp/foo.txt http://localhost:8000/tedge/file-transfer/elsewhere
        [ -e /srv/data/file-transfer/elsewhere ]
        tedge config unset data.path
        systemctl restart tedge-file-transfer'
    on gateway 'tedge config set http.bind.address 192.168.77.1; tedge config set c8y.url example.invalid'
    shut_down gateway
    boot gateway "$suite"
    promise "after a boot without its address, the service waits and has not failed" gateway '
        systemctl is-active tedge-file-transfer tedge-c8y-proxy
        journalctl -b -u tedge-file-transfer | grep >/dev/null "192.168.77.1 is not an address of this machine yet"
        journalctl -b -u tedge-c8y-proxy | { ! grep -i "restart"; }'
    promise "the service listens when the address is added" gateway '
        ip addr add 192.168.77.1/32 dev lo
        curl -sSf http://192.168.77.1:8000/tedge/file-transfer/foo.txt >/dev/null
        tedge config unset http.bind.address
        systemctl restart tedge-file-transfer'
}

upgrade_and_remove() {
    title "Upgrade, remove, purge"
    on gateway '
        mkdir newer && cd newer
        for package in tedge-file-transfer tedge-c8y-proxy; do
            dpkg-deb -R ../${package}_*_amd64.deb $package
            sed -i "s/^Version: .*/&+newer/" $package/DEBIAN/control
            dpkg-deb -Znone --build $package ..
        done'
    promise "an upgrade keeps files and settings, and does not interrupt a transfer" gateway '
        head -c 4000000 /dev/urandom >/tmp/big
        stops() { journalctl -o cat -u tedge-file-transfer | grep -c "^stopping:" || true; }
        before=$(stops)
        # The second half is sent after systemd has told the old program to stop.
        {
            head -c 2000000 /tmp/big
            for try in $(seq 600); do
                [ "$(stops)" = "$before" ] || break
                sleep 0.1
            done
            tail -c +2000001 /tmp/big
        } | curl -sSf -T - http://localhost:8000/tedge/file-transfer/big &
        timeout 60 sh -c "until ss -Htn state established dport = :8000 | grep -q .; do :; done"
        apt-get -q -y install ./*+newer_amd64.deb
        [ "$(stops)" -gt "$before" ]
        wait $!
        cmp /tmp/big /var/tedge/file-transfer/big
        grep -q example.invalid /etc/tedge/tedge.toml
        dpkg-query -Wf "\${Version}" tedge-file-transfer | grep "+newer"
        systemctl is-active tedge-file-transfer tedge-c8y-proxy
        curl -sSf http://localhost:8000/tedge/file-transfer/foo.txt >/dev/null'
    promise "a disabled unit stays disabled" gateway '
        systemctl --quiet disable --now tedge-file-transfer
        dpkg-reconfigure tedge-file-transfer
        apt-get -q -y remove tedge-file-transfer
        apt-get -q -y install ./tedge-file-transfer_*+newer_amd64.deb
        not systemctl --quiet is-enabled tedge-file-transfer
        not systemctl --quiet is-active tedge-file-transfer
        systemctl --quiet enable --now tedge-file-transfer'
    promise "remove stops the service, and keeps files, settings and the other package's command tedge" gateway '
        apt-get -q -y remove tedge-file-transfer
        not curl -s http://localhost:8000/health
        [ -e /var/tedge/file-transfer/big ]
        [ ! -L /etc/systemd/system/tedge-agent.service ]
        [ "$(tedge config get c8y.url)" = example.invalid ]
        systemctl list-units --failed --no-legend | { ! grep tedge; }'
    promise "purge removes the transferred files, and not the user or the settings" gateway '
        echo other >/var/tedge/other
        apt-get -q -y purge tedge-file-transfer tedge-c8y-proxy
        [ ! -e /var/tedge/file-transfer ]
        [ -e /var/tedge/other ]
        getent passwd tedge
        grep -q example.invalid /etc/tedge/tedge.toml
        [ ! -e /usr/bin/tedge ]'
    promise "after a purge, the packages can be installed again" gateway '
        apt-get -q -y install --no-install-recommends ./*0_amd64.deb
        systemctl is-active tedge-file-transfer tedge-c8y-proxy
        echo new >/tmp/foo.txt
        curl -sSf -T /tmp/foo.txt http://localhost:8000/tedge/file-transfer/foo.txt'
}
