# shellcheck shell=bash
# The page's commands for the File Transfer Service, which it calls tedge-agent.

came_back() {
    expect "Hello thin-edge.io" "foo.txt came back as it was sent"
}

agent_default() {
    systemctl restart tedge-agent
    page "any local process" <<'PAGE'
echo "Hello thin-edge.io" >/tmp/foo.txt
curl -X PUT -F 'file=@/tmp/foo.txt' http://localhost:8000/tedge/file-transfer/foo.txt
curl http://localhost:8000/tedge/file-transfer/foo.txt
PAGE
    came_back
}

agent_open() {
    page "main device" <<'PAGE'
sudo tedge config set http.bind.address 192.168.1.6
sudo systemctl restart tedge-agent
PAGE
    page "child device" <<'PAGE'
sudo tedge config set http.client.host rpi4-dca632efb150
PAGE
    page "child device" <<'PAGE'
echo "Hello thin-edge.io" >/tmp/foo.txt
curl -X PUT -F 'file=@/tmp/foo.txt' http://rpi4-dca632efb150:8000/tedge/file-transfer/foo.txt
curl http://rpi4-dca632efb150:8000/tedge/file-transfer/foo.txt
PAGE
    came_back
}

agent_https() {
    page "main device" <<'PAGE'
sudo tedge config set http.cert_path /etc/tedge/device-local-certs/main-agent.crt
sudo tedge config set http.key_path /etc/tedge/device-local-certs/main-agent.key
sudo systemctl restart tedge-agent
PAGE
    page "child device" <<'PAGE'
echo "Hello thin-edge.io" >/tmp/foo.txt
curl -X PUT -F 'file=@/tmp/foo.txt' https://rpi4-dca632efb150:8000/tedge/file-transfer/foo.txt
curl https://rpi4-dca632efb150:8000/tedge/file-transfer/foo.txt
PAGE
    came_back
}

agent_client_authentication() {
    page "main device" <<'PAGE'
sudo tedge config set http.ca_path /etc/ssl/certs
sudo systemctl restart tedge-agent
PAGE
    page "child device" <<'PAGE'
echo "Hello thin-edge.io" >/tmp/foo.txt
curl --cert /etc/tedge/device-local-certs/tedge-client.crt \
     --key /etc/tedge/device-local-certs/tedge-client.key \
     -X PUT -F 'file=@/tmp/foo.txt' \
     https://rpi4-dca632efb150:8000/tedge/file-transfer/foo.txt
curl --cert /etc/tedge/device-local-certs/tedge-client.crt \
     --key /etc/tedge/device-local-certs/tedge-client.key \
     https://rpi4-dca632efb150:8000/tedge/file-transfer/foo.txt
PAGE
    came_back
    refused "child device, without its certificate" "certificate required" <<'PAGE'
curl https://rpi4-dca632efb150:8000/tedge/file-transfer/foo.txt
PAGE
    page "child device" <<'PAGE'
sudo tedge config set http.client.auth.cert_file /etc/tedge/device-local-certs/tedge-client.crt
sudo tedge config set http.client.auth.key_file /etc/tedge/device-local-certs/tedge-client.key
PAGE
}
