# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; run sets suite and debs
# A new machine installs from the apt repository, which is signed with a temporary key.

install_from_repository() {
    title "The apt repository"
    boot fresh "$suite"
    local keys=$scratch/keys
    mkdir -m 700 "$keys"
    GNUPGHOME=$keys gpg --quiet --batch --passphrase '' --quick-generate-key test@localhost rsa2048 sign 1d 2>/dev/null
    GNUPGHOME=$keys packaging/apt-repository test@localhost >/dev/null
    GNUPGHOME=$keys gpgconf --kill all
    cp -r "${CARGO_TARGET_DIR:-$PWD/target}/apt" "$scratch/fresh/srv/apt"
    promise "apt install tedge-file-transfer tedge-c8y-proxy, by name and with a signature" fresh '
        cp /srv/apt/tedge-http.gpg /usr/share/keyrings/
        echo "deb [signed-by=/usr/share/keyrings/tedge-http.gpg] file:/srv/apt stable main" \
            >/etc/apt/sources.list
        apt-get -q update 2>&1 | { ! grep -E "^(W|E):"; }
        apt-get -q -y install tedge-file-transfer tedge-c8y-proxy
        systemctl is-active tedge-file-transfer'
    shut_down fresh
}
