# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; page.sh sets main and child
# The page's openssl commands, unchanged, from the files in tests/page. The keys keep the owner and mode
# that openssl gives them: only root can read them.

make_certificates() {
    page "$main" "a signing certificate" <tests/page/signing_key
    carry tedge-local-ca.crt "$main" "$child"
    page "$main $child" "the signing certificate is trusted" "*1 added*" <<'PAGE'
cp tedge-local-ca.crt /usr/local/share/ca-certificates
sudo update-ca-certificates
PAGE
    page "$main" "a certificate for tedge-agent" <tests/page/main_agent
    page "$main" "a certificate for tedge-mapper" <tests/page/c8y_mapper
}

make_client_certificate() {
    # The page uses the variable here without setting it. Each device has its own name.
    type_in "$child" 'DEVICE=$(tedge config get device.id)'
    page "$child" "a request for the child's certificate" <tests/page/client_request
    carry tedge-client.csr "$child" "$main"
    page "$main" "the child's certificate" <tests/page/client_certificate
    carry tedge-client.crt "$main" "$child"
}
