# shellcheck shell=bash
# shellcheck disable=SC2154  # run sets here
# The page's openssl commands, which stand in ../page, letter for letter.

certificates_of_the_servers() {
    page "signing key" <"$here/../page/signing_key"
    page "on the main as well as the child devices" <<'PAGE'
cp tedge-local-ca.crt /usr/local/share/ca-certificates
sudo update-ca-certificates
PAGE
    expect_within "1 added" "the signing certificate is trusted"

    page "certificate for tedge-agent" <"$here/../page/main_agent"

    page "certificate for tedge-mapper" <"$here/../page/c8y_mapper"
}

certificate_of_the_client() {
    page "on each child device" <"$here/../page/client_request"
    page "on the laptop owning the signing key" <"$here/../page/client_certificate"
}
