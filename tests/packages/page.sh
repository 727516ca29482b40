# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; run sets suite and debs
# thin-edge.io's page "HTTPS Configuration" on two machines: each command of the page, in its order and
# unchanged, on the machine that the page names. The test does what the page leaves to the reader:
# names and addresses, a tenant, and copying files from one machine to the other.

main=rpi4-dca632efb150
child="child-01"
declare -A role_of=([$main]="the main device" [$child]="the child device")
came_back="Hello thin-edge.io"
listed="*\"name\":\"$main\"*"

walk_through_the_page() {
    title "The page: two machines and a cloud"
    connect_two_devices
    default_settings
    open_services
    make_certificates
    enable_https
    make_client_certificate
    enable_client_authentication
    keep_passwords
    shut_down "$child"
    shut_down "$main"
}

connect_two_devices() {
    local name
    for name in "$main" "$child"; do
        make_machine "$name" "$suite"
        copy_to "$name" "$debs"/tedge-file-transfer_*_amd64.deb
        # A machine with a static address has it in /etc/hosts, as Debian's reference recommends.
        printf '%s\n' "127.0.0.1 localhost" "192.168.1.6 $main" "192.168.1.7 $child" \
            "$cloud_address $tenant" >"$scratch/$name/etc/hosts"
    done
    copy_to "$main" "$debs"/tedge-c8y-proxy_*_amd64.deb
    make_cloud "$main"
    plug "$main" 192.168.1.6
    plug "$child" 192.168.1.7
    boot "$main" "$suite"
    boot "$child" "$suite"
    promise "both packages on the main device, one on the child" "$main" '
        apt-get -q -y install --no-install-recommends ./*.deb | tee said'
    promise "the installation warns that every program can get the token, and names the solution" "$main" '
        grep "every program that can connect" said
        [ -e "$(grep -o "/usr/share/doc/.*c8y-bridge.conf" said)" ]'
    on "$child" 'apt-get -q -y install --no-install-recommends ./*.deb >/dev/null 2>&1
        tedge config set device.id "$(hostname)" 2>/dev/null'
    connect_to_cloud "$main"
    promise "through the proxy, the main device is added to the inventory of its tenant" "$main" '
        tedge config set c8y.url '"$tenant"'
        systemctl restart tedge-mapper-c8y
        curl -sSf -H "Content-Type: application/json" -d "{\"name\": \"$(hostname)\"}" \
            http://localhost:8001/c8y/inventory/managedObjects'
    guard_the_token "$main"
    for name in "$main" "$child"; do
        open_terminal "$name"
        type_in "$name" 'cd /etc/tedge/device-local-certs'
    done
}

# carry FILE FROM TO: copies a file from one machine to the other.
carry() {
    cp "$scratch/$2/etc/tedge/device-local-certs/$1" "$scratch/$3/etc/tedge/device-local-certs/"
}

default_settings() {
    page "$main" "HTTP: a file is uploaded and downloaded" "$came_back" <<'PAGE'
echo "Hello thin-edge.io" >/tmp/foo.txt
curl -X PUT -F 'file=@/tmp/foo.txt' http://localhost:8000/tedge/file-transfer/foo.txt
curl http://localhost:8000/tedge/file-transfer/foo.txt 
PAGE
    list_over_http
}

# The page's commands for the proxy are in separate functions, since token.sh uses them too. There, the
# main device is also the client.

list_over_http() {
    page "$main" "HTTP: Cumulocity lists the device" "$listed" <<'PAGE'
curl http://localhost:8001/c8y/inventory/managedObjects 
PAGE
}

open_services() {
    page "$main" "the File Transfer Service listens on the network" <<'PAGE'
sudo tedge config set http.bind.address 192.168.1.6
sudo systemctl restart tedge-agent
PAGE
    page "$child" "the address of the File Transfer Service" <<'PAGE'
sudo tedge config set http.client.host rpi4-dca632efb150
sudo systemctl restart tedge-agent
PAGE
    page "$child" "HTTP: a file is uploaded and downloaded" "$came_back" <<'PAGE'
echo "Hello thin-edge.io" >/tmp/foo.txt
curl -X PUT -F 'file=@/tmp/foo.txt' http://rpi4-dca632efb150:8000/tedge/file-transfer/foo.txt
curl http://rpi4-dca632efb150:8000/tedge/file-transfer/foo.txt 
PAGE
    open_proxy "$main $child"
}

# open_proxy MACHINES: the proxy listens on the network, and the machines list the device.
open_proxy() {
    page "$main" "the proxy listens on the network" <<'PAGE'
sudo tedge config set c8y.proxy.bind.address 192.168.1.6
sudo systemctl restart tedge-mapper-c8y
PAGE
    page "$1" "the address of the proxy" <<'PAGE'
sudo tedge config set c8y.proxy.client.host rpi4-dca632efb150
sudo systemctl restart tedge-agent
PAGE
    page "$1" "HTTP: Cumulocity lists the device" "$listed" <<'PAGE'
curl http://rpi4-dca632efb150:8001/c8y/inventory/managedObjects 
PAGE
}

enable_https() {
    page "$main" "the File Transfer Service uses HTTPS" <<'PAGE'
sudo tedge config set http.cert_path /etc/tedge/device-local-certs/main-agent.crt
sudo tedge config set http.key_path /etc/tedge/device-local-certs/main-agent.key
sudo systemctl restart tedge-agent
PAGE
    page "$child" "HTTPS: a file is uploaded and downloaded" "$came_back" <<'PAGE'
echo "Hello thin-edge.io" >/tmp/foo.txt
curl -X PUT -F 'file=@/tmp/foo.txt' https://rpi4-dca632efb150:8000/tedge/file-transfer/foo.txt
curl https://rpi4-dca632efb150:8000/tedge/file-transfer/foo.txt 
PAGE
    turn_proxy_to_https
    page "$child" "HTTPS: again, with the proxy using HTTPS" "$came_back" <<'PAGE'
echo "Hello thin-edge.io" >/tmp/foo.txt
curl -X PUT -F 'file=@/tmp/foo.txt' https://rpi4-dca632efb150:8000/tedge/file-transfer/foo.txt
curl https://rpi4-dca632efb150:8000/tedge/file-transfer/foo.txt 
PAGE
    list_over_https "$main $child"
    promise "a client that does not trust the signing certificate refuses the connection" "$child" '
        not curl -sS --capath /var/empty \
            --cacert /usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt https://rpi4-dca632efb150:8000/health 2>said
        grep -q "unable to get local issuer certificate" said'
}

turn_proxy_to_https() {
    page "$main" "the proxy uses HTTPS" <<'PAGE'
tedge config set c8y.proxy.cert_path /etc/tedge/device-local-certs/c8y-mapper.crt
tedge config set c8y.proxy.key_path /etc/tedge/device-local-certs/c8y-mapper.key
sudo systemctl restart tedge-mapper-c8y
PAGE
}

# list_over_https MACHINES
list_over_https() {
    page "$1" "HTTPS: Cumulocity lists the device" "$listed" <<'PAGE'
curl https://rpi4-dca632efb150:8001/c8y/inventory/managedObjects 
PAGE
}

enable_client_authentication() {
    page "$main" "the File Transfer Service requires client certificates" <<'PAGE'
sudo tedge config set http.ca_path /etc/ssl/certs
sudo systemctl restart tedge-agent
PAGE
    page "$child" "mTLS: a file is uploaded and downloaded" "$came_back" <<'PAGE'
echo "Hello thin-edge.io" >/tmp/foo.txt
curl --cert /etc/tedge/device-local-certs/tedge-client.crt \
     --key /etc/tedge/device-local-certs/tedge-client.key \
     -X PUT -F 'file=@/tmp/foo.txt' \
     https://rpi4-dca632efb150:8000/tedge/file-transfer/foo.txt
curl --cert /etc/tedge/device-local-certs/tedge-client.crt \
     --key /etc/tedge/device-local-certs/tedge-client.key \
     https://rpi4-dca632efb150:8000/tedge/file-transfer/foo.txt 
PAGE
    page "$child" "the child's own agent uses its certificate" <<'PAGE'
sudo tedge config set http.client.auth.cert_file /etc/tedge/device-local-certs/tedge-client.crt
sudo tedge config set http.client.auth.key_file /etc/tedge/device-local-certs/tedge-client.key
sudo systemctl restart tedge-agent
PAGE
    authenticate_clients_of_proxy "$child"
    page "$main $child" "the agents use their certificates" <<'PAGE'
sudo tedge config set http.client.auth.cert_file /etc/tedge/device-local-certs/tedge-client.crt
sudo tedge config set http.client.auth.key_file /etc/tedge/device-local-certs/tedge-client.key
sudo systemctl restart tedge-agent
PAGE
    promise "a client without a certificate gets neither file nor inventory" "$child" '
        for url in :8000/tedge/file-transfer/foo.txt :8001/c8y/inventory/managedObjects; do
            not curl -sS "https://rpi4-dca632efb150$url" 2>said
            grep -q "certificate required" said
        done'
    promise "the command tedge needs no options for this, only the settings" "$child" '
        [ "$(tedge http get /te/v1/files/foo.txt)" = "Hello thin-edge.io" ]
        tedge http get /c8y/inventory/managedObjects | grep -q "\"name\":\"rpi4-dca632efb150\""'
    promise "all services run, and none was restarted by systemd" "$main" '
        systemctl is-active tedge-agent tedge-mapper-c8y mosquitto
        [ "$(systemctl show -P NRestarts tedge-file-transfer)" = 0 ]
        [ "$(systemctl show -P NRestarts tedge-c8y-proxy)" = 0 ]
        systemctl list-units --failed --no-legend | { ! grep tedge; }'
}

# authenticate_clients_of_proxy CLIENT
authenticate_clients_of_proxy() {
    page "$main" "the proxy requires client certificates" <<'PAGE'
sudo tedge config set c8y.proxy.ca_path /etc/ssl/certs
sudo systemctl restart tedge-mapper-c8y
PAGE
    page "$1" "mTLS: Cumulocity lists the device" "$listed" <<'PAGE'
curl --cert /etc/tedge/device-local-certs/tedge-client.crt \
     --key /etc/tedge/device-local-certs/tedge-client.key \
     https://rpi4-dca632efb150:8001/c8y/inventory/managedObjects 
PAGE
}
