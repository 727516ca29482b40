# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; run sets suite and debs
# The README's section on mutual TLS between two devices: its commands, typed on two machines. MAIN and
# CHILD are replaced by their names. The machines have no scp: a script with this name copies the files
# to a directory from which the test takes them.

# readme_block NUMBER: prints the commands of that code block of the section.
readme_block() {
    awk -v number="$1" '
        /^#/ && !code { here = /^### From two bare Raspberry Pis/ }
        /^```/ && here { code = !code; blocks += code; next }
        code && blocks == number
    ' README.md | sed 's/MAIN/pi-one/g; s/CHILD/pi-two/g'
}

follow_the_readme() {
    title "The README: from two bare devices to mutual TLS"
    local name
    for name in pi-one pi-two; do
        make_machine "$name" "$suite"
        printf '127.0.0.1 localhost\n192.168.1.16 pi-one\n192.168.1.17 pi-two\n' >"$scratch/$name/etc/hosts"
    done
    make_cloud_network "$cloud_address"
    plug pi-one 192.168.1.16
    plug pi-two 192.168.1.17
    boot pi-one "$suite"
    boot pi-two "$suite"
    copy_to pi-one "$debs"/tedge-file-transfer_*_amd64.deb
    on pi-one 'cat >/usr/local/bin/scp <<"END"
#!/bin/sh
mkdir /carried
for file; do
    case $file in *:) ;; *) cp "$file" /carried/ ;; esac
done
END
        chmod 755 /usr/local/bin/scp'
    local commands
    commands=$(readme_block 1; readme_block 2)
    [ "$(wc -l <<<"$commands")" -lt 20 ] && [ -n "$(readme_block 2)" ] ||
        broken "the README has no commands for two devices, or 20 or more: $commands"
    open_terminal pi-one
    open_terminal pi-two
    type_in pi-one 'cd; umask 022'
    type_in pi-two 'cd; umask 022'
    type_in pi-one "$(readme_block 1)"
    keep "the commands for the main device"
    cp "$scratch/pi-one/carried/"* "$scratch/pi-two/root/"
    type_in pi-two "$(readme_block 2)"
    [[ $said == *$'\n'"Hello thin-edge.io" ]] || broken "the output is not the file: $said"
    keep "the commands for the child, which uploads and downloads a file"
    promise "a client without a certificate does not get the file" pi-two '
        not curl -sS https://pi-one:8000/tedge/file-transfer/foo.txt 2>said
        grep "certificate required" said'
    shut_down pi-two
    shut_down pi-one
}
