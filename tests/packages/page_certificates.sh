# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; page.sh sets main and child
# The page's openssl commands, which stand in tests/page, letter for letter. Keys stay root's alone,
# as they come.

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
    # The page takes the variable for granted here; each device has a name of its own.
    type_in "$child" 'DEVICE=$(tedge config get device.id)'
    page "$child" "a request for the child's certificate" <tests/page/client_request
    carry tedge-client.csr "$child" "$main"
    page "$main" "the child's certificate" <tests/page/client_certificate
    carry tedge-client.crt "$main" "$child"
}
