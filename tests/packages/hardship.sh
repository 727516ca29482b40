# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; run sets suite and debs
# A device with a read-only root, and a device with a wrong clock. The clock of a container is that of
# the host and cannot be set, so a late clock is simulated by certificates that are valid from tomorrow.

live_with_a_wrong_clock() {
    title "A clock that is late"
    on gateway 'cd /etc/tedge/device-local-certs
        mkdir -p /root/late
        : >/root/late/index
        printf "%s\n" "[ca]" default_ca=late "[late]" database=/root/late/index \
            new_certs_dir=/root/late rand_serial=yes default_md=sha256 policy=any "[any]" \
            commonName=supplied "[names]" subjectAltName=DNS:localhost >/root/late/conf
        openssl req -new -newkey rsa:2048 -nodes -subj /CN=localhost -keyout late.key \
            -out /root/late/csr 2>/dev/null
        openssl ca -batch -notext -config /root/late/conf -extensions names -in /root/late/csr \
            -cert tedge-local-ca.crt -keyfile tedge-local-ca.key -out late.crt \
            -startdate "$(date -u -d tomorrow +%Y%m%d%H%M%SZ)" \
            -enddate "$(date -u -d "+90 days" +%Y%m%d%H%M%SZ)" 2>/dev/null'
    promise "a certificate that is valid from tomorrow is served, and the journal names the clock" gateway '
        tedge config set http.cert_path /etc/tedge/device-local-certs/late.crt
        tedge config set http.key_path /etc/tedge/device-local-certs/late.key
        systemctl restart tedge-file-transfer
        curl -sSfk https://localhost:8000/health
        not curl -sS https://localhost:8000/health
        journalctl -u tedge-file-transfer -n 20 | grep "http.cert_path.*clock says.*check the clock"'
    on gateway 'for key in cert_path key_path; do tedge config unset http.$key 2>/dev/null; done
        systemctl restart tedge-file-transfer'
}

live_on_a_read_only_root() {
    title "A read-only root"
    shut_down gateway
    mkdir "$scratch/data"
    # As after mkfs, the partition is empty and belongs to root.
    boot gateway "$suite" --read-only --bind="$scratch/data:/var/tedge"
    promise "an empty partition at /var/tedge is enough" gateway '
        not touch /etc/tedge/here /usr/here /var/here
        systemctl is-active tedge-file-transfer tedge-c8y-proxy
        echo "Hello thin-edge.io" >/tmp/foo.txt
        curl -sSf -X PUT -F "file=@/tmp/foo.txt" http://localhost:8000/tedge/file-transfer/foo.txt
        curl -sSf http://localhost:8000/tedge/file-transfer/foo.txt | grep -x "Hello thin-edge.io"
        [ "$(stat -c %U /var/tedge/file-transfer/foo.txt)" = tedge ]'
    promise "the restarts of the documentation work on a read-only root" gateway '
        systemctl restart tedge-agent
        systemctl restart tedge-mapper-c8y
        curl -sSf http://localhost:8000/tedge/file-transfer/foo.txt | grep -x "Hello thin-edge.io"'
}
