//! `tedge certs` as root in a directory that somebody else may write, and with files of others.

use std::fs;
use std::os::unix::fs::chown;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::config_attacked::{ATTACKER, attacked, link, tedge};

#[test]
fn certificates_are_written_and_read_where_nobody_else_leads() {
    let Some(device) = attacked() else { return };
    let (root, certs) = (device.directory.join("root"), device.path("device-local-certs"));
    link(&root, certs.clone());
    let done = tedge(&device, &["certs", "ca"]);
    done.failed(1, &["device-local-certs is a link that other users can change"]);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "written elsewhere");
    fs::remove_file(&certs).unwrap();

    fs::create_dir(&certs).unwrap();
    chown(&certs, Some(ATTACKER), Some(ATTACKER)).unwrap();
    let [key, new] = ["tedge-local-ca.key", "tedge-local-ca.key.new"].map(|name| certs.join(name));
    link(root.join("created"), key.clone());
    link(root.join("created"), new);
    tedge(&device, &["certs", "ca"]).failed(1, &["already exists"]);
    assert_eq!(tedge(&device, &["certs", "ca", "--force"]).code, Some(0));
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "written through a link");
    assert!(key.symlink_metadata().unwrap().is_file());

    fs::remove_file(&key).unwrap();
    mknodat(CWD, &key, FileType::Fifo, Mode::RWXU, 0).unwrap();
    tedge(&device, &["certs", "server", "a"]).failed(1, &["a named pipe"]);
}

#[test]
fn a_request_of_another_users_pipe_or_link_is_refused_at_once() {
    let Some(device) = attacked() else { return };
    chown(device.config_dir(), Some(0), Some(0)).unwrap();
    assert_eq!(tedge(&device, &["certs", "ca"]).code, Some(0));
    let planted = device.directory.join("planted");
    fs::create_dir(&planted).unwrap();
    chown(&planted, Some(ATTACKER), Some(ATTACKER)).unwrap();
    let csr = planted.join("a.csr");
    let sign = ["certs", "client", "a", "--csr", csr.to_str().unwrap()];
    mknodat(CWD, &csr, FileType::Fifo, Mode::RWXU, 0).unwrap();
    chown(&csr, Some(ATTACKER), Some(ATTACKER)).unwrap();
    tedge(&device, &sign).failed(1, &["it is a named pipe of another user"]);
    tedge(&device, &["certs", "show", sign[4]]).failed(1, &["it is a named pipe of another user"]);
    fs::remove_file(&csr).unwrap();
    link(device.path("device-local-certs/tedge-local-ca.key"), csr.clone());
    tedge(&device, &sign).failed(1, &["a.csr is a link that other users can change"]);
    for endless in ["/dev/zero", "/dev/full"] {
        let sign = ["certs", "client", "a", "--csr", endless];
        tedge(&device, &sign).failed(1, &[endless, "it is a device, not a file"]);
    }
}
