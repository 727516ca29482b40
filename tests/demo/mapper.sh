# shellcheck shell=bash
# The page's commands for the Cumulocity Proxy, which it calls tedge-mapper, and what stands in
# for Cumulocity.

# A real mosquitto, and the tests' recording cloud: HTTPS under a CA of its own, and over MQTT an
# answer to c8y/s/uat with tokens that its REST API then asks for.
start_cloud() {
    local broker cloud
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=cloud-ca" \
        -keyout "$device/cloud-ca.key" -out "$device/cloud-ca.crt" 2>/dev/null
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=cloud" \
        -extensions usr_cert -addext "subjectAltName=IP:127.0.0.1" \
        -CA "$device/cloud-ca.crt" -CAkey "$device/cloud-ca.key" \
        -keyout "$device/cloud.key" -out "$device/cloud.crt" 2>/dev/null
    cp "$device/cloud-ca.crt" "$device/usr/local/share/ca-certificates/"
    update-ca-certificates >/dev/null 2>&1

    start_broker
    broker=$heard
    start cloud 'Serving https://127.0.0.1:([0-9]+)' "$programs/../debug/examples/cloud" \
        --certificate "$device/cloud.crt" --key "$device/cloud.key" --mqtt "127.0.0.1:$broker"
    cloud=$heard
    await_token "$broker"

    cat <<TEXT
These commands connect the device to Cumulocity. In the demo, this is a stand-in that records the
requests. The device gets its tokens from it through a real mosquitto.

    $ tedge config set c8y.url 127.0.0.1:$cloud
    $ tedge config set c8y.root_cert_path $device/etc/ssl/certs
    $ tedge config set mqtt.client.port $broker
TEXT
    {
        tedge config set c8y.url "127.0.0.1:$cloud"
        tedge config set c8y.root_cert_path "$device/etc/ssl/certs"
        tedge config set mqtt.client.port "$broker"
    } 2>"$device/complained"
}

# The cloud serves before it has joined the broker, and until then nobody answers.
await_token() {
    local try
    for try in 1 2 3 4 5; do
        if mosquitto_rr -h 127.0.0.1 -p "$1" -t c8y/s/uat -e c8y/s/dat -n -W 3 \
            >/dev/null 2>"$device/complained"; then
            return
        fi
    done
    broken "no token on c8y/s/dat after $try requests on c8y/s/uat"
}

# mosquitto cannot be asked for a free port. One that is taken makes it end at once.
start_broker() {
    local port try
    for try in 1 2 3 4 5 6 7 8 9 10; do
        port=$((20000 + RANDOM % 12000))
        printf 'user root\nlog_dest stderr\nlistener %s 127.0.0.1\nallow_anonymous true\n' \
            "$port" >"$device/mosquitto.conf"
        start mosquitto "(running|Address already in use)" mosquitto -c "$device/mosquitto.conf"
        if [ "$heard" = running ]; then
            heard=$port
            return
        fi
        stop mosquitto || true
    done
    broken "mosquitto found no free port in $try tries"
}

listed() {
    expect_within "\"name\":\"$name\"" "Cumulocity lists the device"
}

mapper_default() {
    systemctl restart tedge-mapper-c8y
    page "not on the page: create the device that is listed next" <<'PAGE'
curl -H 'Content-Type: application/json' -d "{\"name\": \"$(hostname)\"}" \
     http://localhost:8001/c8y/inventory/managedObjects
PAGE
    page "any local process" <<'PAGE'
curl http://localhost:8001/c8y/inventory/managedObjects
PAGE
    listed
}

mapper_open() {
    page "device running tedge-mapper-c8y" <<'PAGE'
sudo tedge config set c8y.proxy.bind.address 192.168.1.6
sudo systemctl restart tedge-mapper-c8y
PAGE
    page "main and child device" <<'PAGE'
sudo tedge config set c8y.proxy.client.host rpi4-dca632efb150
PAGE
    page "main and child device" <<'PAGE'
curl http://rpi4-dca632efb150:8001/c8y/inventory/managedObjects
PAGE
    listed
}

mapper_https() {
    page "on the box running c8y mapper" <<'PAGE'
tedge config set c8y.proxy.cert_path /etc/tedge/device-local-certs/c8y-mapper.crt
tedge config set c8y.proxy.key_path /etc/tedge/device-local-certs/c8y-mapper.key
sudo systemctl restart tedge-mapper-c8y
PAGE
    page "child device" <<'PAGE'
echo "Hello thin-edge.io" >/tmp/foo.txt
curl -X PUT -F 'file=@/tmp/foo.txt' https://rpi4-dca632efb150:8000/tedge/file-transfer/foo.txt
curl https://rpi4-dca632efb150:8000/tedge/file-transfer/foo.txt
PAGE
    came_back
    page "main and child device" <<'PAGE'
curl https://rpi4-dca632efb150:8001/c8y/inventory/managedObjects
PAGE
    listed
}

mapper_client_authentication() {
    page "on the box running tedge-mapper" <<'PAGE'
sudo tedge config set c8y.proxy.ca_path /etc/ssl/certs
sudo systemctl restart tedge-mapper-c8y
PAGE
    page "child device" <<'PAGE'
curl --cert /etc/tedge/device-local-certs/tedge-client.crt \
     --key /etc/tedge/device-local-certs/tedge-client.key \
     https://rpi4-dca632efb150:8001/c8y/inventory/managedObjects
PAGE
    listed
    refused "child device, without its certificate" "certificate required" <<'PAGE'
curl https://rpi4-dca632efb150:8001/c8y/inventory/managedObjects
PAGE
    page "main device as well as child devices" <<'PAGE'
sudo tedge config set http.client.auth.cert_file /etc/tedge/device-local-certs/tedge-client.crt
sudo tedge config set http.client.auth.key_file /etc/tedge/device-local-certs/tedge-client.key
sudo systemctl restart tedge-agent
PAGE
    page "child device, again: now both services require a client certificate" <<'PAGE'
curl --cert /etc/tedge/device-local-certs/tedge-client.crt \
     --key /etc/tedge/device-local-certs/tedge-client.key \
     https://rpi4-dca632efb150:8000/tedge/file-transfer/foo.txt
PAGE
    came_back
}
