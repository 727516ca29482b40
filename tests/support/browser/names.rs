//! Names by which a service is known, and names that are somebody else's.

use std::process::Command;

use super::super::service::Setup;
use super::pages::Pages;

/// Ours wherever a service runs, beside IP addresses and `localhost`.
pub(crate) const OURS: &[&str] =
    &["gateway", "gateway.local", "gateway.lan", "gateway.home.arpa", "gateway.internal"];

/// Ours by the settings of [`known_as`].
pub(crate) const CONFIGURED: &[&str] = &["client.example", "allowed.example", "deep.wild.example"];

/// Ours by the name that [`known_as`] gives the machine.
const OF_THE_MACHINE: &[&str] = &["box", "box.factory.example", "box.anywhere.example"];

/// Renames the machine, then runs the program.
const AS_BOX: &str = "hostname box.factory.example; exec \"$@\"";

/// Has a service listen on every address, be known by all of these names, and answer pages of
/// `panel.example`. `prefix` is what its settings begin with. Returns the names.
pub(crate) fn known_as(setup: &mut Setup, prefix: &str, pages: &Pages) -> Vec<&'static str> {
    setup.set(&format!("{prefix}.bind.address"), "::");
    setup.set(&format!("{prefix}.client.host"), "client.example");
    setup.set_own_path(&format!("{prefix}.allowed_hosts"), "allowed.example,*.wild.example");
    let panel = format!("http://panel.example:{}", pages.address().port());
    setup.set_own_path(&format!("{prefix}.allowed_origins"), panel);

    let mut names = vec!["127.0.0.1", "[::1]", "localhost", "sub.localhost"];
    names.extend(OURS.iter().chain(CONFIGURED));
    let may_be_renamed = Command::new("unshare").args(["--uts", "hostname", "box"]).status();
    if may_be_renamed.is_ok_and(|status| status.success()) {
        setup.wrap(&["unshare", "--uts", "sh", "-ec", AS_BOX, "sh"]);
        names.extend(OF_THE_MACHINE);
    } else {
        eprintln!("skipped in part: the machine cannot be renamed here");
    }
    names
}
