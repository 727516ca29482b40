# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; run sets suite and debs
# Cloud profiles: a template unit starts a proxy for each tenant.

# second_tenant: prints the commands of the README.
second_tenant() {
    awk '/^#/ && !code { here = /^### A second tenant/ }
        /^```/ && here { code = !code; next }
        code' README.md | sed 's/two.cumulocity.com/two.example.invalid/'
}

serve_two_tenants() {
    title "Cloud profiles"
    boot device "$suite"
    copy_to device "$debs"/*_amd64.deb
    promise "a second proxy runs for a profile, by the commands of the README" device '
        apt-get -q -y install --no-install-recommends ./tedge-c8y-proxy_*_amd64.deb
        tedge config set c8y.url one.example.invalid
        systemctl start tedge-c8y-proxy
        '"$(second_tenant)"'
        systemctl is-active tedge-c8y-proxy tedge-c8y-proxy@second
        ss -Hltnp "sport = :8001" | grep tedge-c8y-proxy
        ss -Hltnp "sport = :8002" | grep tedge-c8y-proxy
        journalctl -u tedge-c8y-proxy@second | grep "https://two.example.invalid"'
    promise "thin-edge.io's name of its unit restarts this proxy and no other" device '
        main=$(systemctl show -P MainPID tedge-c8y-proxy)
        second=$(systemctl show -P MainPID tedge-c8y-proxy@second)
        systemctl restart tedge-mapper-c8y@second
        [ "$(systemctl show -P MainPID tedge-c8y-proxy)" = "$main" ]
        [ "$(systemctl show -P MainPID tedge-c8y-proxy@second)" != "$second" ]
        systemctl is-active tedge-c8y-proxy@second'
    promise "it gets its own certificate and key from root, and renewed ones with a reload" device '
        tedge certs ca
        tedge certs server second
        cd /etc/tedge/device-local-certs
        chown root:root second.key && chmod 600 second.key
        tedge config set c8y.proxy.cert_path $PWD/second.crt --profile second
        tedge config set c8y.proxy.key_path $PWD/second.key --profile second
        systemctl restart tedge-c8y-proxy@second
        curl -sSf --cacert tedge-local-ca.crt https://localhost:8002/health
        curl -sSf http://localhost:8001/health
        [ "$(stat -c %a /run/tedge-c8y-proxies/second/staging)" = 700 ]
        [ ! -e /run/tedge-c8y-proxy/staging ] || [ -z "$(ls /run/tedge-c8y-proxy/staging)" ]
        systemctl reload tedge-c8y-proxy@second
        journalctl -u tedge-c8y-proxy@second | grep "reloaded: certificate CN=localhost, SN=second"'
    promise "neither the File Transfer Service nor the first proxy can see the copies" device '
        apt-get -q -y install --no-install-recommends ./tedge-file-transfer_*_amd64.deb
        [ -n "$(ls /run/tedge-c8y-proxies/second/staging)" ]
        for service in tedge-file-transfer tedge-c8y-proxy; do
            systemctl restart $service
            process=$(systemctl show -P MainPID $service)
            [ -z "$(nsenter --target $process --mount ls -A /run/tedge-c8y-proxies)" ]
        done'
    promise "a profile without a tenant is skipped, not failed" device '
        systemctl start tedge-c8y-proxy@third
        [ "$(systemctl is-active tedge-c8y-proxy@third)" = inactive ]
        journalctl -u tedge-c8y-proxy@third | grep "Not started"
        systemctl list-units --failed --no-legend | not grep tedge'
    promise "thin-edge.io's mapper of the profile also moves to another port" device '
        cat >/usr/lib/systemd/system/tedge-mapper-c8y@.service <<"END"
[Service]
User=tedge
ExecStart=/bin/sh -c "env | grep ^TEDGE_ >/tmp/mapper-%i; exec sleep infinity"
END
        systemctl daemon-reload
        second=$(systemctl show -P MainPID tedge-c8y-proxy@second)
        systemctl restart tedge-mapper-c8y@second
        for try in $(seq 50); do
            [ "$(systemctl show -P MainPID tedge-c8y-proxy@second)" = "$second" ] || break
            sleep 0.1
        done
        cat /tmp/mapper-second
        grep -xi TEDGE_C8Y_PROFILES_SECOND_PROXY_BIND_ADDRESS=127.0.0.1 /tmp/mapper-second
        grep -xi TEDGE_C8Y_PROFILES_SECOND_PROXY_BIND_PORT=18002 /tmp/mapper-second
        grep -xi TEDGE_C8Y_PROFILES_SECOND_PROXY_CLIENT_PORT=8002 /tmp/mapper-second
        systemctl is-active tedge-c8y-proxy@second
        systemctl stop tedge-mapper-c8y@second
        rm /usr/lib/systemd/system/tedge-mapper-c8y@.service
        systemctl daemon-reload
        systemctl start tedge-c8y-proxy@second'
    promise "an upgrade restarts it, and a purge removes it" device '
        second=$(systemctl show -P MainPID tedge-c8y-proxy@second)
        dpkg --install ./tedge-c8y-proxy_*_amd64.deb
        systemctl is-active tedge-c8y-proxy@second
        [ "$(systemctl show -P MainPID tedge-c8y-proxy@second)" != "$second" ]
        dpkg --purge tedge-c8y-proxy
        not systemctl is-active tedge-c8y-proxy@second
        not ls /etc/systemd/system/multi-user.target.wants/tedge-c8y-proxy@second.service
        systemctl list-units --failed --no-legend | not grep tedge'
    shut_down device
}
