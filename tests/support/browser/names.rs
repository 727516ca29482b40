//! Names of a service, and names that belong to others.

use std::fs;
use std::process::Command;

use super::super::client::has_ipv6;
use super::super::service::Setup;
use super::pages::Pages;

/// Ours wherever a service runs, beside IP addresses and `localhost`.
pub(crate) const OURS: &[&str] =
    &["gateway", "gateway.local", "gateway.lan", "gateway.home.arpa", "gateway.internal"];

/// Ours by the settings of [`known_as`].
pub(crate) const CONFIGURED: &[&str] = &["client.example", "allowed.example", "deep.wild.example"];

/// Ours by the machine's name and `/etc/hosts`, as [`known_as`] has them.
const OF_THE_MACHINE: &[&str] = &["box", "gw7.factory.example"];
const HOSTS: &str = "127.0.0.1 localhost\n127.0.1.1 gw7.factory.example box\n";

/// Names of others, though they begin like one of ours or belong to another service.
pub(crate) const FOREIGN: &[&str] =
    &["foreign.example", "san.example", "box.attacker.example", "localhost.attacker.example"];

/// Run with a file in place of `/etc/hosts`, then the program.
const AS_BOX: &str = "mount --bind \"$0\" /etc/hosts; hostname box; exec \"$@\"";

/// Has a service listen on every address, be known by all of these names, and answer pages of
/// `panel.example`. `prefix` is what its settings begin with. Returns the names.
pub(crate) fn known_as(setup: &mut Setup, prefix: &str, pages: &Pages) -> Vec<&'static str> {
    let has_ipv6 = has_ipv6();
    setup.set(&format!("{prefix}.bind.address"), if has_ipv6 { "::" } else { "0.0.0.0" });
    setup.set(&format!("{prefix}.client.host"), "client.example");
    setup.set_own_path(&format!("{prefix}.allowed_hosts"), "allowed.example,*.wild.example");
    let panel = format!("http://panel.example:{}", pages.address().port());
    setup.set_own_path(&format!("{prefix}.allowed_origins"), panel);

    let mut names = vec!["127.0.0.1", "localhost", "sub.localhost"];
    names.extend(OURS.iter().chain(CONFIGURED).chain(has_ipv6.then_some(&"[::1]")));
    let namespaces = ["unshare", "--mount", "--uts"];
    let may_be_renamed = Command::new(namespaces[0]).args(&namespaces[1..]).arg("true").status();
    if may_be_renamed.is_ok_and(|status| status.success()) {
        let hosts = setup.directory().join("hosts");
        fs::write(&hosts, HOSTS).unwrap();
        setup.wrap(&namespaces);
        setup.wrap(&["sh", "-ec", AS_BOX, hosts.to_str().unwrap()]);
        names.extend(OF_THE_MACHINE);
    } else {
        eprintln!("skipped in part: the machine cannot be renamed here");
    }
    names
}
