//! Certificates, keys and lists that only root can read: what root hands over leads to the verdict
//! of the original, word for word; and `--check` says what the start says.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::PROGRAM;
use crate::support::certificates::{Authority, Key, Validity};
use crate::support::directory::Directory;
use crate::support::service::Service;

/// What is at the path of a setting.
enum Found {
    File(Vec<u8>),
    /// Beside a good file of its kind.
    Among(Vec<u8>),
}

/// A directory with a configuration, in which one setting leads to `found`.
struct Scene {
    directory: Directory,
    certificates: Directory,
}

impl Scene {
    fn new() -> Self {
        let certificates = Directory::new();
        let authority = Authority::new(certificates.path(), "ca");
        let pair = authority.server("server", Key::P256);
        let revoked = authority.client("revoked", Key::P256);
        let list = authority.revocation_list("list.pem", &[&revoked], Validity::Page);
        for (from, to) in [
            (&pair.cert, "http.cert_path"),
            (&pair.key, "http.key_path"),
            (&authority.cert, "http.ca_path"),
            (&list, "http.crl_path"),
        ] {
            fs::copy(from, certificates.path().join(to)).unwrap();
        }
        // Root follows a link only where nobody else can have put it: not below /tmp, where the
        // sources may be.
        let directory = Directory::within(Path::new("/run"));
        Self { directory, certificates }
    }

    fn good(&self, key: &str) -> Vec<u8> {
        fs::read(self.certificates.path().join(key)).unwrap()
    }

    /// Writes the configuration, and everything that it names, for root's eyes alone.
    fn write(&self, odd: &str, found: &Found) {
        let _ = fs::remove_dir_all(self.directory.path());
        fs::create_dir_all(self.directory.path().join("run")).unwrap();
        fs::create_dir(self.directory.path().join("data")).unwrap();
        let mut lines =
            [format!("data.path = {:?}\nhttp.bind.port = 0\n", self.path("data")), String::new()];
        for key in ["http.cert_path", "http.key_path", "http.ca_path", "http.crl_path"] {
            let path = self.path(key);
            match found {
                _ if key != odd => fs::write(&path, self.good(key)).unwrap(),
                Found::File(content) => fs::write(&path, content).unwrap(),
                Found::Among(content) => {
                    fs::create_dir(&path).unwrap();
                    fs::write(path.join("a good one.pem"), self.good(key)).unwrap();
                    fs::write(path.join("odd"), content).unwrap();
                }
            }
            lines[usize::from(key == "http.crl_path")] += &format!("{key} = {path:?}\n");
        }
        self.directory.write("tedge.toml", &lines[0]);
        self.directory.write("tedge-http.toml", &lines[1]);
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn close(&self) {
        for key in ["http.cert_path", "http.key_path", "http.ca_path", "http.crl_path"] {
            close(&self.path(key));
        }
    }

    /// Runs the program, with root's power to read everything or without; its exit code and what
    /// it said.
    fn run(&self, argument: &str, is_root: bool) -> (i32, Vec<String>) {
        let mut command = Command::new("setpriv");
        if !is_root {
            command.args(["--bounding-set", "-all", "--inh-caps", "-all"]);
            command.env("RUNTIME_DIRECTORY", self.path("run"));
        }
        command.args([PROGRAM, "--config-dir"]).arg(self.directory.path()).arg(argument);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let lines = said.lines().map(without_time).map(str::to_owned).collect();
        (output.status.code().unwrap(), lines)
    }

    fn stage(&self) {
        let mut command = Command::new(PROGRAM);
        // Several directories may be given, of which the first is meant.
        let both = format!("{}:/run/other", self.path("run").display());
        command.env("RUNTIME_DIRECTORY", both).arg("--config-dir").arg(self.directory.path());
        let output = command.arg("--stage").stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }

    /// The warnings or the error of a start.
    fn start(&self) -> Vec<String> {
        let log = match self.run("--check", true).0 {
            0 => {
                let service = Service::start(PROGRAM, |setup| {
                    setup.argument("--config-dir");
                    setup.argument(self.directory.path().to_str().unwrap());
                });
                service.stop().log
            }
            _ => self.run("--log-level=warn", true).1.join("\n"),
        };
        let lines = log.lines().map(without_time);
        lines
            .filter(|line| line.starts_with("WARN") || line.starts_with("ERROR"))
            .map(str::to_owned)
            .collect()
    }
}

fn close(path: &Path) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            close(&entry.unwrap().path());
        }
    }
    if !path.is_symlink() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    }
}

fn without_time(line: &str) -> &str {
    match line.split_once("Z ") {
        Some((time, rest)) if time.len() == "2026-01-31T23:59:59".len() => rest,
        _ => line,
    }
}

/// Everything that people have in place of a good file of this kind.
fn odd_files(good: &[u8], others: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let text = String::from_utf8(good.to_vec()).unwrap();
    let (begin, body) = text.split_once('\n').unwrap();
    let utf16 = text.encode_utf16().flat_map(u16::to_le_bytes);
    let mut odd: Vec<Vec<u8>> = [
        String::new(),
        "s3cret text\n".into(),
        text.trim_end().to_owned() + &text,
        format!("\u{feff}{text}\u{feff}{text}"),
        format!("\n\n # text\n{text}\n{text}bye\n"),
        text.replace('\n', "\n   "),
        text.replace("-----", "----"),
        text.replacen('\n', "\nComment: x\n\n", 1),
        format!("{text}{begin}\n{}", &body[..body.len() / 2]),
        format!("{text}{body}"),
        format!("{text}{}", text.replacen('\n', "\n!", 1)),
        format!("{text}{begin}\nczNjcmV0\n-----END{}", text.rsplit_once("-----END").unwrap().1),
        text.replace(begin, "-----BEGIN FOO-----"),
        format!("{text}-----BEGIN PKCS7-----\nczNjcmV0\n-----END PKCS7-----\n"),
        format!("{text}-----BEGIN s3cret\n"),
    ]
    .map(String::into_bytes)
    .into();
    odd.push([0xff, 0xfe].into_iter().chain(utf16).collect());
    odd.push([good, &[0x30, 0x82, 0, 0, 7]].concat());
    odd.push(vec![0x30, 3, 2, 1, 7]);
    odd.extend(others.iter().flat_map(|other| [other.clone(), [good, other].concat()]));
    odd
}

#[test]
fn the_verdict_on_what_root_hands_over_is_that_on_the_original() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: nobody but root can hand over");
        return;
    }
    let scene = Scene::new();
    let keys = ["http.cert_path", "http.key_path", "http.ca_path", "http.crl_path"];
    for key in keys {
        let others: Vec<_> = keys.iter().map(|other| scene.good(other)).collect();
        let mut all = vec![Found::File(scene.good(key))];
        for odd in odd_files(&scene.good(key), &others) {
            if matches!(key, "http.ca_path" | "http.crl_path") {
                all.push(Found::Among(odd.clone()));
            }
            all.push(Found::File(odd));
        }
        for found in all {
            scene.write(key, &found);
            let odd = match &found {
                Found::File(odd) | Found::Among(odd) => String::from_utf8_lossy(odd).into_owned(),
            };
            let original = scene.run("--check", true);
            let marked = |lines: &[String]| -> Vec<String> {
                lines
                    .iter()
                    .filter_map(|line| line.strip_prefix("warning: "))
                    .map(|line| format!("WARN  {line}"))
                    .collect()
            };
            let expected = if original.0 == 0 { marked(&original.1) } else { original.1.clone() };
            assert_eq!(scene.start(), expected, "{key} = {odd}");

            scene.close();
            let (code, said) = scene.run("--check", false);
            assert_eq!(code, 78, "it is readable: {said:?}");
            scene.stage();
            assert_eq!(scene.run("--check", false), original, "{key} = {odd}");
            for entry in fs::read_dir(scene.path("run")).unwrap() {
                let copy = fs::read(entry.unwrap().path()).unwrap();
                let copy = String::from_utf8_lossy(&copy).into_owned();
                assert!(!copy.contains("s3cret") || odd.contains("BEGIN s3cret"), "{copy}");
            }
        }
    }
}

#[test]
fn odd_entries_of_a_closed_directory_are_named_as_if_it_were_open() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: nobody but root can hand over");
        return;
    }
    let scene = Scene::new();
    for key in ["http.ca_path", "http.crl_path"] {
        for entry in ["dangling", "pipe", "directory", "link", "readme", "readmes"] {
            scene.write(key, &Found::Among(scene.good(key)));
            let odd = scene.path(key).join(entry);
            match entry {
                "dangling" => symlink("gone", odd).unwrap(),
                "link" => symlink("odd", odd).unwrap(),
                "directory" => fs::create_dir(odd).unwrap(),
                // More than are named in a warning: the rest is counted.
                "readmes" => {
                    (1..6).for_each(|n| fs::write(odd.with_extension(n.to_string()), "").unwrap())
                }
                "readme" => fs::write(odd, "CAs of ours\n").unwrap(),
                _ => assert!(Command::new("mkfifo").arg(odd).status().unwrap().success()),
            }
            let original = scene.run("--check", true);
            // Nothing but a list stops the start.
            let stops = key == "http.crl_path" && entry != "link";
            assert_eq!(original.0, if stops { 78 } else { 0 }, "{entry}: {:?}", original.1);
            scene.close();
            scene.stage();
            assert_eq!(scene.run("--check", false), original, "{key} {entry}");
        }
    }
}

#[test]
fn settings_that_never_end_take_neither_time_nor_memory() {
    let directory = Directory::new();
    let settings = directory.path().join("tedge.toml");
    fs::create_dir(directory.path().join("run")).unwrap();
    let limited = |argument: &str| {
        // Half of what such a file would take, and no time to wait for a writer.
        let mut command = Command::new("prlimit");
        command.args(["--as=200000000", "timeout", "10", PROGRAM, "--config-dir"]);
        command.arg(directory.path()).arg(argument);
        command.env("RUNTIME_DIRECTORY", directory.path().join("run"));
        command.stdin(Stdio::null()).output().unwrap()
    };
    for kind in ["pipe", "large"] {
        let _ = fs::remove_file(&settings);
        match kind {
            "pipe" => assert!(Command::new("mkfifo").arg(&settings).status().unwrap().success()),
            _ => fs::File::create(&settings).unwrap().set_len(400_000_000).unwrap(),
        }
        // What is wrong with them is the service's to say.
        assert_eq!(limited("--stage").status.code(), Some(0), "{kind}");
        let checked = limited("--check");
        assert_eq!(checked.status.code(), Some(78), "{kind}: {checked:?}");
        assert!(String::from_utf8_lossy(&checked.stderr).contains("tedge.toml"), "{checked:?}");
    }
}
