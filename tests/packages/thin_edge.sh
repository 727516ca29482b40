# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154  # commands expand in the machine; run sets suite and debs
# Together with thin-edge.io. A test downloads nothing, so simple packages simulate thin-edge.io's: they
# have the same names, units and ports. Their removal masks the units, and their purge deletes the
# directories and the user, as with thin-edge.io's.

make_thin_edge() {
    on device 'for name in tedge tedge-agent tedge-mapper; do
            mkdir -p $name/DEBIAN $name/usr/bin
            printf "%s\n" "Package: $name" "Version: 2.0.1" "Architecture: all" \
                "Maintainer: a test <root@localhost>" "Description: stands in" >$name/DEBIAN/control
        done
        printf "#!/bin/sh\necho thin-edge.io\n" >tedge/usr/bin/tedge
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
        chmod 755 tedge/DEBIAN/post* tedge/usr/bin/tedge'
    make_daemon tedge-agent tedge-agent TEDGE_HTTP_BIND 8000 /var/tedge
    make_daemon tedge-mapper tedge-mapper-c8y TEDGE_C8Y_PROXY_BIND 8001 /none
    on device 'for name in tedge tedge-agent tedge-mapper; do dpkg-deb -Znone --build $name ./$name.deb; done'
}

# make_daemon PACKAGE UNIT VARIABLES PORT DIRECTORY: makes a package with a daemon that listens on the
# port and answers with the first line of the request. An installation does not start the daemon. A
# removal stops it and masks its unit. A purge deletes the directory.
make_daemon() {
    on device "package=$1 unit=$2.service"'
        mkdir -p $package/lib/systemd/system
        cat >$package/usr/bin/'"$2"' <<"END"
#!/usr/bin/perl
use IO::Socket::INET;
my $server = IO::Socket::INET->new(LocalAddr => $ENV{"'"$3"'_ADDRESS"} || "127.0.0.1",
    LocalPort => $ENV{"'"$3"'_PORT"} || '"$4"', Listen => 5, ReuseAddr => 1) or die "$@\n";
while (my $client = $server->accept) {
    my $line = <$client> // "";
    while (defined(my $field = <$client>)) { last if $field eq "\r\n" }
    print $client "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ", length $line,
        "\r\n\r\n$line";
    close $client;
}
END
        printf "[Unit]\nStartLimitIntervalSec=0\n[Service]\nUser=tedge\nExecStart=/usr/bin/%s\n%s\n[Install]\nWantedBy=multi-user.target\n" \
            '"$2"' "Restart=on-failure" >$package/lib/systemd/system/$unit
        printf "#!/bin/sh\ndeb-systemd-helper unmask %s\ndeb-systemd-helper enable %s\n" \
            $unit $unit >$package/DEBIAN/postinst
        printf "#!/bin/sh\n[ \$1 != remove ] || deb-systemd-invoke stop %s\n" $unit >$package/DEBIAN/prerm
        cat >$package/DEBIAN/postrm <<END
#!/bin/sh
systemctl daemon-reload
case \$1 in
    remove) deb-systemd-helper mask $unit ;;
    purge)
        rm -rf '"$5"'
        deb-systemd-helper purge $unit
        deb-systemd-helper unmask $unit
        ;;
esac
END
        chmod 755 $package/DEBIAN/p* $package/usr/bin/*'
}

live_beside_thin_edge() {
    title "Together with thin-edge.io"
    boot device "$suite"
    make_thin_edge
    copy_to device "$debs"/*_amd64.deb
    promise "our service takes the port of tedge-agent, which continues on another port" device '
        apt-get -q -y install ./tedge.deb ./tedge-agent.deb
        systemctl start tedge-agent
        apt-get -q -y install --no-install-recommends ./tedge-file-transfer*_amd64.deb | tee said
        grep -q "purging thin-edge.io" said
        not grep -q sudoers said
        systemctl is-active tedge-agent tedge-file-transfer
        ss -Hltnp "sport = :8000" | grep tedge-file-tran
        ss -Hltnp "sport = :18000" | grep "127.0.0.1.*tedge-agent"
        systemctl restart tedge-agent
        curl -sSf http://localhost:8000/health'
    promise "our service forwards requests for entities to tedge-agent; if that is stopped, it answers 404" device '
        for try in $(seq 50); do
            ! curl -sSf http://localhost:8000/te/v1/entities/device/main// >said || break
            sleep 0.1
        done
        grep "^GET /te/v1/entities/device/main// HTTP/1.1" said
        systemctl stop tedge-agent
        # systemctl waits for the unit that it stops, not for those that are part of it.
        for try in $(seq 50); do
            [ "$(systemctl is-active tedge-file-transfer)" = deactivating ] || break
            sleep 0.1
        done
        [ "$(systemctl is-active tedge-file-transfer)" = inactive ]
        systemctl start tedge-file-transfer
        [ "$(curl -sS -o said -w "%{http_code}" http://localhost:8000/te/v1/entities)" = 404 ]
        grep "tedge-agent, which cannot be reached: install or start it" said
        systemctl start tedge-agent
        for try in $(seq 50); do
            ! curl -sSf http://localhost:8000/te/v1/entities || break
            sleep 0.1
        done
        curl -sSf http://localhost:8000/te/v1/entities'
    promise "tedge-agent can be moved elsewhere, if both drop-ins of the generator are overridden" device '
        for unit in tedge-agent tedge-file-transfer; do mkdir -p /etc/systemd/system/$unit.service.d; done
        echo "[Service]
Environment=TEDGE_HTTP_BIND_PORT=18080" >/etc/systemd/system/tedge-agent.service.d/override.conf
        echo "[Service]
Environment=TEDGE_HTTP_AGENT_ADDRESS=127.0.0.1:18080" >/etc/systemd/system/tedge-file-transfer.service.d/override.conf
        systemctl daemon-reload
        systemctl restart tedge-agent
        for try in $(seq 50); do
            ! curl -sSf http://localhost:8000/te/v1/entities || break
            sleep 0.1
        done
        curl -sSf http://localhost:8000/te/v1/entities
        ss -Hltnp "sport = :18080" | grep tedge-agent
        rm -r /etc/systemd/system/tedge-*.service.d
        systemctl daemon-reload
        systemctl restart tedge-agent'
    promise "an installation keeps settings, modes, owners and thin-edge.io's command tedge" device '
        [ "$(stat -c "%a %U:%G" /etc/tedge)" = "775 tedge:tedge" ]
        [ "$(stat -c "%a %U:%G" /var/tedge)" = "775 tedge:tedge" ]
        grep -q "kind = .gateway." /etc/tedge/tedge.toml
        [ "$(tedge)" = thin-edge.io ]
        tedge-file-transfer tedge config get http.bind.port'
    promise "after a purge of tedge-agent, our service runs, and has its name" device '
        dpkg --purge tedge-agent
        curl -sSf http://localhost:8000/health
        systemctl restart tedge-agent
        curl -sSf http://localhost:8000/health'
    promise "when thin-edge.io's command tedge is removed, tedge is our command" device '
        dpkg --remove tedge | tee said
        tedge config get http.bind.port'
    promise "thin-edge.io's sudo rule is then a way to become root" device '
        echo planted | curl -sSf -T - http://localhost:8000/tedge/file-transfer/planted
        runuser -u tedge -- sudo -n tedge http get /tedge/file-transfer/planted --output /etc/planted
        [ "$(stat -c %U /etc/planted)" = root ]'
    promise "the removal reports the rule with file and line, and prints a command that removes it" device '
        grep "WARNING: /etc/sudoers.d/tedge, line 1, is a way to become root" said
        eval "$(grep "^ *sed -i" said)"
        visudo -c -f /etc/sudoers.d/tedge
        not runuser -u tedge -- sudo -n tedge --version
        runuser -u tedge -- sudo -n sync
        dpkg-reconfigure tedge-file-transfer >said
        not grep sudoers said'
    promise "a rule of another form is reported, and a rule for another command is not" device '
        printf "%s\n" "# tedge ALL = /usr/bin/tedge" "%tedge ALL = /usr/bin/tedge-write" \
            "%tedge ALL = /usr/bin/tedge" "%tedge ALL = !/usr/bin/tedge" >/etc/sudoers.d/other
        dpkg-reconfigure tedge-file-transfer >said
        grep "visudo -f /etc/sudoers.d/other    and delete /usr/bin/tedge in line 3" said
        [ "$(grep -c sudoers said)" = 2 ]
        rm /etc/sudoers.d/other'
    promise "after a purge of thin-edge.io, the next start creates user and directories again" device '
        systemctl stop tedge-agent
        dpkg --purge tedge
        not getent passwd tedge
        systemctl restart tedge-agent
        systemctl is-active tedge-agent
        echo back >/tmp/foo.txt
        curl -sSf -T /tmp/foo.txt http://localhost:8000/tedge/file-transfer/foo.txt
        [ "$(stat -c "%U" /var/tedge/file-transfer/foo.txt)" = tedge ]'
    promise "a purge of thin-edge.io deletes the files, but service and command tedge continue to work" device '
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
    promise "dpkg-reconfigure also creates user and directories again" device '
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
    promise "a start of the proxy does too, and the proxy then waits for its settings" device '
        getent passwd tedge
        [ "$(stat -c "%a %U:%G" /etc/tedge)" = "755 root:tedge" ]
        [ "$(systemctl is-active tedge-c8y-proxy)" = inactive ]
        tedge config set c8y.url example.invalid
        systemctl restart tedge-c8y-proxy tedge-file-transfer
        systemctl is-active tedge-c8y-proxy tedge-file-transfer'
    promise "our packages can be installed after thin-edge.io was removed, which masks its units" device '
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
