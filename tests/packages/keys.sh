# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; run sets suite and debs
# The page's certificates, made by root with root's umask: only root can read the keys (0600). The
# services, which run as user tedge, must be able to use them.

# spy UNIT OTHER: runs a script instead of UNIT, in its sandbox and as its user, that tries to read the
# private key of OTHER. It must be able to read the key of UNIT: so the script itself works.
spy() {
    promise "$1 cannot read the copies of $2, although both are the same user" gateway '
        unit='"$1"' other='"$2"'
        printf "%s\n" "cat /run/$unit/staging/*" "echo of the other:" "ls /run/$other" \
            "cat $(echo /run/$other/staging/* /proc/[0-9]*/root/run/$other/staging/*)" \
            "cat /proc/$(systemctl show -P MainPID $other)/environ" >/var/spy
        mkdir -p /run/systemd/system/$unit.service.d
        printf "%s\n" "[Service]" Type=oneshot Restart=no WatchdogSec=0 ExecStart= \
            "ExecStart=-/bin/sh /var/spy" StandardOutput=truncate:/root/spied \
            StandardError=truncate:/root/failed >/run/systemd/system/$unit.service.d/spy.conf
        systemctl daemon-reload
        systemctl restart $unit
        rm /run/systemd/system/$unit.service.d/spy.conf
        systemctl daemon-reload
        systemctl restart $unit
        grep -q "PRIVATE KEY" <(sed "/^of the other:/,\$ d" spied)
        [ "$(sed "1,/^of the other:/ d" spied)" = "" ]
        [ "$(grep -c -e denied -e "No such file" failed)" -gt 3 ]'
    promise "$1 cannot read them after a restart of $2 either" gateway '
        systemctl restart '"$2"'
        [ "$(ls /run/'"$2"'/staging)" != "" ]
        process=$(systemctl show -P MainPID '"$1"')
        [ "$(nsenter --target $process --mount ls -A /run/'"$2"')" = "" ]'
}

use_roots_keys() {
    title "Keys that only root can read"
    on gateway 'tedge config set device.id rpi4-dca632efb150
        cd /etc/tedge/device-local-certs
        openssl req -new -x509 -days 100 -extensions v3_ca -nodes \
            -subj "/O=thin-edge/OU=rpi4-dca632efb150/CN=tedge-ca" \
            -keyout tedge-local-ca.key -out tedge-local-ca.crt 2>/dev/null
        cp tedge-local-ca.crt /usr/local/share/ca-certificates
        sudo update-ca-certificates >/dev/null 2>&1
        cat >v3.ext <<END
authorityKeyIdentifier=keyid
basicConstraints=CA:FALSE
keyUsage = digitalSignature, keyAgreement
extendedKeyUsage = serverAuth, clientAuth
subjectAltName=DNS:$(hostname),DNS:localhost
END
        cat >/root/sign <<"END"
cd /etc/tedge/device-local-certs
openssl genrsa -out $1.key 2048
openssl req -out $1.csr -key $1.key -subj "/O=thin-edge/OU=$(tedge config get device.id)/SN=$1/CN=localhost" -new
openssl x509 -req -in $1.csr -CA tedge-local-ca.crt -CAkey tedge-local-ca.key -extfile v3.ext \
    -CAcreateserial -out $1.crt -days 100
END
        for name in main-agent c8y-mapper tedge-client; do
            sh /root/sign $name 2>/dev/null
        done'
    promise "the File Transfer Service serves with a key that only root may read" gateway '
        [ "$(stat -c "%a %U" /etc/tedge/device-local-certs/main-agent.key)" = "600 root" ]
        sudo tedge config set http.cert_path /etc/tedge/device-local-certs/main-agent.crt
        sudo tedge config set http.key_path /etc/tedge/device-local-certs/main-agent.key
        sudo systemctl restart tedge-agent
        echo "Hello thin-edge.io" >/tmp/foo.txt
        curl -sSf -X PUT -F "file=@/tmp/foo.txt" https://localhost:8000/tedge/file-transfer/foo.txt'
    promise "the proxy serves with a key that only root may read" gateway '
        tedge config set c8y.proxy.cert_path /etc/tedge/device-local-certs/c8y-mapper.crt
        tedge config set c8y.proxy.key_path /etc/tedge/device-local-certs/c8y-mapper.key
        sudo systemctl restart tedge-mapper-c8y
        [ "$(curl -sS -o /dev/null -w "%{http_code}" https://localhost:8001/c8y/x)" = 502 ]'
    promise "clients need a certificate once http.ca_path is set" gateway '
        sudo tedge config set http.ca_path /etc/ssl/certs
        sudo systemctl restart tedge-agent
        not curl -s https://localhost:8000/tedge/file-transfer/foo.txt
        curl -sSf --cert /etc/tedge/device-local-certs/tedge-client.crt \
            --key /etc/tedge/device-local-certs/tedge-client.key \
            https://localhost:8000/tedge/file-transfer/foo.txt | grep >/dev/null Hello'
    promise "only the service can read the copies, and only the needed files are copied" gateway '
        [ "$(stat -c "%a %U" /run/tedge-file-transfer/staging)" = "700 tedge" ]
        # The certificate and the key.
        [ "$(ls /run/tedge-file-transfer/staging | wc -l)" = 2 ]
        [ "$(stat -c "%a %U" /run/tedge-file-transfer/staging/* | sort -u)" = "400 tedge" ]'
    spy tedge-file-transfer tedge-c8y-proxy
    spy tedge-c8y-proxy tedge-file-transfer
    promise "a renewed certificate is served after systemctl reload, without a restart" gateway '
        shown() { { openssl s_client -connect localhost:8000 </dev/null 2>/dev/null || true; } | openssl x509 -noout -serial; }
        pid=$(systemctl show -P MainPID tedge-agent)
        old=$(shown)
        sh /root/sign main-agent 2>/dev/null
        systemctl reload tedge-agent
        timeout 60 sh -c "until [ \"\$(openssl s_client -connect localhost:8000 </dev/null 2>/dev/null | openssl x509 -noout -serial)\" != \"$old\" ]; do :; done"
        [ "$(systemctl show -P MainPID tedge-agent)" = "$pid" ]'
    promise "a failed reload reports the cause, and the service keeps its certificate" gateway '
        local=/etc/tedge/device-local-certs
        cp $local/main-agent.crt /root/kept.crt
        echo >$local/main-agent.crt
        for unit in tedge-agent tedge-file-transfer; do
            not systemctl reload $unit
            systemctl is-active $unit
        done
        journalctl -o cat -u tedge-file-transfer -n 9 | grep "^http.cert_path: $local/main-agent.crt holds no certificate"
        curl -sSf --cert $local/tedge-client.crt --key $local/tedge-client.key https://localhost:8000/health
        cp /root/kept.crt $local/main-agent.crt
        systemctl reload tedge-agent'
    on gateway 'sh /root/sign main-agent 2>/dev/null'
    eventually 200 "a renewed certificate is served without a reload, after a minute" gateway '
        [ "$({ openssl s_client -connect localhost:8000 </dev/null 2>/dev/null || true; } | openssl x509 -noout -serial)" = \
          "$(openssl x509 -noout -serial -in /etc/tedge/device-local-certs/main-agent.crt)" ]'
    promise "user tedge cannot prevent renewals, by a directory or by many requests" gateway '
        request=/run/tedge-file-transfer/staging/renew
        as_tedge() { setpriv --reuid tedge --regid tedge --clear-groups "$@"; }
        gone() { timeout 60 sh -c "while [ -e $request ]; do :; done"; }
        as_tedge mkdir -p $request/full
        gone
        for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
            as_tedge touch $request
            gone
        done
        [ "$(systemctl is-active tedge-file-transfer-renew.path)" = active ]'
    promise "a user who can write the settings cannot make root copy other files" gateway '
        cp -a /etc/tedge/tedge.toml /root/kept.toml
        chown tedge /etc/tedge/tedge.toml
        openssl genrsa -out /root/other.key 2048 2>/dev/null
        ln -s /root/other.key /etc/tedge/device-local-certs/link.key
        for file in /etc/shadow /root/other.key /etc/tedge/device-local-certs/link.key; do
            tedge config set http.key_path $file 2>/dev/null
            systemctl restart tedge-agent || true
            not grep -rqs -e "root:" -e "PRIVATE" /run/tedge-file-transfer
            journalctl -u tedge-file-transfer -n 9 |
                grep "$file is not copied for the service by root: .*users other than root can change"
        done
        cp -a /root/kept.toml /etc/tedge/tedge.toml
        systemctl restart tedge-agent'
    promise "if user tedge owns /etc/tedge, keys of other users and of the CA are not copied" gateway '
        local=/etc/tedge/device-local-certs
        install -d -o mosquitto -g mosquitto /etc/tedge/device-certs
        install -o mosquitto -m 600 /root/other.key /etc/tedge/device-certs/tedge-private-key.pem
        install -o mosquitto -m 600 /root/other.key $local/mosquitto.key
        install -m 600 $local/tedge-local-ca.key $local/renamed.key
        mv $local/tedge-local-ca.crt $local/ca-cert.pem
        install -m 600 $local/tedge-local-ca.key /etc/tedge/moved.key
        chown tedge:tedge /etc/tedge
        chmod 775 /etc/tedge
        for file in /etc/tedge/device-certs/tedge-private-key.pem $local/mosquitto.key \
            $local/renamed.key /etc/tedge/moved.key; do
            tedge config set http.key_path $file 2>/dev/null
            systemctl restart tedge-agent || true
            not grep -rqs "PRIVATE KEY-----M" /run/tedge-file-transfer
            journalctl -u tedge-file-transfer -n 9 | grep "$file is not copied for the service by root: "
        done'
    promise "if user tedge owns /etc/tedge, the key of the page is copied" gateway '
        tedge config set http.key_path /etc/tedge/device-local-certs/main-agent.key 2>/dev/null
        systemctl restart tedge-agent
        grep -rqs "PRIVATE KEY-----M" /run/tedge-file-transfer
        chown root:tedge /etc/tedge
        chmod 755 /etc/tedge
        mv /etc/tedge/device-local-certs/ca-cert.pem /etc/tedge/device-local-certs/tedge-local-ca.crt
        rm -r /etc/tedge/moved.key /etc/tedge/device-certs
        rm /etc/tedge/device-local-certs/{mosquitto,renamed}.key
        cp -a /root/kept.toml /etc/tedge/tedge.toml
        systemctl restart tedge-agent'
    on gateway 'for key in cert_path key_path ca_path; do tedge config unset http.$key; done 2>/dev/null
        for key in cert_path key_path; do tedge config unset c8y.proxy.$key; done 2>/dev/null
        systemctl restart tedge-agent tedge-mapper-c8y'
}
