//! A configuration in which one setting leads to a file as people have it in place of a good one, and
//! what a program says of it: when it is checked, and when it starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::certificates::{Authority, Key, Validity};
use super::directory::Directory;
use super::service::Service;

/// What is at the path of a setting.
pub(crate) enum Found {
    File(Vec<u8>),
    /// Beside a good file of its kind.
    Among(Vec<u8>),
}

/// What a setting means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Means {
    Certificate,
    /// Of the certificate in the setting before it.
    Key,
    Authorities,
    Lists,
    /// Access rules.
    Rules,
}

impl Means {
    pub(crate) fn may_be_directory(self) -> bool {
        matches!(self, Self::Authorities | Self::Lists)
    }
}

/// A directory with a configuration, in which one setting leads to what was found.
pub(crate) struct Scene {
    program: &'static str,
    /// The other settings of the program.
    settings: [String; 2],
    named: &'static [(&'static str, Means)],
    pub(crate) directory: Directory,
    certificates: Directory,
}

impl Scene {
    /// The settings are lines of `tedge.toml` and `tedge-http.toml`.
    pub(crate) fn new(
        program: &'static str,
        settings: [&str; 2],
        named: &'static [(&'static str, Means)],
    ) -> Self {
        let certificates = Directory::new();
        let authority = Authority::new(certificates.path(), "ca");
        let pair = authority.server("server", Key::P256);
        let revoked = authority.client("revoked", Key::P256);
        let list = authority.revocation_list("list.pem", &[&revoked], Validity::Page);
        for (from, to) in [
            (&pair.cert, "certificate"),
            (&pair.key, "key"),
            (&authority.cert, "authorities"),
            (&list, "lists"),
            (&revoked.key, "another.key"),
        ] {
            fs::copy(from, certificates.path().join(to)).unwrap();
        }
        fs::write(certificates.path().join("rules"), RULES).unwrap();
        for (name, options) in [
            ("p521.key", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521"),
            ("bare.key", "ec -in another.key -no_public"),
        ] {
            let mut command = Command::new("openssl");
            command.args(options.split(' ')).args(["-out", name]);
            let made = command.current_dir(certificates.path()).output().unwrap();
            assert!(made.status.success(), "{made:?}");
        }
        // Root follows a link only where nobody else can have put it: not below /tmp, where the
        // sources may be.
        let directory = match rustix::process::geteuid().is_root() {
            true => Directory::within(Path::new("/run")),
            false => Directory::new(),
        };
        let settings = settings.map(str::to_owned);
        Self { program, settings, named, directory, certificates }
    }

    pub(crate) fn good(&self, means: Means) -> Vec<u8> {
        let name = match means {
            Means::Certificate => "certificate",
            Means::Key => "key",
            Means::Authorities => "authorities",
            Means::Lists => "lists",
            Means::Rules => "rules",
        };
        self.read(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.certificates.path().join(name)).unwrap()
    }

    /// Everything that people have in place of a good file of this kind, and that.
    pub(crate) fn all(&self, means: Means) -> Vec<Found> {
        let names = ["certificate", "key", "authorities", "lists", "another.key", "p521.key"];
        let others: Vec<_> =
            names.iter().chain(&["bare.key"]).map(|name| self.read(name)).collect();
        let good = self.good(means);
        if means == Means::Rules {
            let odd = odd_rules(&self.read("key"));
            return odd.into_iter().map(Found::File).collect();
        }
        let mut all = Vec::new();
        for odd in odd_files(&good, &others) {
            if means.may_be_directory() {
                all.push(Found::Among(odd.clone()));
            }
            all.push(Found::File(odd));
        }
        all.push(Found::File(good));
        all
    }

    /// Writes the configuration, and everything that it names.
    pub(crate) fn write(&self, odd: &str, found: &Found) {
        let _ = fs::remove_dir_all(self.directory.path());
        fs::create_dir_all(self.path("run")).unwrap();
        fs::create_dir(self.path("data")).unwrap();
        let [settings, own] = self.settings.clone();
        let mut lines = [settings + &format!("data.path = {:?}\n", self.path("data")), own];
        for (key, means) in self.named {
            let path = self.path(key);
            match found {
                _ if *key != odd => fs::write(&path, self.good(*means)).unwrap(),
                Found::File(content) => fs::write(&path, content).unwrap(),
                Found::Among(content) => {
                    fs::create_dir(&path).unwrap();
                    fs::write(path.join("a good one.pem"), self.good(*means)).unwrap();
                    fs::write(path.join("odd"), content).unwrap();
                }
            }
            lines[usize::from(matches!(means, Means::Lists | Means::Rules))] +=
                &format!("{key} = {path:?}\n");
        }
        self.directory.write("tedge.toml", &lines[0]);
        self.directory.write("tedge-http.toml", &lines[1]);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs the program, with root's power to read everything or without; its exit code and what
    /// it said.
    pub(crate) fn run(&self, argument: &str, is_root: bool) -> (i32, Vec<String>) {
        let mut command = Command::new("setpriv");
        if !is_root {
            command.args(["--bounding-set", "-all", "--inh-caps", "-all"]);
            command.env("RUNTIME_DIRECTORY", self.path("run"));
        }
        command.args([self.program, "--config-dir"]).arg(self.directory.path()).arg(argument);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let lines = said.lines().map(without_time).map(str::to_owned).collect();
        (output.status.code().unwrap(), lines)
    }

    /// The warnings or the error of a check, as a start has them, and its exit code.
    pub(crate) fn check(&self) -> (i32, Vec<String>) {
        let (code, said) = self.run("--check", true);
        let lines = said.iter().map(|line| match line.strip_prefix("warning: ") {
            Some(line) => format!("WARN  {line}"),
            None => line.clone(),
        });
        (code, lines.filter(|line| is_complaint(line)).collect())
    }

    /// The warnings or the error of a start, and its exit code if it is one that fails.
    pub(crate) fn start(&self, is_to_fail: bool) -> (i32, Vec<String>) {
        let (code, log) = if is_to_fail {
            self.run("--log-level=warn", true)
        } else {
            let service = Service::start(self.program, |setup| {
                setup.argument("--config-dir");
                setup.argument(self.directory.path().to_str().unwrap());
            });
            (0, service.stop().log.lines().map(str::to_owned).collect())
        };
        let lines = log.iter().map(|line| without_time(line));
        (code, lines.filter(|line| is_complaint(line)).map(str::to_owned).collect())
    }
}

fn is_complaint(line: &str) -> bool {
    line.starts_with("WARN") || line.starts_with("ERROR")
}

fn without_time(line: &str) -> &str {
    match line.split_once("Z ") {
        Some((time, rest)) if time.len() == "2026-01-31T23:59:59".len() => rest,
        _ => line,
    }
}

const RULES: &str = "# children\n[[rule]]\nwho = \"*\"\nmay = \"read\"\nbelow = \"/{who}/\"\n";

/// What may be in place of rules, and rules.
fn odd_rules(key: &[u8]) -> Vec<Vec<u8>> {
    let more =
        ["", "s3cret = \"s3cret\"\n", "from = \"s3cret\"\n", "\n[s3cret]\n", "may = s3cret\n"];
    let mut odd: Vec<_> = more.map(|more| format!("{RULES}{more}").into_bytes()).into();
    odd.extend(["", "# s3cret\n", "s3cret text\n"].map(|text| text.as_bytes().to_owned()));
    odd.extend([key.to_owned(), [RULES.as_bytes(), &[0xff, 0xfe]].concat()]);
    odd
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
