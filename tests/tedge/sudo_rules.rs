//! What the packages report of sudo at installation: each rule that makes `tedge` a way to root.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::support::directory::Directory;
use crate::support::tedge::run;

const POSTINST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/debian/postinst");

/// What is reported where these are the files below `/etc`.
fn reported(files: &[(&str, &str)]) -> String {
    let directory = Directory::new();
    let root = directory.path();
    for (path, text) in files {
        let path = root.join("etc").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let bin = root.join("usr/bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("tedge-file-transfer"), "").unwrap();
    symlink("tedge-file-transfer", bin.join("tedge")).unwrap();
    // The user of the services has this number here.
    let id = "case $1 in -u | -G) echo 997 ;; *) echo tedge ;; esac\n";
    fs::write(root.join("id"), format!("#!/bin/sh\n{id}")).unwrap();
    // A process of its own writes what is executed, as in `copy_for_everybody`.
    let mut install = Command::new("install");
    run(install.args(["-m", "755"]).args([root.join("id"), bin.join("id")])).silent_success();
    report(root)
}

fn report(root: &Path) -> String {
    let postinst = fs::read_to_string(POSTINST).unwrap();
    let functions = postinst.split("\nprepare\n").next().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{functions}\nreport_sudo_rules")]).env("DPKG_ROOT", root);
    shell.env("DPKG_MAINTSCRIPT_PACKAGE", "tedge-file-transfer");
    let path = format!("{}:{}", root.join("usr/bin").display(), std::env::var("PATH").unwrap());
    let done = run(shell.env("PATH", path));
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{done:?}");
    done.out.replace(root.to_str().unwrap(), "")
}

/// The line of /etc/sudoers that is reported.
fn line(sudoers: &str) -> Option<u32> {
    let said = reported(&[("sudoers", sudoers)]);
    let mut warnings =
        said.lines().filter_map(|line| line.split_once("WARNING: /etc/sudoers, line "));
    let (_, line) = warnings.next()?;
    assert!(warnings.next().is_none(), "{said}");
    assert!(said.lines().last().unwrap().starts_with("    "), "no line to type: {said}");
    Some(line.split_once(',').unwrap().0.parse().unwrap())
}

#[test]
fn a_rule_is_found_however_it_is_written() {
    for rule in [
        "tedge ALL = (ALL) NOPASSWD: /usr/bin/tedge, /bin/sync, /usr/bin/tedge-write /etc/*",
        "#997 ALL = /usr/bin/tedge",
        "%#997 ALL = NOPASSWD:/usr/bin/tedge",
        "ALL ALL = /usr/bin/tedge",
        "bob, alice ALL, web = /usr/bin/tedge config *",
        "%staff ALL = (root) SETENV: /usr/bin/te*",
        "bob ALL = /usr/*/tedge",
        "bob ALL = /usr/bin/",
        "bob ALL = /usr/bin/[s-u]edg?",
        "bob ALL = ^/usr/bin/tedge.*$",
        "bob ALL = /bin/tedge",
        "bob ALL = /usr/bin/tedge-file-*",
        "bob web = /bin/sync : ALL = (ALL : ALL) /usr/bin/tedge",
        "bob ALL = (www, root) CWD=/tmp sha256:abc /usr/bin/tedge",
        "bob ALL = !/usr/bin/tedge, /usr/bin/tedge",
        // Everything, for the user of the services.
        "tedge ALL = (ALL:ALL) NOPASSWD: ALL",
        "#997 ALL=(ALL) ALL",
        "%tedge ALL = ALL",
        "ALL ALL = ALL",
    ] {
        assert_eq!(line(&format!("# a comment\n\n{rule}\n")), Some(3), "{rule}");
    }
    let continued = "Defaults env_reset\nbob ALL = /bin/sync, \\\n    /usr/bin/tedge\n";
    assert_eq!(line(continued), Some(2));
    let aliases =
        "Cmnd_Alias A = /bin/sync, B : B = /usr/bin/tedge\nUser_Alias W = bob\nW ALL = A\n";
    assert_eq!(line(aliases), Some(3));
    assert_eq!(line("User_Alias W = bob, #997\nW ALL = ALL\n"), Some(2));
}

#[test]
fn a_rule_that_gives_no_way_to_root_is_not_reported() {
    for rule in [
        "root ALL=(ALL:ALL) ALL",
        "root ALL = /usr/bin/tedge",
        // Administrators are root in any case.
        "%sudo ALL=(ALL:ALL) ALL",
        "pi ALL=(ALL) NOPASSWD: ALL",
        "# tedge ALL = /usr/bin/tedge",
        "%tedge ALL = /usr/bin/tedge-write",
        "%tedge ALL = !/usr/bin/tedge",
        "bob ALL = ALL, !/usr/bin/tedge",
        "bob ALL = /usr/bin/*, !/usr/bin/tedge*",
        "bob ALL = (tedge) /usr/bin/tedge",
        "bob ALL = /usr/*",
        "bob ALL = /usr/local/bin/tedge",
        "bob ALL = /bin/sync # not /usr/bin/tedge",
        "Defaults!/usr/bin/tedge !requiretty, timestamp_timeout=0",
    ] {
        assert_eq!(reported(&[("sudoers", rule)]), "", "{rule}");
    }
}

#[test]
fn every_file_that_sudo_reads_is_looked_at_and_no_other() {
    let rule = "bob ALL = /usr/bin/tedge\n";
    let said = reported(&[
        (
            "sudoers",
            "@includedir /etc/more\n@includedir /etc/sudoers.d/\n#include \"other\"\n@include /etc/sudoers\n",
        ),
        ("sudoers.d/a", rule),
        ("more/b", rule),
        ("other", rule),
        ("more/c.dpkg-old", rule),
        ("more/d~", rule),
        ("unread/e", rule),
    ]);
    let mut files: Vec<_> = said
        .lines()
        .filter_map(|line| Some(line.split_once("WARNING: ")?.1.split_once(',')?.0))
        .collect();
    files.sort_unstable();
    assert_eq!(files, ["/etc/more/b", "/etc/other", "/etc/sudoers.d/a"], "{said}");
}

#[test]
fn the_command_that_is_printed_removes_the_rule_where_it_can() {
    let first = reported(&[("sudoers.d/tedge", "tedge ALL = /usr/bin/tedge, /bin/sync\n")]);
    let command = "\n    sed -i '1s|/usr/bin/tedge, *||' /etc/sudoers.d/tedge\n";
    assert!(first.ends_with(command), "{first}");
    let last = reported(&[("sudoers.d/tedge", "tedge ALL = /bin/sync, /usr/bin/tedge\n")]);
    assert!(last.contains("visudo -f /etc/sudoers.d/tedge    and delete /usr/bin/tedge in line 1"));
    let wild = reported(&[("sudoers", "tedge ALL = /usr/bin/t*\n")]);
    assert!(
        wild.contains(
            "visudo -f /etc/sudoers    and add !/usr/bin/tedge to the commands in line 1"
        )
    );
}
