//! `tedge http get --output` as root in a directory in which another user writes: links, pipes,
//! files and partial downloads that he creates give him no access.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};

use super::http_output::{Answer, answer, head};
use crate::support::certificates::{Authority, Key};
use crate::support::tedge::{Device, Done, run};

const ATTACKER: u32 = 65534;
const URI: &str = "/te/v1/files/big";
const CONTENT: &str = "0123456789";

/// A device with a directory of root's, `root`, and one in which the attacker writes, `dl`, in each
/// way in which that can be. Nothing where the tests are not root's.
fn attacked(what: impl Fn(&Device, &Path, &str)) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can be attacked like this");
        return;
    }
    for (owner, group, mode) in
        [(ATTACKER, ATTACKER, 0o755), (0, ATTACKER, 0o775), (0, 0, 0o777), (0, 0, 0o1777)]
    {
        let device = Device::new();
        let (root, shared) = (device.directory.join("root"), device.directory.join("dl"));
        for directory in [&root, &shared] {
            fs::create_dir(directory).unwrap();
        }
        fs::write(root.join("existing"), "of root").unwrap();
        chown(&shared, Some(owner), Some(group)).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(mode)).unwrap();
        what(&device, &shared, &format!("{owner}:{group} {mode:o}"));
    }
}

/// The attacker's.
fn link(target: impl AsRef<Path>, at: PathBuf) {
    symlink(target, &at).unwrap();
    lchown(at, Some(ATTACKER), Some(ATTACKER)).unwrap();
}

#[test]
fn root_uses_no_key_that_the_settings_name_and_their_owner_cannot_read() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can be attacked like this");
        return;
    }
    let device = Device::new();
    let private = device.directory.join("private");
    fs::create_dir(&private).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
    let authority = Authority::new(&device.config_dir(), "ca");
    let own = authority.client("own", Key::P256);
    fs::rename(&own.key, private.join("own.key")).unwrap();
    fs::copy(private.join("own.key"), &own.key).unwrap();
    for path in [&own.cert, &own.key, &device.config_dir()] {
        chown(path, Some(ATTACKER), None).unwrap();
    }
    let get = |key: &Path| {
        let (cert, key) = (own.cert.display(), key.display());
        let auth = format!("cert_file = \"{cert}\"\nkey_file = \"{key}\"\n");
        let toml = format!("http.cert_path = \"{cert}\"\n[http.client.auth]\n{auth}");
        fs::write(device.path("tedge.toml"), toml).unwrap();
        tedge(&device, "1", &["http", "get", URI])
    };
    get(&private.join("own.key")).failed(78, &["is not copied for the service by root"]);
    get(&own.key).failed(1, &["cannot connect"]);
}

/// `tedge`, which is ended with code 124 after some time.
fn bounded(device: &Device, port: &str, words: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.arg("20").arg(device.directory.join("tedge")).args(words);
    command.env("TEDGE_CONFIG_DIR", device.config_dir()).env("TEDGE_HTTP_CLIENT_PORT", port);
    command.current_dir(&device.directory);
    command
}

/// `tedge`, which has to end by itself.
fn tedge(device: &Device, port: &str, words: &[&str]) -> Done {
    let done = run(&mut bounded(device, port, words));
    assert_ne!(done.code, Some(124), "it waits: {words:?}");
    done
}

/// Downloads, from a service that is there only where it is to be asked.
fn get(device: &Device, answers: Option<Answer>, output: &Path) -> Done {
    let served = answers.map(|served| answer(vec![served]));
    let port = served.as_ref().map_or("1", |(port, _)| port.as_str());
    let done = tedge(device, port, &["http", "get", URI, "--output", output.to_str().unwrap()]);
    if let Some((_, server)) = served {
        server.join().unwrap();
    }
    done
}

/// The whole content, where no rest is asked for.
fn whole() -> Option<Answer> {
    Some(Box::new(move |stream, head| {
        assert!(!head.contains("\r\nrange: "), "{head}");
        let head = "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 10\r\n\r\n";
        stream.write_all([head, CONTENT].concat().as_bytes()).unwrap();
    }))
}

#[test]
fn a_link_of_another_user_is_not_written_through() {
    attacked(|device, shared, what| {
        let root = device.directory.join("root");
        let plants =
            [("existing", root.join("existing")), ("created", root.join("created")), ("", root)];
        for (name, target) in &plants {
            link(target, shared.join("a"));
            link("a", shared.join("b"));
            let ends = if name.is_empty() { ["a/x", "b/x"] } else { ["a", "b"] };
            for end in ends {
                for path in [shared.join(end), Path::new("dl").join(end)] {
                    let done = get(device, None, &path);
                    let at = shared.join(&end[..1]);
                    let at = if path.is_absolute() { at } else { Path::new("dl").join(&end[..1]) };
                    let said = format!("{} is a link that other users can change", at.display());
                    done.failed(1, &[&said, "is not followed: use the path that it leads to"]);
                }
            }
            for name in ["a", "b"] {
                fs::remove_file(shared.join(name)).unwrap();
            }
        }
        let root = device.directory.join("root");
        assert_eq!(fs::read_to_string(root.join("existing")).unwrap(), "of root", "{what}");
        assert_eq!(fs::read_dir(root).unwrap().count(), 1, "{what}: something was created");
    });
}

#[test]
fn a_link_of_root_where_only_root_writes_is_followed() {
    attacked(|device, shared, what| {
        symlink(shared, device.directory.join("way")).unwrap();
        symlink("way/new", device.directory.join("final")).unwrap();
        fs::write(shared.join("new"), "").unwrap();
        get(device, whole(), &device.directory.join("final")).silent_success();
        assert_eq!(fs::read_to_string(shared.join("new")).unwrap(), CONTENT, "{what}");
        get(device, whole(), &device.directory.join("way/fresh")).silent_success();
        assert_eq!(fs::read_to_string(shared.join("fresh")).unwrap(), CONTENT, "{what}");
        // Not where somebody else can put another one in its place.
        let is_sticky = fs::metadata(shared).unwrap().mode() & 0o1000 != 0;
        symlink("new", shared.join("link")).unwrap();
        if is_sticky {
            get(device, whole(), &shared.join("link")).silent_success();
        } else {
            get(device, None, &shared.join("link")).failed(1, &["is not followed"]);
        }
    });
}

#[test]
fn a_pipe_or_a_socket_of_another_user_is_refused_at_once() {
    attacked(|device, shared, _| {
        let at = shared.join("a");
        for (kind, what) in [(FileType::Fifo, "a named pipe"), (FileType::Socket, "a socket")] {
            mknodat(CWD, &at, kind, Mode::from_raw_mode(0o666), 0).unwrap();
            chown(&at, Some(ATTACKER), Some(ATTACKER)).unwrap();
            get(device, None, &at).failed(1, &[&format!("it is {what} of another user")]);
            fs::remove_file(&at).unwrap();
        }
    });
}

#[test]
fn a_file_of_another_user_is_replaced_by_one_of_ones_own() {
    attacked(|device, shared, what| {
        let at = shared.join("a");
        fs::write(&at, "of the attacker").unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(0o666)).unwrap();
        chown(&at, Some(ATTACKER), Some(ATTACKER)).unwrap();
        let mut held = fs::File::options().read(true).open(&at).unwrap();
        get(device, whole(), &at).silent_success();
        assert_eq!(fs::read_to_string(&at).unwrap(), CONTENT);
        let metadata = fs::metadata(&at).unwrap();
        let is = (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777);
        assert_eq!(is, (0, 0, 0o644), "{what}");
        let mut seen = String::new();
        std::io::Read::read_to_string(&mut held, &mut seen).unwrap();
        assert_eq!(seen, "of the attacker", "{what}: written into");
    });
}

#[test]
fn a_file_of_root_that_is_renamed_to_a_part_is_not_resumed() {
    attacked(|device, shared, what| {
        let part = shared.join(".a.c387cbee182520e9d2bcbf43a7c32e6b.22763122.part");
        for mode in [0o600, 0o644, 0o640, 0o400, 0o700, 0o4600] {
            fs::write(&part, "evil").unwrap();
            fs::set_permissions(&part, fs::Permissions::from_mode(mode)).unwrap();
            get(device, whole(), &shared.join("a")).silent_success();
            let text = fs::read_to_string(shared.join("a")).unwrap();
            assert_eq!(text, CONTENT, "{what}, {mode:o}");
        }
    });
}

/// The names of the parts in a directory.
fn parts(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|end| end == "part")).collect()
}

#[test]
fn a_part_is_resumed_only_where_nobody_else_can_rename_one_of_another_version_to_it() {
    attacked(|device, shared, what| {
        let broken: Answer = Box::new(|stream, _| {
            let head = "HTTP/1.1 200 OK\r\nETag: \"v2\"\r\nContent-Length: 10\r\n\r\n";
            stream.write_all([head, "evil"].concat().as_bytes()).unwrap();
        });
        let at = shared.join("a");
        let done = get(device, Some(broken), &at);
        if fs::metadata(shared).unwrap().mode() & 0o1000 != 0 {
            done.failed(1, &["run the same command again to resume"]);
            assert_eq!(parts(shared).len(), 1, "{what}");
            return;
        }
        for part in parts(shared) {
            let name = part.to_str().unwrap().replace("22763222", "22763122");
            fs::rename(part, name).unwrap();
        }
        get(device, whole(), &at).silent_success();
        assert_eq!(fs::read_to_string(&at).unwrap(), CONTENT, "{what}");
        assert!(parts(shared).is_empty(), "{what}");
    });
}

#[test]
fn what_is_swapped_while_root_downloads_leads_root_nowhere() {
    attacked(|device, shared, what| {
        let root = device.directory.join("root");
        let [at, new, way, other] = ["a", "new", "way", "other"].map(|name| shared.join(name));
        fs::create_dir(&way).unwrap();
        chown(&way, Some(ATTACKER), Some(ATTACKER)).unwrap();
        link(&root, other.clone());
        let is_over = &AtomicBool::new(false);
        let plant = |number: u64| match number % 4 {
            0 => link(root.join("existing"), new.clone()),
            1 => link(root.join("created"), new.clone()),
            2 => {
                mknodat(CWD, &new, FileType::Fifo, Mode::RWXU, 0).unwrap();
                chown(&new, Some(ATTACKER), Some(ATTACKER)).unwrap();
            }
            _ => {
                fs::write(&new, "").unwrap();
                chown(&new, Some(ATTACKER), Some(ATTACKER)).unwrap();
            }
        };
        thread::scope(|scope| {
            let swap = scope.spawn(|| {
                let mut swaps = 0;
                while !is_over.load(Ordering::Relaxed) {
                    plant(swaps);
                    fs::rename(&new, &at).unwrap();
                    renameat_with(CWD, &way, CWD, &other, RenameFlags::EXCHANGE).unwrap();
                    swaps += 1;
                }
                swaps
            });
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            scope.spawn(move || {
                while let Ok((mut stream, _)) = listener.accept() {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    head(&mut stream);
                    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
                    stream.write_all([head, CONTENT].concat().as_bytes()).unwrap();
                }
            });
            let port = address.port().to_string();
            let mut codes = Vec::new();
            for path in ["dl/a", "dl/way/x"].repeat(15) {
                let words = ["http", "get", URI, "--output", path];
                codes.push(run(&mut bounded(device, &port, &words)).code);
                if codes.last() == Some(&Some(124)) {
                    break;
                }
            }
            is_over.store(true, Ordering::Relaxed);
            TcpStream::connect(address).unwrap();
            assert!(swap.join().unwrap() > 30, "{what}: nothing was swapped");
            assert!(codes.iter().all(|code| [Some(0), Some(1)].contains(code)), "{codes:?}");
        });
        assert_eq!(fs::read_to_string(root.join("existing")).unwrap(), "of root", "{what}");
        assert_eq!(fs::read_dir(root).unwrap().count(), 1, "{what}: something was created");
    });
}

#[test]
fn what_another_user_has_planted_is_not_sent() {
    attacked(|device, shared, _| {
        let at = shared.join("a");
        let words = ["http", "put", URI, "--file", at.to_str().unwrap()];
        link(device.directory.join("root/existing"), at.clone());
        tedge(device, "1", &words).failed(1, &["a is a link that other users can change"]);
        fs::remove_file(&at).unwrap();
        mknodat(CWD, &at, FileType::Fifo, Mode::RWXU, 0).unwrap();
        chown(&at, Some(ATTACKER), Some(ATTACKER)).unwrap();
        tedge(device, "1", &words).failed(1, &["it is a named pipe of another user"]);
    });
}
