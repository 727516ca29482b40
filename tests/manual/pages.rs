//! What the man pages say: the tables, and around them what a table cannot say.

use common::cli::{self, COMMANDS};
use common::run;
use common::settings::{OLD_SPELLINGS, Program, SETTINGS, Setting};

use super::mdoc::{Page, escaped, typed};

/// `tedge(1)`.
pub(crate) fn tedge() -> String {
    let mut page = Page::new("tedge", 1, "settings, transfers and certificates of a device");
    page.section("SYNOPSIS");
    for command in COMMANDS {
        for verb in command.verbs {
            page.line(".Nm");
            page.line(&format!(".Cm {} {}", command.name, typed(verb).trim_start_matches("Cm ")));
            if command
                .options
                .iter()
                .any(|option| option.verbs.is_empty() || option.verbs.contains(&verb.name()))
            {
                page.line(".Op Ar OPTION ...");
            }
        }
    }
    page.section("DESCRIPTION");
    page.line(".Nm");
    page.text(
        "is a person's and a script's way to the File Transfer Service and to the Cumulocity \
         Proxy of a device, on the main device and on its children alike. \
         It comes with either of them: \
         `tedge-file-transfer tedge` and `tedge-c8y-proxy tedge` are the same command, \
         where another program has the name.",
    );
    let mut examples = Vec::new();
    for command in COMMANDS {
        page.subsection(&format!("tedge {}: {}", command.name, command.summary));
        page.words(command.verbs);
        page.paragraph();
        page.text("Its options:");
        page.words(command.options);
        for paragraph in command.notes.split("\n\n") {
            match paragraph.strip_prefix("Example: ") {
                Some(example) => examples.push(example.trim_end()),
                None => {
                    page.paragraph();
                    page.text(paragraph);
                }
            }
        }
    }
    page.paragraph();
    page.text(
        "On a main device and on a child `tedge http` is typed alike. \
         Where the service has HTTPS, its redirect is followed before anything of the content is \
         sent; certificates are checked against `c8y.root_cert_path`, and where the service asks \
         for one, that of `http.client.auth.cert_file` is shown.",
    );
    page.section("OPTIONS");
    page.text("These stand anywhere on the line:");
    page.words(cli::OPTIONS);
    environment(&mut page);
    files(&mut page);
    page.section("EXIT STATUS");
    page.list([
        ("0".to_owned(), "It is done, or the answer of the service is a success.".to_owned()),
        ("1".to_owned(), "It failed, or the key is not set.".to_owned()),
        ("2".to_owned(), "The line cannot be understood, or the key is unknown.".to_owned()),
        ("78".to_owned(), "A file of settings, or a value in it, cannot be used.".to_owned()),
    ]);
    page.section("EXAMPLES");
    for example in examples {
        page.example(example);
    }
    page.paragraph();
    page.text("A certificate for a child, whose key never leaves it: on the child,");
    page.example("tedge certs client tedge-client");
    page.text("then, on the main device, with the request that this has made,");
    page.example("tedge certs client tedge-client --csr tedge-client.csr");
    see_also(&mut page, &["tedge.toml 5", "tedge-c8y-proxy 8", "tedge-file-transfer 8"]);
    page.end()
}

/// `tedge-file-transfer(8)` and `tedge-c8y-proxy(8)`.
pub(crate) fn service(program: Program) -> String {
    let name = program.name();
    let about = match program {
        Program::FileTransfer => "serve files to a device, its children and its mappers",
        _ => "serve Cumulocity's REST API to local programs",
    };
    let mut page = Page::new(name, 8, about);
    page.section("SYNOPSIS");
    page.line(".Nm");
    for option in run::OPTIONS {
        page.line(&format!(".Op {}", typed(option)));
    }
    page.line(".Nm");
    page.line(".Cm tedge");
    page.line(".Ar ...");
    page.section("DESCRIPTION");
    page.line(".Nm");
    match program {
        Program::FileTransfer => {
            page.text(
                "lets local programs and child devices PUT, GET and DELETE files at \
                 `/tedge/file-transfer/` and, the same files, at `/te/v1/files/`. \
                 They are kept in `file-transfer` below `data.path`. \
                 A file appears, or is replaced, at once and whole, and is on the disk when the \
                 answer says so.",
            );
        }
        _ => {
            page.text(
                "passes requests for `/c8y/` on to the tenant in `c8y.url`, always over HTTPS and \
                 with the device's credentials, and the answers back. \
                 Local programs need to know neither. \
                 A token is fetched from the MQTT broker at `mqtt.client.host`, which is bridged \
                 to Cumulocity, or user name and password are read from `c8y.credentials_path`.",
            );
        }
    }
    let prefix = if program == Program::FileTransfer { "http" } else { "c8y.proxy" };
    page.paragraph();
    page.text(&format!(
        "With no more settings it speaks HTTP, to this device alone. \
         With `{prefix}.bind.address` it is reached from the network, \
         with `{prefix}.cert_path` and `{prefix}.key_path` it speaks HTTPS, \
         with `{prefix}.ca_path` it demands a client's certificate, \
         and with `{prefix}.crl_path` one that is not revoked."
    ));
    page.paragraph();
    page.text("As `tedge` it is the command that is described in");
    page.line(".Xr tedge 1 .");
    page.section("OPTIONS");
    page.words(run::OPTIONS);
    page.section("SIGNALS");
    page.list([
        (
            "Dv SIGHUP".to_owned(),
            "Reads certificates, keys, CAs and revocation lists again. \
             If they cannot be used, those in use stay."
                .to_owned(),
        ),
        (
            "Dv SIGTERM , SIGINT".to_owned(),
            "Stops: what is under way has 30 seconds to finish. A second one stops at once."
                .to_owned(),
        ),
    ]);
    page.section("SETTINGS");
    page.text("Read once, at the start. They are explained in");
    page.line(".Xr tedge.toml 5 .");
    page.line(".Bl -tag -width Ds -compact");
    for setting in SETTINGS.iter().filter(|setting| setting.used_by.contains(&program)) {
        page.line(&format!(".It Cm {}", setting.key));
        page.text(&format!("Default: {}.", setting.default_in_words()));
    }
    page.line(".El");
    environment(&mut page);
    files(&mut page);
    page.section("EXIT STATUS");
    page.list([
        ("0".to_owned(), "It was asked to stop, and has.".to_owned()),
        ("1".to_owned(), "It failed: the port is in use, for one.".to_owned()),
        ("2".to_owned(), "The line cannot be understood.".to_owned()),
        ("78".to_owned(), "A setting, or a file that one names, cannot be used.".to_owned()),
    ]);
    page.section("EXAMPLES");
    page.text("Whether it would start, and what it would serve:");
    page.example(&format!("{name} --check"));
    match program {
        Program::FileTransfer => {
            page.text("A file, there and back:");
            page.example("curl -T log.txt http://localhost:8000/tedge/file-transfer/log.txt");
            page.example("curl http://localhost:8000/tedge/file-transfer/log.txt");
        }
        _ => {
            page.text("What the device is to Cumulocity:");
            page.example("curl http://localhost:8001/c8y/inventory/managedObjects");
        }
    }
    let other = match program {
        Program::FileTransfer => "tedge-c8y-proxy 8",
        _ => "tedge-file-transfer 8",
    };
    see_also(&mut page, &["tedge 1", "tedge.toml 5", other]);
    page.end()
}

/// `tedge.toml(5)`.
pub(crate) fn tedge_toml() -> String {
    let about = "settings of tedge-file-transfer, tedge-c8y-proxy and tedge";
    let mut page = Page::new("tedge.toml", 5, about);
    page.section("DESCRIPTION");
    page.text(
        "A file of settings in TOML, which thin-edge.io, `tedge config set` and people write. \
         What is unknown in it is left alone. A key is a path through the tables of the file: \
         `http.bind.port` is `port` in the table `[http.bind]`.",
    );
    page.paragraph();
    page.text(
        "An option wins over the environment, the environment over the files, and these over the \
         defaults. Services read settings at their start.",
    );
    page.paragraph();
    page.text(
        "Keys that thin-edge.io lacks, below marked with a plus, live in a second file beside, \
         `tedge-http.toml`, since thin-edge.io would drop them. \
         Where there is `mappers/c8y/mapper.toml`, as thin-edge.io 2 has it, it is the home of \
         the keys that begin with `c8y.`, without that beginning. \
         `tedge config` knows where each belongs.",
    );
    page.section("SETTINGS");
    page.line(".Bl -tag -width Ds");
    for setting in SETTINGS {
        page.line(&format!(".It Cm {}{}", setting.key, if setting.own { " +" } else { "" }));
        described(&mut page, setting);
    }
    page.line(".El");
    page.subsection("Old spellings");
    page.text("Read, with a warning:");
    page.list(OLD_SPELLINGS.iter().map(|(old, new)| (format!("Cm {old}"), format!("`{new}`"))));
    environment(&mut page);
    files(&mut page);
    page.section("EXAMPLES");
    page.line(".Bd -literal -offset indent");
    for line in [
        "[http]",
        "cert_path = \"/etc/tedge/device-local-certs/main-agent.crt\"",
        "key_path = \"/etc/tedge/device-local-certs/main-agent.key\"",
        "",
        "[http.bind]",
        "address = \"192.168.1.6\"",
    ] {
        page.line(&escaped(line));
    }
    page.line(".Ed");
    see_also(&mut page, &["tedge 1", "tedge-c8y-proxy 8", "tedge-file-transfer 8"]);
    page.end()
}

fn described(page: &mut Page, setting: &Setting) {
    page.text(setting.meaning());
    page.text(&format!(
        "Takes {}. Default: {}. Example: `{}`.",
        setting.kind.expected,
        setting.default_in_words(),
        setting.example
    ));
}

fn environment(page: &mut Page) {
    page.section("ENVIRONMENT");
    page.list([
        (
            "Ev TEDGE_CONFIG_DIR".to_owned(),
            "The directory of the settings, where the line names none.".to_owned(),
        ),
        (
            "Ev TEDGE_HTTP_BIND_PORT".to_owned(),
            "The setting `http.bind.port`, and so with every other: it wins over the files, and \
             unsets where it is empty."
                .to_owned(),
        ),
        (
            "Ev RUST_LOG".to_owned(),
            "The level of a service's log, where the line names none.".to_owned(),
        ),
    ]);
}

fn files(page: &mut Page) {
    page.section("FILES");
    page.list([
        ("Pa /etc/tedge/tedge.toml".to_owned(), "The settings.".to_owned()),
        ("Pa /etc/tedge/tedge-http.toml".to_owned(), "Those that thin-edge.io lacks.".to_owned()),
        (
            "Pa /etc/tedge/device-local-certs".to_owned(),
            "The certificates that `tedge certs` makes.".to_owned(),
        ),
    ]);
}

fn see_also(page: &mut Page, others: &[&str]) {
    page.section("SEE ALSO");
    for (index, other) in others.iter().enumerate() {
        let comma = if index + 1 < others.len() { " ," } else { "" };
        page.line(&format!(".Xr {other}{comma}"));
    }
}
