//! `--check`, `--help` and `--version` of the proxy.

use std::net::TcpListener;
use std::process::{Command, Output};

use common::run;

use crate::support::certificates::{Authority, Key};
use crate::support::device::{PROGRAM, certificates};
use crate::support::directory::Directory;
use crate::support::scene::{Found, Means, Scene};
use crate::support::service::Service;

fn proxy(directory: &Directory, argument: &str) -> (i32, String, String) {
    let mut command = Command::new(PROGRAM);
    command.env_clear().env("TEDGE_CONFIG_DIR", directory.path()).arg(argument);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn says_what_would_be_served() {
    let directory = Directory::new();
    let ca = certificates().ca.display();
    let tenant = format!("c8y.url = \"example.cumulocity.com\"\nc8y.root_cert_path = \"{ca}\"\n");
    directory.write("tedge.toml", &tenant);
    let said = proxy(&directory, "--check");
    assert_eq!(said, (0, "Serving http://127.0.0.1:8001\n".to_owned(), String::new()));

    let authority = Authority::new(directory.path(), "local-ca");
    let pair = authority.server("c8y-mapper", Key::P256);
    let (cert, key) = (pair.cert.display(), pair.key.display());
    let tls = format!("{tenant}[c8y.proxy]\ncert_path = \"{cert}\"\nkey_path = \"{key}\"\n");
    directory.write("tedge.toml", tls.replace("c8y.url", "c8y.http"));
    let (code, out, err) = proxy(&directory, "--check");
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("Serving https://127.0.0.1:8001, certificate CN=c8y-mapper"), "{out}");
}

#[test]
fn a_profile_is_another_tenant_on_another_port() {
    let directory = Directory::new();
    let ca = certificates().ca.display();
    let one = "[c8y]\nurl = \"one.example.com\"\nproxy.bind.port = 8009\n";
    let two =
        format!("url = \"two.example.com\"\nroot_cert_path = \"{ca}\"\nproxy.bind.port = 8002\n");
    directory.write("tedge.toml", format!("{one}[c8y.profiles.second]\n{two}"));
    let check = |arguments: &[&str], variable: &str| {
        let mut command = Command::new(PROGRAM);
        command.env_clear().env("TEDGE_CONFIG_DIR", directory.path()).arg("--check");
        let Output { status, stdout, stderr } =
            command.env("TEDGE_CLOUD_PROFILE", variable).args(arguments).output().unwrap();
        let said = String::from_utf8([stdout, stderr].concat()).unwrap();
        (status.code().unwrap(), said)
    };
    let second = (0, "Serving http://127.0.0.1:8002\n".to_owned());
    assert_eq!(check(&["--profile", "second"], ""), second);
    assert_eq!(check(&["--profile", "Second"], "third"), second);
    assert_eq!(check(&[], "second"), second);
    let (code, said) = check(&["--profile", "third"], "");
    assert_eq!(code, 78, "{said}");
    for part in ["unknown profile 'third'", "c8y.profiles.third.url", "--profile third"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(check(&["--profile", "a/b"], "").0, 78);
}

#[test]
fn a_busy_port_of_a_profile_is_a_failure_that_names_the_command_for_it() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port();
    let ended = Service::run(PROGRAM, |setup| {
        setup.set("c8y.profiles.second.url", "two.example.com");
        setup.set("c8y.profiles.second.root_cert_path", &certificates().ca);
        setup.set_raw("c8y.profiles.second.proxy.bind.port", port);
        setup.argument("--profile=second");
    });
    assert_eq!(ended.code(), 1, "{}", ended.log);
    let command = "`tedge config set c8y.proxy.bind.port PORT --profile second`";
    assert!(ended.log.contains(command), "{}", ended.log);
}

#[test]
fn what_would_stop_the_start_is_exit_78_and_says_what_to_type() {
    let directory = Directory::new();
    for (settings, said) in [
        ("", &["tedge config set c8y.url"][..]),
        ("c8y.url = \"a\"\nc8y.root_cert_path = \"/nowhere\"", &["c8y.root_cert_path", "/nowhere"]),
        (
            "c8y.url = \"a\"\nc8y.proxy.ca_path = \"/etc\"",
            &["c8y.proxy.ca_path", "c8y.proxy.cert_path"],
        ),
        ("c8y.url = \"https://a\"", &["c8y.url is 'https://a'", "line 1"]),
        ("c8y.url = \"a\"\nc8y.auth_method = \"basic\"", &["credentials.toml"]),
        (
            "c8y.url = \"a\"\nmqtt.client.auth.username = \"a\"\n\
             mqtt.client.auth.password_file = \"/nowhere\"",
            &["mqtt.client.auth.password_file", "/nowhere"],
        ),
    ] {
        directory.write("tedge.toml", settings);
        let (code, out, err) = proxy(&directory, "--check");
        assert_eq!((code, out.as_str()), (78, ""), "{settings}: {err}");
        for said in said {
            assert!(err.contains(said), "{said:?} in {err}");
        }
    }
}

#[test]
fn a_relative_directory_of_the_cache_would_stop_the_start() {
    let directory = Directory::new();
    let ca = certificates().ca.display();
    directory.write("tedge.toml", format!("c8y.url = \"a\"\nc8y.root_cert_path = \"{ca}\"\n"));
    for (size, code) in [("max_size = \"1M\"\n", 78), ("", 0)] {
        let cache = format!("[c8y.proxy.cache]\n{size}path = \"some/cache\"\n");
        directory.write("tedge-http.toml", cache);
        let (found, _, err) = proxy(&directory, "--check");
        assert_eq!(found, code, "{err}");
        assert!(code == 0 || err.contains("c8y.proxy.cache.path is some/cache"), "{err}");
    }
}

#[test]
fn help_says_each_option_and_fits_a_screen() {
    let directory = Directory::new();
    let (code, help, err) = proxy(&directory, "--help");
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(help.lines().count() <= 24 && help.lines().all(|line| line.len() <= 80), "{help}");
    for option in run::OPTIONS.iter().chain(run::PROFILE) {
        assert!(help.contains(&format!("\n  {} ", option.typed)), "{option:?} in {help}");
    }
    let version = concat!("tedge-c8y-proxy ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(proxy(&directory, "--version"), (0, version.to_owned(), String::new()));
    let (code, out, err) = proxy(&directory, "--chek");
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("--chek") && err.contains("--help"), "{err}");
}

/// Every setting that leads to certificates, keys or lists.
const NAMED: &[(&str, Means)] = &[
    ("c8y.proxy.cert_path", Means::Certificate),
    ("c8y.proxy.key_path", Means::Key),
    ("c8y.proxy.ca_path", Means::Authorities),
    ("c8y.proxy.crl_path", Means::Lists),
    ("c8y.root_cert_path", Means::Authorities),
    ("mqtt.client.auth.ca_file", Means::Authorities),
    ("mqtt.client.auth.cert_file", Means::Certificate),
    ("mqtt.client.auth.key_file", Means::Key),
    ("device.cert_path", Means::Certificate),
    ("device.key_path", Means::Key),
];

#[test]
fn says_of_every_file_what_the_start_says() {
    let settings = "c8y.http = \"localhost:1\"\nc8y.proxy.bind.port = 0\nmqtt.client.port = 1\n";
    let scene = Scene::new(PROGRAM, [settings, "c8y.proxy.token_source = \"auto\"\n"], NAMED);
    let without_level = |lines: Vec<String>| -> Vec<String> {
        lines.iter().map(|line| line[5..].trim_start().to_owned()).collect()
    };
    for (key, means) in NAMED {
        for found in scene.all(*means) {
            scene.write(key, &found);
            let (code, said) = scene.check();
            // The device's certificate may come later: what is an error here is a warning there.
            let is_device = key.starts_with("device.");
            let (started, heard) = scene.start(code != 0 && !is_device);
            let is_of_a_file = |line: &String| NAMED.iter().any(|(key, _)| line.contains(key));
            let heard: Vec<_> = heard.into_iter().filter(is_of_a_file).collect();
            let odd = match &found {
                Found::File(odd) | Found::Among(odd) => String::from_utf8_lossy(odd).into_owned(),
            };
            if is_device {
                assert_eq!(without_level(heard), without_level(said), "{key} = {odd}");
            } else {
                assert_eq!((started, heard), (code, said), "{key} = {odd}");
            }
        }
    }
}
