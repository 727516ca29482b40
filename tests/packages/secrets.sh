# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; page.sh sets main and child
# The proxy, which runs as user tedge, gets passwords that only root can read (0600), but no files
# outside the directory of the settings. Runs after the page: the child sends the requests, with its
# certificate.

list_devices() {
    promise "$1" "$child" '
        tedge http get /c8y/inventory/managedObjects | grep "\"name\":\"rpi4-dca632efb150\""'
}

keep_passwords() {
    title "Passwords that only root can read"
    on "$main" 'sed -i "s/^allow_anonymous true/allow_anonymous false/" /etc/mosquitto/conf.d/c8y-bridge.conf
        systemctl restart mosquitto tedge-mapper-c8y
        dpkg-reconfigure tedge-c8y-proxy | { ! grep "every program that can connect"; }'
    list_devices "mqtt.client.auth.password_file: a token from a broker that requires a password"
    on "$main" 'install -m 600 /dev/null /etc/tedge/credentials.toml
        printf "[c8y]\nusername = \"t0/device\"\npassword = \"a secret\"\n" >/etc/tedge/credentials.toml
        tedge config set c8y.auth_method basic 2>/dev/null
        systemctl stop mosquitto
        systemctl restart tedge-mapper-c8y'
    list_devices "c8y.credentials_path: basic authentication, without a broker"
    promise "only root can read both files, and only the service has copies" "$main" '
        [ "$(stat -c "%a %U" /etc/tedge/mqtt-password /etc/tedge/credentials.toml | sort -u)" = "600 root" ]
        [ "$(stat -c "%a %U" /run/tedge-c8y-proxy/staging/* | sort -u)" = "400 tedge" ]
        grep -qs "a secret" /run/tedge-c8y-proxy/staging/*'
    promise "a link that user tedge can change is not followed, and the journal reports it" "$main" '
        mv /etc/tedge/credentials.toml /root/
        ln -s /root/credentials.toml /etc/tedge/credentials.toml
        chown -h tedge /etc/tedge/credentials.toml
        not systemctl restart tedge-mapper-c8y
        not grep -rqs "a secret" /run/tedge-c8y-proxy
        said=$(journalctl -o cat -u tedge-c8y-proxy -n 20)
        grep "credentials.toml.* is not copied for the service by root" <<<"$said"
        [ "$(systemctl is-active tedge-c8y-proxy)" = failed ]
        rm /etc/tedge/credentials.toml
        mv /root/credentials.toml /etc/tedge/
        systemctl restart tedge-mapper-c8y'
    list_devices "with the file instead of the link, the proxy works again"
}
