# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; run sets suite and debs
# The main device without a broker: the page's commands for the proxy, with a token over HTTPS, and a
# device certificate that is renewed while a client sends requests.

live_without_a_broker() {
    title "Without a broker: the token over HTTPS"
    make_machine "$main" "$suite"
    printf '%s\n' "127.0.0.1 localhost" "192.168.1.6 $main" "$cloud_address $tenant" \
        >"$scratch/$main/etc/hosts"
    copy_to "$main" "$debs"/tedge-{file-transfer,c8y-proxy}_*_amd64.deb
    # The proxy renews a token 60 s before it expires: here every 10 s.
    token_life=70 make_cloud "$main"
    plug "$main" 192.168.1.6
    boot "$main" "$suite"
    connect_without_a_broker
    open_terminal "$main"
    type_in "$main" 'cd /etc/tedge/device-local-certs'
    list_over_http
    open_proxy "$main"
    page "$main" "a signing certificate" <tests/page/signing_key
    page "$main" "the signing certificate is trusted" "*1 added*" <<'PAGE'
cp tedge-local-ca.crt /usr/local/share/ca-certificates
sudo update-ca-certificates
PAGE
    page "$main" "a certificate for tedge-mapper" <tests/page/c8y_mapper
    turn_proxy_to_https
    list_over_https "$main"
    page "$main" "a request for a client's certificate" <tests/page/client_request
    page "$main" "the client's certificate" <tests/page/client_certificate
    authenticate_clients_of_proxy "$main"
    renew_the_device_certificate
    promise "the proxy runs, and was not restarted by systemd" "$main" '
        systemctl is-active tedge-mapper-c8y
        [ "$(systemctl show -P NRestarts tedge-c8y-proxy)" = 0 ]
        systemctl list-units --failed --no-legend | { ! grep tedge; }'
    eventually 30 "the proxy has two threads" "$main" '
        [ "$(ls /proc/$(systemctl show -P MainPID tedge-c8y-proxy)/task | wc -l)" = 2 ]'
    shut_down "$main"
}

# give_certificate NAME: copies this certificate of the cloud and its key to /root of the device.
give_certificate() {
    cp "$scratch/cloud/$1.crt" "$scratch/$main/root/device.crt"
    cp "$scratch/cloud/$1.key" "$scratch/$main/root/device.key"
}

connect_without_a_broker() {
    cp "$scratch/cloud/ca.crt" "$scratch/$main/usr/local/share/ca-certificates/cloud.crt"
    give_certificate device
    promise "the packages can be installed without mosquitto" "$main" '
        dpkg --purge mosquitto mosquitto-clients
        apt-get -q -y install --no-install-recommends ./*.deb
        not command -v mosquitto
        update-ca-certificates >/dev/null 2>&1'
    promise "with a key that only root can read, the device gets a token from its tenant" "$main" '
        install -D -m 644 device.crt /etc/tedge/device-certs/tedge-certificate.pem
        install -D -m 600 device.key /etc/tedge/device-certs/tedge-private-key.pem
        tedge config set c8y.url '"$tenant"'
        tedge config set c8y.proxy.token_source https
        tedge c8y token >said
        grep "^from .*'"$tenant"':8443" said
        systemctl restart tedge-mapper-c8y'
    promise "through the proxy, the device is added to the inventory of its tenant" "$main" '
        curl -sSf -H "Content-Type: application/json" -d "{\"name\": \"$(hostname)\"}" \
            http://localhost:8001/c8y/inventory/managedObjects'
}

# asked_by NAME: succeeds if the log of the cloud has a request for a token with this certificate.
asked_by() {
    local print
    print=$(openssl x509 -in "$scratch/cloud/$1.crt" -outform DER | sha256sum | cut -d' ' -f1)
    grep -q "deviceAccessToken.* by SHA256:$print" "$scratch/cloud.log"
}

renew_the_device_certificate() {
    local tries=0
    (cd "$scratch/cloud" && issue renewed "/CN=$main")
    asked_by device || broken "the cloud has not seen the device's certificate"
    ! asked_by renewed || broken "the cloud has seen the next certificate"
    on "$main" 'local=/etc/tedge/device-local-certs
        printf "%s\n" "while [ ! -e /tmp/enough ]; do
            curl -sS -o /dev/null -w \"%{http_code}\\n\" --cert $local/tedge-client.crt \
                --key $local/tedge-client.key \
                https://rpi4-dca632efb150:8001/c8y/inventory/managedObjects || echo lost
        done" >/root/ask
        systemd-run --quiet --unit=ask -p StandardOutput=file:/root/answers sh /root/ask'
    give_certificate renewed
    on "$main" 'mv device.crt /etc/tedge/device-certs/tedge-certificate.pem
        # Between the two, the service may fetch a token, or root may copy the files.
        sleep 1
        chmod 600 device.key
        mv device.key /etc/tedge/device-certs/tedge-private-key.pem'
    until asked_by renewed; do
        tries=$((tries + 1))
        [ "$tries" -le 900 ] || broken "no token was requested with the renewed certificate"
        sleep 0.1
    done
    keep "the next token is requested with the renewed certificate, without a restart"
    promise "no request of the client failed, of $(on "$main" 'wc -l <answers' || echo 0)" "$main" '
        touch /tmp/enough
        timeout 20 sh -c "while systemctl -q is-active ask; do :; done"
        [ "$(wc -l <answers)" -gt 20 ]
        [ "$(sort -u answers)" = 200 ]'
}
