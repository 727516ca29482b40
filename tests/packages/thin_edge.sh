# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; run sets suite and debs
# Beside thin-edge.io: packages that do what its packages do as far as ours notice, since a test
# downloads nothing. Removal masks the units' names, purge deletes directories and user.

make_thin_edge() {
    on device 'for name in tedge tedge-agent; do
            mkdir -p $name/DEBIAN
            printf "%s\n" "Package: $name" "Version: 2.0.1" "Architecture: all" \
                "Maintainer: a test <root@localhost>" "Description: stands in" >$name/DEBIAN/control
        done
        mkdir -p tedge/usr/bin tedge-agent/lib/systemd/system
        printf "#!/bin/sh\necho thin-edge.io\n" >tedge/usr/bin/tedge
        cat >tedge-agent/lib/systemd/system/tedge-agent.service <<END
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
END
        cat >tedge/DEBIAN/postinst <<"END"
#!/bin/sh
getent passwd tedge >/dev/null || useradd --system --no-create-home --shell /usr/sbin/nologin tedge
install -d -o tedge -g tedge -m 775 /etc/tedge /var/tedge
[ -e /etc/tedge/tedge.toml ] || printf "[device]\n# mine\nkind = \"gateway\"\n" >/etc/tedge/tedge.toml
chown tedge:tedge /etc/tedge/tedge.toml
echo "tedge ALL = (ALL) NOPASSWD: /usr/bin/tedge, /bin/sync, /usr/bin/tedge-write /etc/*" >/etc/sudoers.d/tedge
END
        cat >tedge/DEBIAN/postrm <<"END"
#!/bin/sh
[ "$1" = purge ] || exit 0
rm -rf /etc/tedge /var/tedge
userdel tedge || true
END
        cat >tedge-agent/DEBIAN/postinst <<"END"
#!/bin/sh
deb-systemd-helper unmask tedge-agent.service >/dev/null || true
deb-systemd-helper enable tedge-agent.service >/dev/null || true
systemctl daemon-reload
systemctl start tedge-agent
END
        cat >tedge-agent/DEBIAN/prerm <<"END"
#!/bin/sh
systemctl stop tedge-agent
END
        cat >tedge-agent/DEBIAN/postrm <<"END"
#!/bin/sh
systemctl daemon-reload
[ "$1" != remove ] || deb-systemd-helper mask tedge-agent.service
[ "$1" != purge ] || deb-systemd-helper purge tedge-agent.service
[ "$1" != purge ] || deb-systemd-helper unmask tedge-agent.service
END
        chmod 755 */DEBIAN/post* */DEBIAN/prerm tedge/usr/bin/tedge
        sed -i "s/^set -e$//" */DEBIAN/post*
        for name in tedge tedge-agent; do
            sed -i "\$aexit 0" $name/DEBIAN/postrm
            dpkg-deb -Znone --build $name ./$name.deb
        done'
}

live_beside_thin_edge() {
    title "Beside thin-edge.io"
    boot device "$suite"
    make_thin_edge
    copy_to device "$debs"/*_amd64.deb
    promise "on a device with thin-edge.io ours takes the place of tedge-agent" device '
        apt-get -q -y install ./tedge.deb ./tedge-agent.deb
        systemctl is-active tedge-agent
        apt-get -q -y install --no-install-recommends ./tedge-file-transfer*_amd64.deb | tee said
        grep -q "purging thin-edge.io" said
        not grep -q sudoers said
        systemctl is-active tedge-file-transfer
        systemctl restart tedge-agent
        curl -sSf http://localhost:8000/health'
    promise "what was there stays: settings, modes, owners, the command tedge" device '
        [ "$(stat -c "%a %U:%G" /etc/tedge)" = "775 tedge:tedge" ]
        [ "$(stat -c "%a %U:%G" /var/tedge)" = "775 tedge:tedge" ]
        grep -q "kind = .gateway." /etc/tedge/tedge.toml
        [ "$(tedge)" = thin-edge.io ]
        tedge-file-transfer tedge config get http.bind.port'
    promise "tedge-agent's purge leaves ours running, and the name too after the next configure" device '
        dpkg --purge tedge-agent
        dpkg-reconfigure tedge-file-transfer
        systemctl restart tedge-agent
        curl -sSf http://localhost:8000/health'
    promise "the command tedge is ours once thin-edge.io's is removed" device '
        dpkg --remove tedge | tee said
        tedge config get http.bind.port'
    promise "thin-edge.io's rule for sudo is then a way to root" device '
        echo planted | curl -sSf -T - http://localhost:8000/tedge/file-transfer/planted
        runuser -u tedge -- sudo -n tedge http get /tedge/file-transfer/planted --output /etc/planted
        [ "$(stat -c %U /etc/planted)" = root ]'
    promise "the removal says so, with file and line, and the command it prints closes it" device '
        grep "WARNING: /etc/sudoers.d/tedge, line 1, is a way to become root" said
        eval "$(grep "^ *sed -i" said)"
        visudo -c -f /etc/sudoers.d/tedge
        not runuser -u tedge -- sudo -n tedge --version
        runuser -u tedge -- sudo -n sync
        dpkg-reconfigure tedge-file-transfer >said
        not grep sudoers said'
    promise "a rule of another form is reported too, and one for another command is not" device '
        printf "%s\n" "# tedge ALL = /usr/bin/tedge" "%tedge ALL = /usr/bin/tedge-write" \
            "%tedge ALL = /usr/bin/tedge" "%tedge ALL = !/usr/bin/tedge" >/etc/sudoers.d/other
        dpkg-reconfigure tedge-file-transfer >said
        grep "visudo -f /etc/sudoers.d/other    and delete /usr/bin/tedge in line 3" said
        [ "$(grep -c sudoers said)" = 2 ]
        rm /etc/sudoers.d/other'
    promise "after thin-edge.io's purge the next start brings back user and directories" device '
        systemctl stop tedge-agent
        dpkg --purge tedge
        not getent passwd tedge
        systemctl restart tedge-agent
        systemctl is-active tedge-agent
        echo back >/tmp/foo.txt
        curl -sSf -T /tmp/foo.txt http://localhost:8000/tedge/file-transfer/foo.txt
        [ "$(stat -c "%U" /var/tedge/file-transfer/foo.txt)" = tedge ]'
    promise "a purge while ours runs costs the files, and neither the service nor the command" device '
        apt-get -q -y install ./tedge.deb
        [ "$(tedge)" = thin-edge.io ]
        process=$(systemctl show -P MainPID tedge-file-transfer)
        dpkg --purge tedge
        [ "$(stat -c "%a %U:%G" /var/tedge/file-transfer)" = "750 tedge:tedge" ]
        [ ! -e /var/tedge/file-transfer/foo.txt ]
        curl -sSf -T /tmp/foo.txt http://localhost:8000/tedge/file-transfer/foo.txt
        curl -sSf http://localhost:8000/tedge/file-transfer/foo.txt | grep -x back
        [ "$(systemctl show -P MainPID tedge-file-transfer)" = "$process" ]
        tedge config get http.bind.port'
    promise "configuring the package again brings back user and directories as well" device '
        lose_all() {
            systemctl stop tedge-file-transfer
            rm -r /etc/tedge /var/tedge
            userdel tedge
        }
        lose_all
        dpkg-reconfigure tedge-file-transfer
        [ "$(stat -c "%a %U:%G" /etc/tedge)" = "755 root:tedge" ]
        [ "$(stat -c "%a %U:%G" /etc/tedge/device-local-certs)" = "750 root:tedge" ]
        [ "$(stat -c "%a %U:%G" /var/tedge/file-transfer)" = "750 tedge:tedge" ]
        apt-get -q -y install --no-install-recommends ./tedge-c8y-proxy_*_amd64.deb
        lose_all
        systemctl restart tedge-c8y-proxy'
    promise "and so does the start of the proxy, which then waits for its settings" device '
        getent passwd tedge
        [ "$(stat -c "%a %U:%G" /etc/tedge)" = "755 root:tedge" ]
        [ "$(systemctl is-active tedge-c8y-proxy)" = inactive ]
        tedge config set c8y.url example.invalid
        systemctl restart tedge-c8y-proxy tedge-file-transfer
        systemctl is-active tedge-c8y-proxy tedge-file-transfer'
    promise "thin-edge.io that came and went before, masked and purged, is not in the way" device '
        apt-get -q -y purge tedge-file-transfer tedge-c8y-proxy
        apt-get -q -y install ./tedge.deb ./tedge-agent.deb
        apt-get -q -y remove tedge-agent
        [ "$(readlink /etc/systemd/system/tedge-agent.service)" = /dev/null ]
        dpkg --purge tedge
        apt-get -q -y install --no-install-recommends ./tedge-file-transfer*_amd64.deb | tee said
        grep "WARNING: /etc/sudoers.d/tedge, line 1, is a way to become root" said
        systemctl restart tedge-agent
        dpkg --purge tedge-agent
        curl -sSf -T /tmp/foo.txt http://localhost:8000/tedge/file-transfer/foo.txt'
    shut_down device
}
