//! `tedge config` as root in a directory in which another user can write: links, pipes and devices
//! that he creates and swaps give him no access.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};

use crate::support::tedge::{Device, Done, run};

pub(super) const ATTACKER: u32 = 65534;
const FILES: [&str; 3] = ["tedge.toml", "tedge-http.toml", "mappers/c8y/mapper.toml"];

/// A device whose configuration directory is the attacker's, and a directory of root beside it.
/// `None` where the tests are not root's.
pub(super) fn attacked() -> Option<Device> {
    let device = Device::new();
    fs::create_dir(device.directory.join("root")).unwrap();
    fs::set_permissions(device.directory.join("root"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir_all(device.path("mappers/c8y")).unwrap();
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can be attacked like this");
        return None;
    }
    for directory in ["", "mappers", "mappers/c8y"] {
        chown(device.path(directory), Some(ATTACKER), Some(ATTACKER)).unwrap();
    }
    Some(device)
}

/// `tedge`, which has to end by itself.
#[track_caller]
pub(super) fn tedge(device: &Device, arguments: &[&str]) -> Done {
    let done = run(&mut bounded(device, arguments));
    assert_ne!(done.code, Some(124), "it waits: {arguments:?}");
    done
}

/// `tedge`, which is ended with code 124 after some time.
fn bounded(device: &Device, arguments: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.arg("20").arg(device.directory.join("tedge")).args(arguments);
    command.env("TEDGE_CONFIG_DIR", device.config_dir()).current_dir(&device.directory);
    command
}

/// A key that lives in this file, with a value.
fn setting(file: &str) -> [&'static str; 2] {
    match file {
        "tedge.toml" => ["data.path", "/d"],
        "tedge-http.toml" => ["http.upload.sync", "false"],
        _ => ["c8y.url", "example.com"],
    }
}

pub(super) fn link(target: impl AsRef<Path>, at: PathBuf) {
    symlink(target, &at).unwrap();
    lchown(at, Some(ATTACKER), Some(ATTACKER)).unwrap();
}

#[test]
fn a_dangling_link_creates_nothing_where_it_leads() {
    let Some(device) = attacked() else { return };
    let victim = device.directory.join("root/victim");
    for file in FILES {
        link(&victim, device.path(file));
        let [key, value] = setting(file);
        let done = tedge(&device, &["config", "set", key, value]);
        done.failed(78, &[file, "is a link that other users can change"]);
        assert!(victim.symlink_metadata().is_err(), "{file}: created");
        fs::remove_file(device.path(file)).unwrap();
    }
    // Whoever owns the directory owns the link, too: still nothing is created.
    let own = Device::new();
    symlink("nowhere", own.path("tedge.toml")).unwrap();
    tedge(&own, &["config", "set", "data.path", "/d"])
        .failed(1, &["it is a link to a file that does not exist"]);
    assert!(!own.path("nowhere").exists());
}

#[test]
fn a_link_on_the_way_leads_to_no_file_of_root() {
    let Some(device) = attacked() else { return };
    let root = device.directory.join("root");
    for file in ["victim.toml", "mapper.toml", "c8y/mapper.toml"] {
        fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
        fs::write(root.join(file), "secret = 1\n").unwrap();
    }
    fs::remove_dir_all(device.path("mappers")).unwrap();
    let plant = |at: &str, target: PathBuf, key: &str, value: &str| {
        fs::create_dir_all(device.path(at).parent().unwrap()).unwrap();
        link(target, device.path(at));
        for words in [&["config", "set", key, value][..], &["config", "get", key]] {
            let done = tedge(&device, words);
            done.failed(78, &[at, "is a link that other users can change"]);
            assert!(!done.err.contains("secret"), "{done:?}");
        }
        fs::remove_file(device.path(at)).unwrap();
    };
    plant("tedge.toml", root.join("victim.toml"), "data.path", "/d");
    plant("tedge.toml", "../root/victim.toml".into(), "data.path", "/d");
    plant("tedge-http.toml", root.join("victim.toml"), "http.upload.sync", "false");
    plant("mappers", root.clone(), "c8y.url", "example.com");
    plant("mappers/c8y", root.clone(), "c8y.url", "example.com");
    plant("mappers/c8y/mapper.toml", root.join("mapper.toml"), "c8y.url", "example.com");
    for file in ["victim.toml", "mapper.toml", "c8y/mapper.toml"] {
        assert_eq!(fs::read_to_string(root.join(file)).unwrap(), "secret = 1\n", "{file}");
    }
}

#[test]
fn a_pipe_a_device_and_an_endless_file_end_every_command_at_once() {
    let Some(device) = attacked() else { return };
    let huge = device.directory.join("huge");
    fs::File::create(&huge).unwrap().set_len(400 << 20).unwrap();
    let service = env!("CARGO_BIN_EXE_tedge-file-transfer");
    for file in FILES {
        let path = device.path(file);
        for (what, said) in
            [("pipe", "a named pipe"), ("device", "a device"), ("huge", "larger than")]
        {
            match what {
                "pipe" => mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap(),
                // What /dev/zero is.
                "device" => {
                    let zero = rustix::fs::makedev(1, 5);
                    mknodat(CWD, &path, FileType::CharacterDevice, Mode::RWXU, zero).unwrap();
                }
                _ => fs::rename(&huge, &path).unwrap(),
            }
            let [key, value] = setting(file);
            for words in
                [&["config", "set", key, value][..], &["config", "get", key], &["config", "list"]]
            {
                tedge(&device, words).failed(78, &[file, said]);
            }
            for words in [&["--check"][..], &[]] {
                let mut command = Command::new("timeout");
                command.args(["20", service]).args(words);
                command.env("TEDGE_CONFIG_DIR", device.config_dir());
                let done = run(&mut command);
                assert_eq!(done.code, Some(78), "{file} {what}: {done:?}");
                assert!(done.err.contains(said), "{done:?}");
            }
            if what == "huge" {
                fs::rename(&path, &huge).unwrap();
            } else {
                fs::remove_file(&path).unwrap();
            }
        }
    }
}

#[test]
fn a_file_that_is_swapped_while_root_writes_leads_root_nowhere() {
    let Some(device) = attacked() else { return };
    let device = device.with("tedge.toml", "# mine\n");
    chown(device.path("tedge.toml"), Some(ATTACKER), Some(ATTACKER)).unwrap();
    let victim = device.directory.join("root/victim.toml");
    fs::write(&victim, "secret = 1\n").unwrap();
    let created = device.directory.join("root/created");
    mknodat(CWD, device.path("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    link(&victim, device.path("link"));
    link(&created, device.path("dangling"));
    let is_over = AtomicBool::new(false);
    let mut codes = Vec::new();
    thread::scope(|scope| {
        let swap = scope.spawn(|| {
            let mut swaps = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                for name in ["link", "pipe", "dangling"] {
                    let (name, settings) = (device.path(name), device.path("tedge.toml"));
                    // The first swaps them, the second back, so that each keeps its name.
                    for _ in 0..2 {
                        let _ = renameat_with(CWD, &name, CWD, &settings, RenameFlags::EXCHANGE);
                        swaps += 1;
                    }
                }
            }
            swaps
        });
        for number in 0..60 {
            let port = (2000 + number).to_string();
            let line = ["config", "set", "http.bind.port", &port];
            codes.push(run(&mut bounded(&device, &line)).code);
            if codes.last() == Some(&Some(124)) {
                break;
            }
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(swap.join().unwrap() > 60, "nothing was swapped");
    });
    assert!(codes.iter().all(|code| [Some(0), Some(1), Some(78)].contains(code)), "{codes:?}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "secret = 1\n");
    assert!(created.symlink_metadata().is_err(), "a dangling link was followed");
    let names = fs::read_dir(device.directory.join("root")).unwrap().count();
    assert_eq!(names, 1, "root wrote elsewhere");
}

#[test]
fn a_link_and_a_directory_of_root_are_followed() {
    let Some(device) = attacked() else { return };
    chown(device.config_dir(), Some(0), Some(0)).unwrap();
    fs::write(device.directory.join("root/real.toml"), "# real\n").unwrap();
    symlink(device.directory.join("root/real.toml"), device.path("tedge.toml")).unwrap();
    let done = tedge(&device, &["config", "set", "data.path", "/d"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let real = fs::read_to_string(device.directory.join("root/real.toml")).unwrap();
    assert_eq!(real, "# real\n\n[data]\npath = \"/d\"\n");
    assert!(device.path("tedge.toml").symlink_metadata().unwrap().is_symlink());
    // A link that somebody else has put there is not.
    lchown(device.path("tedge.toml"), Some(ATTACKER), Some(ATTACKER)).unwrap();
    tedge(&device, &["config", "get", "data.path"]).failed(78, &["is not followed"]);
}

#[test]
fn a_file_with_a_secret_is_for_its_owner_and_the_services_alone() {
    let Some(device) = attacked() else { return };
    let mode = |device: &Device| fs::metadata(device.path("tedge.toml")).unwrap().mode() & 0o777;
    let device = device.with("tedge.toml", "# x\n");
    assert_eq!(mode(&device), 0o644);
    tedge(&device, &["config", "set", "proxy.username", "device"]);
    assert_eq!(mode(&device), 0o644);
    let set = ["config", "set", "proxy.password", "sesame"];
    // Where there is a group of the services, they may read it.
    let group = device.directory.join("group");
    fs::write(&group, "root:x:0:\ntedge2:x:1:\ntedge:x:4711:\n").unwrap();
    let in_group = |mount: &str| {
        let script = format!("mount --bind {mount} /etc/group && exec ./tedge {}", set.join(" "));
        let mut shell = Command::new("unshare");
        shell.args(["-m", "sh", "-c", &script]).current_dir(&device.directory);
        run(shell.env("TEDGE_CONFIG_DIR", device.config_dir()))
    };
    let done = in_group(group.to_str().unwrap());
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(mode(&device), 0o640);
    assert_eq!(fs::metadata(device.path("tedge.toml")).unwrap().gid(), 4711);
    // Where there is none, nobody else may; and what is stricter stays so.
    fs::remove_file(device.path("tedge.toml")).unwrap();
    assert_eq!(in_group("/dev/null").code, Some(0));
    assert_eq!(mode(&device), 0o600);
    in_group(group.to_str().unwrap());
    assert_eq!(mode(&device), 0o600);

    let list = tedge(&device, &["config", "list", "proxy.pass"]);
    assert_eq!(list.out, "proxy.password=…\n", "{list:?}");
    assert_eq!(tedge(&device, &["config", "get", "proxy.password"]).out, "sesame\n");
}

#[test]
fn a_password_in_the_address_of_the_proxy_is_hidden_like_one_of_its_own() {
    let Some(device) = attacked() else { return };
    let device = device.with("tedge.toml", "# x\n");
    let mode = || fs::metadata(device.path("tedge.toml")).unwrap().mode() & 0o777;
    let set = |value: &str| tedge(&device, &["config", "set", "proxy.address", value]);
    assert_eq!(set("http://device@proxy:3128").code, Some(0));
    assert_eq!(mode(), 0o644, "a user name is no secret");
    assert_eq!(set("http://device:ses@me@proxy:3128").code, Some(0));
    assert_eq!(mode() & !0o040, 0o600);
    let list = tedge(&device, &["config", "list", "proxy.addr"]);
    assert_eq!(list.out, "proxy.address=http://device:…@proxy:3128\n", "{list:?}");
    // What cannot be used is shown in messages.
    let not_set = set("http://device:ses@me@proxy:port");
    not_set.failed(1, &["proxy.address cannot be 'http://device:…@proxy:port'"]);
    for value in
        ["\"http://device:ses@me@/\"", "[\"device:ses@me@proxy:3128\"]", "{ a = \"x:ses@me@y\" }"]
    {
        fs::write(device.path("tedge.toml"), format!("proxy.address = {value}\n")).unwrap();
        for line in
            [&["get", "proxy.address"][..], &["list"], &["set", "proxy.address", "http://p:1"]]
        {
            let done = tedge(&device, &[&["config"], line].concat());
            assert!(!(done.out + &done.err).contains("ses@me"), "{value} {line:?}");
        }
    }
    let mut tedge = Command::new(device.directory.join("tedge"));
    tedge.env("TEDGE_CONFIG_DIR", device.config_dir());
    tedge.env("TEDGE_PROXY_ADDRESS", "http://device:ses@me@proxy:3128");
    let done = run(tedge.args(["config", "set", "proxy.address", "http://p:1"]));
    assert!(done.err.contains("overrides this") && !done.err.contains("ses@me"), "{done:?}");
}

/// Another user, who holds a lock on this file until the value is dropped.
struct Holder(Child);

impl Holder {
    fn of(path: &Path) -> Self {
        let mut holder = Command::new("setpriv");
        holder.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "flock"]);
        holder.arg(path).args(["sh", "-c", "echo locked; read line"]);
        let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "locked\n");
        Self(holder)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

#[test]
fn whoever_holds_the_lock_is_named_and_not_waited_for_for_ever() {
    let Some(device) = attacked() else { return };
    let holder = Holder::of(&device.path(".tedge.lock"));
    let done = tedge(&device, &["config", "set", "data.path", "/d"]);
    drop(holder);
    done.failed(1, &["cannot lock", "(flock)", "for 10 seconds"]);
    tedge(&device, &["config", "set", "data.path", "/d"]);
    assert_eq!(device.text("tedge.toml"), "[data]\npath = \"/d\"\n");
    assert!(!device.path(".tedge.lock").exists());
}

#[test]
fn a_user_who_may_only_read_the_settings_cannot_hold_them() {
    let Some(device) = attacked() else { return };
    let device = device.with("tedge.toml", "# x\n");
    chown(device.config_dir(), Some(0), Some(0)).unwrap();
    let _holders = [device.config_dir(), device.path("tedge.toml")].map(|path| Holder::of(&path));
    let begun = Instant::now();
    assert_eq!(tedge(&device, &["config", "set", "http.bind.port", "1"]).code, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
}

#[test]
fn a_file_that_is_mounted_is_written_in_place() {
    let Some(device) = attacked() else { return };
    let device = device.with("tedge.toml", "");
    let mounted = device.directory.join("root/mounted.toml");
    fs::write(&mounted, "# a longer text than what will be there\nhttp.bind.port = 1\n").unwrap();
    fs::set_permissions(&mounted, fs::Permissions::from_mode(0o640)).unwrap();
    let inode = fs::metadata(&mounted).unwrap().ino();
    let script = "mount --bind root/mounted.toml etc/tedge.toml && \
                  ./tedge config set http.bind.port 8080 && ./tedge config get http.bind.port";
    let mut shell = Command::new("unshare");
    shell.args(["-m", "sh", "-c", script]).current_dir(&device.directory);
    let done = run(shell.env("TEDGE_CONFIG_DIR", device.config_dir()));
    assert_eq!((done.code, done.out.as_str()), (Some(0), "8080\n"), "{done:?}");
    let text = fs::read_to_string(&mounted).unwrap();
    assert_eq!(text, "# a longer text than what will be there\nhttp.bind.port = 8080\n");
    let metadata = fs::metadata(&mounted).unwrap();
    assert_eq!((metadata.ino(), metadata.mode() & 0o777), (inode, 0o640));
    assert!(!device.path(".tedge.toml.new").exists());
}

#[test]
fn a_directory_is_neither_used_nor_made_through_a_link_of_another_user() {
    let Some(device) = attacked() else { return };
    let (root, way) = (device.directory.join("root"), device.path("way"));
    fs::write(root.join("tedge.toml"), "http.bind.port = 1\n").unwrap();
    link(&root, way.clone());
    let said = "way is a link that other users can change";
    let way = way.to_str().unwrap();
    for words in [&["config", "get", "http.bind.port"][..], &["config", "set", "data.path", "/d"]] {
        let done = tedge(&device, &[words, &["--config-dir", way]].concat());
        assert!(done.code != Some(0) && done.err.contains(said), "{done:?}");
    }
    tedge(&device, &["certs", "ca", "--dir", &format!("{way}/new/certs")]).failed(1, &[said]);
    assert_eq!(fs::read_to_string(root.join("tedge.toml")).unwrap(), "http.bind.port = 1\n");
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1, "a directory was made");
}
