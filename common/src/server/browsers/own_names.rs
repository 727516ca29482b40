//! The names of this machine: its host name, in the domains of its network, and what /etc/hosts says.
//!
//! The host name in any other domain is not ours: anybody who guesses it could register that name
//! and point it here.

use std::path::Path;

use crate::regular_file;

/// Files of names are not larger than this.
const MAX: u64 = 1024 * 1024;

/// Reads them, in lower case. Blocks on the disk.
pub(super) fn read() -> Vec<String> {
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let text = |path: &str| {
        let content = regular_file::read(Path::new(path), MAX).unwrap_or_default();
        String::from_utf8_lossy(&content).into_owned()
    };
    names(&node, &text("/etc/hosts"), &text("/etc/resolv.conf"))
}

/// `hosts` is as in hosts(5), `resolver` as in resolv.conf(5).
fn names(node: &str, hosts: &str, resolver: &str) -> Vec<String> {
    let node = node.to_ascii_lowercase();
    let short = node.split('.').next().unwrap_or_default().to_owned();
    let mut names = vec![node.clone()];
    for line in hosts.to_ascii_lowercase().lines() {
        let line = line.split('#').next().unwrap_or_default();
        let of_line: Vec<_> = line.split_ascii_whitespace().skip(1).map(str::to_owned).collect();
        if of_line.iter().any(|name| *name == node || *name == short) {
            names.extend(of_line);
        }
    }
    for line in resolver.to_ascii_lowercase().lines() {
        let mut words = line.split_ascii_whitespace();
        if matches!(words.next(), Some("search" | "domain")) {
            names.extend(words.map(|domain| format!("{short}.{}", domain.trim_matches('.'))));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_known_by_its_own_names_alone() {
        let hosts = "127.0.0.1 localhost\n127.0.1.1 gw.corp.example GW # gw.no.example\n\
                     192.0.2.7 other.example\n";
        let resolver = "nameserver 192.0.2.1\nsearch Plant.example. lan\n";
        let found = names("gw", hosts, resolver);
        assert_eq!(found, ["gw", "gw.corp.example", "gw", "gw.plant.example", "gw.lan"]);
        assert_eq!(names("gw.corp.example", "", ""), ["gw.corp.example"]);
        assert_eq!(names("localhost", "", ""), ["localhost"]);
    }
}
