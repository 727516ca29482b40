# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; run sets suite and debs
# A simulated Cumulocity in its own network namespace: for the REST API the simulated cloud of the other
# tests, and a broker with TLS that authenticates the device by certificate or by password.

tenant=example.cumulocity.com
cloud_address=192.168.1.1

# issue NAME SUBJECT [NAMES]: makes NAME.crt and NAME.key, signed by the CA of the cloud.
issue() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "$2" -extensions usr_cert \
        -addext "subjectAltName=${3:-DNS:$1}" -CA ca.crt -CAkey ca.key \
        -keyout "$1.key" -out "$1.crt" 2>/dev/null
}

# make_cloud DEVICE: starts it, and makes a certificate for the device in $scratch/cloud.
make_cloud() {
    make_cloud_network "$cloud_address"
    mkdir -p "$scratch/cloud"
    (
        cd "$scratch/cloud" || exit
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=cloud-ca" \
            -keyout ca.key -out ca.crt 2>/dev/null
        issue cloud /CN=cloud "DNS:$tenant"
        issue device "/CN=$1"
        mosquitto_passwd -b -c passwords "t0/$1" "a secret"
        # Cumulocity's topic s/uat is c8y/s/uat in the simulated cloud.
        cat >mosquitto.conf <<CONF
per_listener_settings true
user root
log_dest stderr
listener 1883 127.0.0.1
allow_anonymous true
listener 8883 $cloud_address
mount_point c8y/
cafile $PWD/ca.crt
certfile $PWD/cloud.crt
keyfile $PWD/cloud.key
require_certificate true
use_identity_as_username true
listener 9883 $cloud_address
mount_point c8y/
certfile $PWD/cloud.crt
keyfile $PWD/cloud.key
allow_anonymous false
password_file $PWD/passwords
CONF
    )
    accompany broker running mosquitto -c "$scratch/cloud/mosquitto.conf"
    accompany cloud Serving "${CARGO_TARGET_DIR:-$PWD/target}/debug/examples/cloud" \
        --certificate "$scratch/cloud/cloud.crt" --key "$scratch/cloud/cloud.key" \
        --address "$cloud_address" --port 443 --mqtt 127.0.0.1:1883 \
        --user "t0/device:a secret" --devices "$scratch/cloud/ca.crt" --life "${token_life:-3600}"
}

# connect_to_cloud MACHINE: by the commands in the shipped example, with its name of the tenant.
connect_to_cloud() {
    local files=$scratch/$1
    cp "$scratch/cloud/ca.crt" "$files/usr/local/share/ca-certificates/cloud.crt"
    mkdir -p "$files/etc/tedge/device-certs"
    cp "$scratch/cloud/device.crt" "$files/etc/tedge/device-certs/tedge-certificate.pem"
    cp "$scratch/cloud/device.key" "$files/etc/tedge/device-certs/tedge-private-key.pem"
    promise "mosquitto's bridge fetches a token with the shipped configuration" "$1" '
        update-ca-certificates >/dev/null 2>&1
        example=/usr/share/doc/tedge-c8y-proxy/examples/c8y-bridge.conf
        sed -n "s/^#     //p" $example >as-it-says
        sed -i "/^cp c8y-bridge/ a sed -i s/DEVICE/$(hostname)/ /etc/mosquitto/conf.d/c8y-bridge.conf" as-it-says
        sh -ex as-it-says
        cat >ask-for-the-token <<"END"
for try in 1 2 3 4 5; do
    mosquitto_rr -u tedge -P "$(cat /etc/tedge/mqtt-password)" -t c8y/s/uat -e c8y/s/dat -n -W 3 2>&1 |
        grep "^71,.*\..*\." && exit
done
exit 1
END
        sh ask-for-the-token'
    # The example also has the lines for a device without a certificate.
    promise "mosquitto's bridge also fetches a token with user and password instead of a certificate" "$1" '
        cp /etc/mosquitto/conf.d/c8y-bridge.conf /root/kept.conf
        sed -i -e "s/^#remote_/remote_/" -e "s/^bridge_certfile/#&/" -e "s/^bridge_keyfile/#&/" \
            -e "s|TENANT/USER|t0/$(hostname)|" -e "s/PASSWORD/a secret/" -e "s/:8883/:9883/" \
            /etc/mosquitto/conf.d/c8y-bridge.conf
        systemctl restart mosquitto
        sh ask-for-the-token
        cp /root/kept.conf /etc/mosquitto/conf.d/c8y-bridge.conf
        systemctl restart mosquitto'
}

# guard_the_token MACHINE: the proxy must have its tenant already.
guard_the_token() {
    promise "with the shipped configuration another user cannot get the token" "$1" '
        runuser -u nobody -- mosquitto_sub -v -t "#" -t "c8y/#" -t c8y/s/dat -t "\$share/group/c8y/s/dat" >heard 2>&1 &
        listener=$!
        hears() { timeout 60 sh -c "until grep -q $1 heard; do mosquitto_pub -t said -m $1; done"; }
        hears beginning
        # The restart makes the proxy fetch a token, with its password.
        systemctl restart tedge-mapper-c8y
        curl -sSf http://localhost:8001/c8y/inventory/managedObjects
        not runuser -u nobody -- mosquitto_rr -t c8y/s/uat -e c8y/s/dat -n -W 3
        sh ask-for-the-token
        hears end
        kill $listener
        not grep -e c8y/s/uat -e c8y/s/dat -e "71,.*\..*\." heard
        for file in /etc/tedge/mqtt-password /etc/mosquitto/c8y.passwords; do
            not runuser -u nobody -- cat $file
        done'
    promise "another user can still use other topics" "$1" '
        runuser -u nobody -- mosquitto_sub -t c8y/s/us -C 1 -W 20 >heard 2>&1 &
        timeout 20 sh -c "while kill -0 $!; do runuser -u nobody -- mosquitto_pub -t c8y/s/us -m 211,20; done"
        grep -x 211,20 heard'
}
