//! The text of the man pages: the tables, and around them what a table cannot say.

use common::cli::{self, COMMANDS};
use common::run;
use common::settings::{OLD_SPELLINGS, Program, SETTINGS, Setting};

use super::bash::profile;
use super::details;
use super::mdoc::{Page, escaped, typed};
use super::rules;

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
        "reads and changes the settings of a device, sends requests to its File Transfer Service \
         and its Cumulocity Proxy, and makes its certificates. \
         It works the same on the main device and on its child devices. \
         Both packages include it. \
         If another program is installed under this name, type `tedge-file-transfer tedge` or \
         `tedge-c8y-proxy tedge`.",
    );
    let mut examples = Vec::new();
    for command in COMMANDS {
        page.subsection(&format!("tedge {}: {}", command.name, command.summary));
        page.words(command.verbs);
        if !command.options.is_empty() {
            page.paragraph();
            page.text("Options:");
            page.words(command.options);
        }
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
        "`tedge http` takes the same arguments on the main device and on a child device. \
         If the service redirects to HTTPS, the redirect is followed before any content is sent. \
         The certificate of the service is verified with the CAs in `c8y.root_cert_path` and with \
         those of the system. \
         If the service requires a client certificate, `http.client.auth.cert_file` is used.",
    );
    page.section("OPTIONS");
    page.text("These can be anywhere on the command line:");
    page.words(cli::OPTIONS);
    environment(&mut page);
    files(&mut page);
    page.section("EXIT STATUS");
    page.list([
        (
            "0".to_owned(),
            "Success. For `tedge http`: the status of the response is 2xx.".to_owned(),
        ),
        (
            "1".to_owned(),
            "The command failed, the setting has no value, or no rule allows the request."
                .to_owned(),
        ),
        ("2".to_owned(), "The command line is invalid, or the setting is unknown.".to_owned()),
        ("78".to_owned(), "A settings file, or a value in it, is invalid.".to_owned()),
    ]);
    page.section("EXAMPLES");
    for example in examples {
        page.example(example);
    }
    page.paragraph();
    page.text(
        "Make a certificate for a child device without copying its private key. \
         On the child device, make child1.key and child1.csr in `device-local-certs`:",
    );
    page.example("tedge certs client child1");
    page.text("Copy child1.csr to the main device, and sign it there:");
    page.example("tedge certs client child1 --csr child1.csr");
    page.text("Copy child1.crt from `device-local-certs` back to the child device.");
    see_also(&mut page, &["tedge.toml 5", "tedge-c8y-proxy 8", "tedge-file-transfer 8"]);
    page.end()
}

/// `tedge-file-transfer(8)` and `tedge-c8y-proxy(8)`.
pub(crate) fn service(program: Program) -> String {
    let name = program.name();
    let about = match program {
        Program::FileTransfer => "file transfer between a device and its child devices",
        _ => "local proxy for the REST API of Cumulocity",
    };
    let mut page = Page::new(name, 8, about);
    page.section("SYNOPSIS");
    page.line(".Nm");
    for option in profile(program).iter().chain(run::OPTIONS) {
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
                 `/tedge/file-transfer/`. The same files are at `/te/v1/files/`. \
                 The files are stored in the directory `file-transfer` below `data.path`. \
                 An upload is atomic: readers see the old file or the whole new one. \
                 Unless `http.upload.sync` is false, the file is synced to the disk before the \
                 upload is answered.",
            );
            page.paragraph();
            page.text(
                "The service passes requests for `/te/v1/entities` on to thin-edge.io's \
                 `tedge-agent` at `http.agent.address`. \
                 If that setting is not set, or no agent listens at that address, the answer is 404.",
            );
            page.paragraph();
            page.text(
                "A file stays until a request deletes it. With `http.files.max_age`, the service also \
                 deletes files that nobody has written or read for that time. With \
                 `http.files.max_total` and `http.files.make_room`, an upload that needs space \
                 deletes the least recently used files.",
            );
        }
        _ => {
            page.text(
                "forwards requests for `/c8y/` to the tenant in `c8y.url`, always over HTTPS, and \
                 adds the credentials of the device. \
                 Local programs need neither the credentials nor the address of the tenant. \
                 The credentials are either a token or the user name and password in \
                 `c8y.credentials_path`. By default the token comes from the MQTT broker at \
                 `mqtt.client.host`, which must have a bridge to Cumulocity. \
                 With `c8y.proxy.token_source https` it comes from Cumulocity itself.",
            );
            page.paragraph();
            page.text(
                "If neither `mqtt.client.auth.username` nor `mqtt.client.auth.cert_file` is set, the broker \
                 cannot distinguish the proxy from other clients: every program that can connect to the \
                 broker can get the token. \
                 `c8y-bridge.conf` in /usr/share/doc/tedge-c8y-proxy/examples is a configuration \
                 of mosquitto that gives the token to the proxy only.",
            );
        }
    }
    let prefix = if program == Program::FileTransfer { "http" } else { "c8y.proxy" };
    page.paragraph();
    let address = match program {
        Program::FileTransfer => {
            "the first of these addresses that is set: `mqtt.external.bind.address`, \
             `mqtt.bind.address`, 127.0.0.1"
        }
        _ => "127.0.0.1 only",
    };
    page.text(&format!(
        "By default the service uses HTTP. Without `{prefix}.bind.address`, it listens on {address}. \
         To listen on the network, set `{prefix}.bind.address`. \
         To turn HTTPS on, set `{prefix}.cert_path` and `{prefix}.key_path`. \
         To require client certificates, set `{prefix}.ca_path`. \
         To refuse revoked certificates, set `{prefix}.crl_path`."
    ));
    page.paragraph();
    page.text("If the program is called as `tedge`, or with `tedge` as its first argument, it is the command that is described in");
    page.line(".Xr tedge 1 .");
    page.section("OPTIONS");
    page.words(&[profile(program), run::OPTIONS].concat());
    page.section("SIGNALS");
    page.list([
        (
            "Dv SIGHUP".to_owned(),
            format!(
                "The service reads its certificates, keys, CAs, revocation lists{} and access \
                 rules again. If there is an error in them, the old ones stay in use.",
                if program == Program::C8yProxy { ", credentials" } else { "" }
            ),
        ),
        (
            "Dv SIGTERM , SIGINT".to_owned(),
            "The service stops. Requests in progress have 30 seconds to finish. A second signal \
             stops the service immediately."
                .to_owned(),
        ),
    ]);
    match program {
        Program::FileTransfer => details::retention(&mut page),
        _ => details::cache(&mut page),
    }
    page.section("SETTINGS");
    page.text("The service reads these settings when it starts. They are explained in");
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
        ("0".to_owned(), "A signal stopped the service.".to_owned()),
        ("1".to_owned(), "The service failed, for example because the port is in use.".to_owned()),
        ("2".to_owned(), "The command line is invalid.".to_owned()),
        (
            "78".to_owned(),
            "A setting is invalid, a file that a setting names cannot be used, or fewer than 64 \
             open files are allowed (`LimitNOFILE=`)."
                .to_owned(),
        ),
    ]);
    page.section("EXAMPLES");
    page.text("Check the settings and certificates:");
    page.example(&format!("{name} --check"));
    match program {
        Program::FileTransfer => {
            page.text("Upload a file, and download it again:");
            page.example("curl -T log.txt http://localhost:8000/tedge/file-transfer/log.txt");
            page.example("curl http://localhost:8000/tedge/file-transfer/log.txt");
        }
        _ => {
            page.text("List the managed objects in Cumulocity:");
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
    page.line(".Nm");
    page.text(
        "is the settings file of thin-edge.io, in TOML. \
         Edit it by hand or with `tedge config set`. \
         Our programs ignore unknown settings in it, and leave them in the file. \
         The name of a setting is its path through the tables of the file: \
         `http.bind.port` is `port` in the table `[http.bind]`.",
    );
    page.paragraph();
    page.text(
        "A command-line option overrides the environment, the environment overrides the files, \
         and the files override the defaults. Services read the settings only when they start.",
    );
    page.paragraph();
    page.text(
        "Settings marked with a plus do not exist in thin-edge.io. They are in a second file of \
         the same directory, `tedge-http.toml`, since thin-edge.io would delete them from its own \
         file. thin-edge.io 2 has a file of its own for the settings that begin with `c8y.`: \
         `mappers/c8y/mapper.toml` or, for a cloud profile, `mappers/c8y.NAME/mapper.toml`. If \
         such a file exists, these settings are in it, without the prefix `c8y.`, except the \
         settings marked with a plus. `tedge config` reads and writes each setting in the right \
         file.",
    );
    page.paragraph();
    page.text(
        "A cloud profile is another set of the settings that begin with `c8y.`, for another \
         tenant. The name of a profile consists of letters, digits, `-` and `_`. The settings of a \
         profile are called `c8y.profiles.NAME.KEY`. In tedge.toml and tedge-http.toml they are in \
         tables such as `[c8y.profiles.NAME.proxy]`. A setting that a profile does not contain has \
         its default: nothing is inherited from the settings without a profile. Each profile has a \
         service of its own, `tedge-c8y-proxy@NAME`, with its own port.",
    );
    page.section("SETTINGS");
    page.line(".Bl -tag -width Ds");
    for setting in SETTINGS {
        page.line(&format!(".It Cm {}{}", setting.key, if setting.own { " +" } else { "" }));
        described(&mut page, setting);
    }
    page.line(".El");
    page.subsection("Old spellings");
    page.text("These old names are read too, with a warning:");
    page.list(OLD_SPELLINGS.iter().map(|(old, new)| (format!("Cm {old}"), format!("`{new}`"))));
    rules::section(&mut page);
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
    page.text("Rules by which each client reads and writes its own directory of files:");
    page.line(".Bd -literal -offset indent");
    for line in ["[[rule]]", "who = \"*\"", "may = [\"read\", \"write\"]", "below = \"/{who}/\""] {
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
            "The configuration directory, unless `--config-dir` is given.".to_owned(),
        ),
        (
            "Ev TEDGE_HTTP_BIND_PORT".to_owned(),
            "Overrides the setting `http.bind.port` in the files. Each setting has such a variable. \
             Its name is TEDGE_ and the key of the setting in capitals, with underscores for dots. \
             An empty value unsets the setting."
                .to_owned(),
        ),
        (
            "Ev TEDGE_CLOUD_PROFILE".to_owned(),
            "The cloud profile of the proxy and of `tedge`. The option `--profile` overrides it. The variables for the settings of a \
             profile contain its name, for example TEDGE_C8Y_PROFILES_SECOND_URL."
                .to_owned(),
        ),
        (
            "Ev RUST_LOG".to_owned(),
            "The log level of a service, unless `--log-level` is given.".to_owned(),
        ),
    ]);
}

fn files(page: &mut Page) {
    page.section("FILES");
    page.list([
        ("Pa /etc/tedge/tedge.toml".to_owned(), "The settings.".to_owned()),
        (
            "Pa /etc/tedge/tedge-http.toml".to_owned(),
            "Settings that do not exist in thin-edge.io.".to_owned(),
        ),
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
