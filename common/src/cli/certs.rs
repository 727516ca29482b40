//! `tedge certs`: makes the certificates that local HTTPS needs, instead of the openssl commands of
//! thin-edge.io's documentation, with the same file names and subjects.

mod files;
mod make;
mod show;

use self::make::Maker;
use super::command_line::{Command, CommandLine, Exit, Word};

/// The subcommand.
pub const COMMAND: Command = Command {
    name: "certs",
    summary: "create and show certificates for local HTTPS",
    verbs: &[
        Word::new("ca", "create the local CA, which signs the certificates"),
        Word::new("server NAME", "create the certificate of a service"),
        Word::new("client NAME", "create a client certificate or, without a CA, a CSR"),
        Word::new("show FILE…", "describe the contents of FILE; - is standard input"),
    ],
    options: &[
        Word::with(&["server"], "--host HOST", "add a host name or IP address (may be repeated)"),
        Word::with(&["client"], "--csr FILE", "sign this certificate request (CSR)"),
        Word::with(MAKING, "--days N", "validity in days (default: 100)"),
        Word::with(MAKING, "--dir DIR", "directory of the files (default: device-local-certs)"),
        Word::with(MAKING, "--force", "replace existing files"),
    ],
    notes: "Files: NAME.crt (common name NAME; with `server`: localhost) and NAME.key. Set\n\
            http.cert_path and .key_path; for the proxy c8y.proxy.cert_path and .key_path.\n\
            To require client certificates, set http.ca_path to tedge-local-ca.crt. On a\n\
            client, set http.client.auth.cert_file and .key_file.\n\n\
            Example: tedge certs ca && tedge certs server main-agent --host 192.168.1.6\n",
    run,
};

const MAKING: &[&str] = &["ca", "server", "client"];

fn run(line: &CommandLine) -> Result<(), Exit> {
    if line.verb == "show" {
        return show::show(&line.arguments);
    }
    let maker = Maker::new(line)?;
    match line.verb {
        "ca" => maker.ca(),
        "server" => maker.server(),
        _ => maker.client(),
    }
}
