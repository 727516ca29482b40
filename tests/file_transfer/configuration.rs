//! Starts that have to fail, by which exit code and with which words; and warnings at a start.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::certificates::{Authority, Key, Validity};
use crate::support::client::has_ipv6;
use crate::support::service::Setup;
use crate::{PROGRAM, Secured, run, start};

/// Asserts that the start ends with this code and that the log has all these words in one line.
#[track_caller]
fn assert_ends(code: i32, words: &[&str], configure: impl FnOnce(&mut Setup)) {
    let ended = run(configure);
    assert_eq!(ended.code(), code, "{}", ended.log);
    let is_said = ended.log.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(is_said, "{words:?} are not in one line of:\n{}", ended.log);
    assert!(!ended.log.contains("panicked") && !ended.log.contains("Serving"), "{}", ended.log);
}

#[test]
fn a_file_that_is_not_toml_stops_the_start_naming_line_and_column() {
    assert_ends(78, &["tedge.toml"], |setup| setup.set_raw("a", "1\nhttp.bind.port = = 8000"));
    let ended = run(|setup| setup.set_raw("a", "1\nhttp.bind.port = = 8000"));
    assert!(ended.log.contains('2'), "the line is missing: {}", ended.log);
    assert_ends(78, &["tedge-http.toml"], |setup| setup.set_own("http.upload.sync", "tru e"));
}

#[test]
fn a_file_that_is_not_utf_8_stops_the_start() {
    assert_ends(78, &["tedge-http.toml"], |setup| {
        fs::write(setup.directory().join("tedge-http.toml"), b"a = \"\xff\"\n").unwrap();
    });
}

#[test]
fn a_file_that_cannot_be_read_stops_the_start() {
    assert_ends(78, &["tedge-http.toml"], |setup| {
        let file = setup.directory().join("tedge-http.toml");
        fs::create_dir(file).unwrap();
    });
    if rustix::process::geteuid().is_root() {
        // Root reads everything, so the program runs as somebody else.
        let ended = run(|setup| {
            setup.wrap(&["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]);
            let file = setup.directory().join("tedge-http.toml");
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        });
        // The program itself may be out of reach of that user.
        if ended.log.contains("failed to execute") {
            eprintln!("skipped: nobody may run the program where it lies");
        } else {
            assert_eq!(ended.code(), 78, "{}", ended.log);
            assert!(ended.log.contains("tedge-http.toml"), "{}", ended.log);
        }
    }
}

#[test]
fn a_value_of_the_wrong_kind_stops_the_start() {
    let wrong = [
        ("http.bind.port", "70000"),
        ("http.bind.port", "\"eighty\""),
        ("http.bind.port", "-1"),
        ("http.bind.address", "\"somewhere\""),
        ("http.bind.address", "127"),
    ];
    for (key, value) in wrong {
        let text = value.trim_matches('"');
        assert_ends(78, &[key, text, "tedge.toml"], |setup| setup.set_raw(key, value));
    }
    let wrong_own = [
        ("http.upload.max_size", "\"much\""),
        ("http.upload.min_free", "\"101%\""),
        ("http.upload.sync", "\"perhaps\""),
        ("http.connections.max", "\"many\""),
        ("http.connections.max", "1"),
    ];
    for (key, value) in wrong_own {
        let text = value.trim_matches('"');
        assert_ends(78, &[key, text, "tedge-http.toml"], |setup| setup.set_own(key, value));
    }
    assert_ends(78, &["http.bind.port", "x", "TEDGE_HTTP_BIND_PORT"], |setup| {
        setup.environment("TEDGE_HTTP_BIND_PORT", "x");
    });
}

#[test]
fn half_a_tls_pair_stops_the_start() {
    let tls = |setup: &mut Setup, keys: &[&str]| {
        let authority = Authority::new(setup.directory(), "ca");
        let pair = authority.server("server", Key::P256);
        for &key in keys {
            let path = match key {
                "http.cert_path" => &pair.cert,
                "http.key_path" => &pair.key,
                _ => &authority.cert,
            };
            if key.ends_with("crl_path") {
                setup.set_own_path(key, path);
            } else {
                setup.set(key, path);
            }
        }
    };
    let halves: [(&[&str], &[&str]); 6] = [
        (&["http.cert_path"], &["http.cert_path", "http.key_path"]),
        (&["http.key_path"], &["http.key_path", "http.cert_path"]),
        (&["http.ca_path"], &["http.ca_path", "http.cert_path"]),
        (&["http.ca_path", "http.cert_path"], &["http.key_path"]),
        (&["http.cert_path", "http.key_path", "http.crl_path"], &["http.crl_path", "http.ca_path"]),
        (&["http.crl_path"], &["http.crl_path"]),
    ];
    for (set, words) in halves {
        assert_ends(78, words, |setup| tls(setup, set));
    }
}

/// A configuration with TLS and client authentication, with this file in place of a good one.
fn with(setup: &mut Setup, key: &str, content: Option<&[u8]>) {
    let authority = Authority::new(setup.directory(), "ca");
    let pair = authority.server("server", Key::P256);
    setup.set("http.cert_path", &pair.cert);
    setup.set("http.key_path", &pair.key);
    setup.set("http.ca_path", &authority.cert);
    let file = setup.directory().join("the-file");
    if let Some(content) = content {
        fs::write(&file, content).unwrap();
    }
    if key == "http.crl_path" {
        setup.set_own_path(key, file);
    } else {
        setup.set(key, file);
    }
}

#[test]
fn a_tls_file_that_is_no_good_stops_the_start_naming_key_and_file() {
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".as_slice();
    let contents: [Option<&[u8]>; 4] = [None, Some(b""), Some(b"no PEM\n"), Some(broken)];
    for key in ["http.cert_path", "http.key_path", "http.ca_path"] {
        for content in contents {
            assert_ends(78, &[key, "the-file"], |setup| with(setup, key, content));
        }
    }
    for content in [None, Some(b"no PEM\n".as_slice())] {
        assert_ends(78, &["http.crl_path", "the-file"], |setup| {
            with(setup, "http.crl_path", content);
        });
    }
}

#[test]
fn a_key_that_belongs_to_another_certificate_stops_the_start() {
    for (ours, theirs) in [(Key::P256, Key::P256), (Key::Rsa, Key::Rsa), (Key::P256, Key::Ed25519)]
    {
        assert_ends(78, &["http.key_path", "other.key"], |setup| {
            let authority = Authority::new(setup.directory(), "ca");
            setup.set("http.cert_path", authority.server("server", ours).cert);
            setup.set("http.key_path", authority.server("other", theirs).key);
        });
    }
}

#[test]
fn a_directory_without_a_usable_authority_stops_the_start() {
    for with_a_file in [false, true] {
        assert_ends(78, &["http.ca_path", "cas"], |setup| {
            with(setup, "http.ca_path", None);
            let directory = setup.directory().join("cas");
            fs::create_dir_all(&directory).unwrap();
            if with_a_file {
                fs::write(directory.join("readme"), "nothing here").unwrap();
            }
            setup.set("http.ca_path", directory);
        });
    }
}

#[test]
fn a_busy_port_is_a_failure_that_names_it() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap();
    assert_ends(1, &[&address.to_string()], |setup| {
        setup.set_raw("http.bind.port", address.port())
    });
}

#[test]
fn the_address_of_an_agent_that_is_its_own_stops_the_start() {
    let set = |setup: &mut Setup, own: &str, agent: &str| {
        setup.set("http.bind.address", own);
        setup.set_raw("http.bind.port", 8765);
        setup.set_own_path("http.agent.address", agent);
    };
    let name = rustix::system::uname().nodename().to_str().unwrap().to_uppercase();
    let named = format!("{name}:8765");
    assert_ends(78, &["http.agent.address", "127.8.7.65:8765", "http.bind.port"], |setup| {
        set(setup, "127.8.7.65", "127.8.7.65:8765");
    });
    for (own, agent) in [
        ("127.0.0.1", "Localhost:8765"),
        ("::1", "localhost:8765"),
        ("::1", "[::]:8765"),
        ("0.0.0.0", "127.0.0.2:8765"),
        ("::", "127.0.0.1:8765"),
        ("::", "0.0.0.0:8765"),
        ("127.0.0.1", "[::ffff:127.0.0.1]:8765"),
        ("0.0.0.0", &named),
    ] {
        assert_ends(78, &["http.agent.address", "itself listens"], |setup| {
            set(setup, own, agent);
            setup.argument("--check");
        });
    }
    for (own, agent) in [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.2:8765"),
        ("0.0.0.0", "127.0.0.1:8766"),
        ("::", "192.0.2.1:8765"),
        ("192.0.2.1", "localhost:8765"),
        ("127.0.0.1", &named),
    ] {
        let ended = run(|setup| {
            set(setup, own, agent);
            setup.argument("--check");
        });
        assert_eq!(ended.code(), 0, "{own} {agent}: {}", ended.log);
    }
}

#[test]
fn a_command_line_that_is_not_understood_is_said_so() {
    for arguments in [&["--no-such-option"][..], &["--config-dir"], &["something"]] {
        let output = Command::new(PROGRAM).args(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(arguments[0]), "{arguments:?}: {errors}");
    }
}

#[test]
fn data_that_cannot_be_kept_stops_the_start() {
    assert_ends(1, &["data.path", "a-file"], |setup| {
        let file = setup.directory().join("a-file");
        fs::write(&file, "").unwrap();
        setup.set("data.path", file);
    });
}

#[test]
fn the_line_at_the_start_says_what_is_served() {
    let plain = start(|_| {}).stop().log;
    let line = plain.lines().find(|line| line.contains("Serving")).unwrap();
    assert!(line.contains("http://127.0.0.1:"), "{line}");
    assert!(!plain.to_lowercase().contains("warn"), "a warning on loopback: {plain}");

    let secured = Secured::start(|setup, authority| setup.set("http.ca_path", &authority.cert));
    let log = secured.service.log();
    let line = log.lines().find(|line| line.contains("Serving")).unwrap();
    for part in ["https://127.0.0.1:", "main-agent", "CA", "valid until 20"] {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
}

#[test]
fn plain_http_for_everybody_is_warned_of_once() {
    for (address, is_warned) in
        [("0.0.0.0", true), ("::", true), ("127.0.0.1", false), ("::1", false)]
    {
        if address.contains(':') && !has_ipv6() {
            continue;
        }
        let service = start(|setup| setup.set_raw("http.bind.address", format!("{address:?}")));
        let log = service.stop().log;
        let warnings = log.lines().filter(|line| line.to_lowercase().contains("warn")).count();
        assert_eq!(warnings, usize::from(is_warned), "{address}: {log}");
    }
    let secured = Secured::start(|setup, _| setup.set_raw("http.bind.address", "\"0.0.0.0\""));
    let log = secured.service.stop().log;
    assert!(!log.to_lowercase().contains("warn"), "{log}");
}

#[test]
fn a_certificate_that_expires_soon_is_warned_of() {
    for (validity, is_warned) in
        [(Validity::Days(13), true), (Validity::Days(16), false), (Validity::Expired, true)]
    {
        let secured = Secured::start(|setup, authority| {
            let pair = authority.server_until("soon", validity);
            setup.set("http.cert_path", pair.cert);
            setup.set("http.key_path", pair.key);
        });
        let log = secured.service.stop().log;
        let warned = log.lines().any(|line| line.contains("expire") && line.contains("soon.crt"));
        assert_eq!(warned, is_warned, "{validity:?}: {log}");
    }
}
