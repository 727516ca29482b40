//! `tedge access`: shows which access rule allows a request, without sending it.
//!
//! It knows no routes except the prefixes of paths in URIs.

use std::net::IpAddr;

use super::command_line::{Command, CommandLine, Exit, PROFILE, Word, usage, utf8};
use super::print::{print_value, warn};
use crate::access::{Area, Names, Requester};
use crate::escape::Escaped;
use crate::server::RulesFile;
use crate::settings::{Program, Settings};

/// The subcommand.
pub const COMMAND: Command = Command {
    name: "access",
    summary: "test the access rules",
    verbs: &[Word::new("check METHOD PATH", "print the rule that allows a request")],
    options: &[
        Word::new("--as NAME", "name in the client certificate (default: no certificate)"),
        Word::new("--from ADDRESS", "IP address of the client (default: none)"),
        Word::new("--service SERVICE", "service: tedge-file-transfer or tedge-c8y-proxy"),
        PROFILE,
    ],
    notes: "PATH is the path of a request, such as /te/v1/files/child1/a, /c8y/event/events\n\
            or /te/v1/entities/device/child1//. With --service, it can also be the path in a\n\
            rule, such as /child1/a. Write PATH decoded: a space, not %20. It must not\n\
            contain % ? # \\ or control characters, or a part such as .. or ..;x, since\n\
            servers differ in how they read these.\n\
            A rule matches if all its keys match the request, including `may`. The first\n\
            rule that matches is printed. The rules are in http.access_path and\n\
            c8y.proxy.access_path. If no rule matches, the exit status is 1.\n\n\
            Example: tedge access check --as child1 PUT /te/v1/files/child1/a\n",
    run,
};

const FILES: [&str; 2] = ["/tedge/file-transfer/", "/te/v1/files/"];
const CLOUD: &str = "/c8y/";
const ENTITIES: &str = "/te/v1/entities/";

fn run(line: &CommandLine) -> Result<(), Exit> {
    let method = line.text(0)?.unwrap_or_default().to_ascii_uppercase();
    if !is_token(&method) {
        return Err(bad("METHOD", &method, "expected a method, such as GET or PUT"));
    }
    let AccessRequest { service, area, path } = request(line)?;
    let name = line.value("--as").map(utf8).transpose()?;
    let address = line.value("--from").map(utf8).transpose()?.map(address).transpose()?;

    let loaded = Settings::load(&line.config_dir(), line.environment()?, &[])?;
    warn(&loaded.warnings);
    let settings = &loaded.settings;
    let (key, rules_path) = match service {
        Program::C8yProxy => ("c8y.proxy.access_path", &settings.c8y_proxy_access_path),
        _ => ("http.access_path", &settings.http_access_path),
    };
    let file = RulesFile { key, path: rules_path.clone() };
    let Some(rules) = file.load()? else {
        return Ok(print_value(&format!("allowed: {} is not set", file.key))?);
    };
    warn(&file.doubts(&rules));
    let names = name.map(Names::one).unwrap_or_default();
    let client = Requester { names: &names, address };
    let shown = file.path.unwrap_or_default();
    let shown = shown.display();
    match rules.find(client, &method, area, &path) {
        Some(line) => Ok(print_value(&format!("allowed by {shown}:{line}"))?),
        None => {
            let refusal = rules.judge(client).refuse(area, &method, &path);
            let hint = elsewhere(area, &path);
            print_value(&format!("refused: no rule in {shown} allows this: {refusal}{hint}"))?;
            Err(Exit::Reported(1))
        }
    }
}

/// The service of a request, and the path that its rules check.
struct AccessRequest {
    service: Program,
    area: Area,
    path: String,
}

fn request(line: &CommandLine) -> Result<AccessRequest, Exit> {
    let path = line.text(1)?.unwrap_or_default();
    let slashed = format!("{path}/");
    let below = |prefix: &&str| slashed.starts_with(*prefix);
    let service = match line.value("--service") {
        Some(name) => [Program::FileTransfer, Program::C8yProxy]
            .into_iter()
            .find(|service| service.name() == name)
            .ok_or_else(|| bad("--service", &name.to_string_lossy(), "see --help"))?,
        None if below(&CLOUD) => Program::C8yProxy,
        None if FILES.iter().any(below) || below(&ENTITIES) => Program::FileTransfer,
        None => return Err(usage(format!("no service has the path '{path}': add --service"))),
    };
    let is_odd = |c: char| matches!(c, '%' | '?' | '#' | '\\') || c.is_control();
    if path.contains(is_odd) || path.split('/').any(is_dots) {
        let path = Escaped(path).to_string();
        return Err(bad("PATH", &path, "write it decoded, without . and .."));
    }
    let is_within = below(&ENTITIES);
    let area = match service {
        Program::FileTransfer => Area { directory: ENTITIES.trim_matches('/'), is_within },
        _ => Area::WHOLE,
    };
    if service == Program::FileTransfer && is_within {
        // Empty parts stay in the path.
        let path = format!("{}/", path.trim_matches('/'));
        return Ok(AccessRequest { service, area, path });
    }
    let prefixes = match service {
        Program::C8yProxy => &[CLOUD][..],
        _ => &FILES,
    };
    let prefix = prefixes.iter().find(|prefix| below(prefix));
    let relative = prefix.map_or(path, |prefix| path.get(prefix.len()..).unwrap_or_default());
    let parts: Vec<_> = relative.split('/').filter(|part| !part.is_empty()).collect();
    let end = if service == Program::C8yProxy && !parts.is_empty() { "/" } else { "" };
    Ok(AccessRequest { service, area, path: parts.join("/") + end })
}

/// What to check instead of a file, if the file has the path of an entity.
fn elsewhere(area: Area, path: &str) -> String {
    let rest = path.strip_prefix(area.directory).filter(|_| !area.is_within);
    match rest.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
        Some(_) => format!(
            " (this is a file, and rules below {ENTITIES} are about entities only; to check an \
             entity, type /{})",
            Escaped(path)
        ),
        None => String::new(),
    }
}

/// Whether a server could read a part as `.` or `..`.
fn is_dots(part: &str) -> bool {
    let name = part.split(';').next().unwrap_or_default();
    name.contains('.') && name.chars().all(|c| matches!(c, '.' | '+') || c.is_whitespace())
}

/// Whether it can be a method (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !text.is_empty() && text.chars().all(is_allowed)
}

fn address(text: &str) -> Result<IpAddr, Exit> {
    text.parse().map_err(|_| bad("--from", text, "expected an IP address"))
}

fn bad(what: &str, is: &str, instead: &str) -> Exit {
    usage(format!("{what} is '{is}': {instead}"))
}
