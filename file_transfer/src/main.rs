//! The program of the File Transfer Service: builds [`file_transfer::routes`] from the settings.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use common::error::Error;
use common::http::Routes;
use common::net::{Host, Origin};
use common::run::{self, Context, Listen, Service};
use common::server::{BrowserRules, RulesFile};
use common::settings::Settings;
use common::storage::JOBS;
use common::tasks::spawn;
use common::tls::ServerFiles;
use file_transfer::State;
use file_transfer::storage::{Limits, Options, Storage};
use rustix::system::uname;

fn main() -> ExitCode {
    run::main::<FileTransfer>()
}

struct FileTransfer;

impl Service for FileTransfer {
    const PROGRAM: &'static str = "tedge-file-transfer";
    const SUMMARY: &'static str = "file transfer between a device and its child devices";
    const HALF_CLOSE: bool = true;
    const POOL: usize = JOBS;

    fn listen(settings: &Settings) -> Listen {
        Listen {
            address: (settings.http_bind_address, settings.http_bind_port).into(),
            tls: ServerFiles {
                prefix: "http",
                cert_path: settings.http_cert_path.clone(),
                key_path: settings.http_key_path.clone(),
                ca_path: settings.http_ca_path.clone(),
                crl_path: settings.http_crl_path.clone(),
            },
            browsers: BrowserRules::new(
                "http",
                &settings.http_client_host,
                &settings.http_allowed_hosts,
                &settings.http_allowed_origins,
            ),
            access: RulesFile { key: "http.access_path", path: settings.http_access_path.clone() },
            connections: settings.http_connections_max,
            descriptors: 3,
        }
    }

    fn check(settings: &Settings, _config_dir: &Path) -> Result<(), Error> {
        agent(settings)?;
        limits(settings);
        Ok(())
    }

    fn routes(settings: &Settings, context: &Context) -> Result<Routes, Error> {
        let storage = Storage::open(Options {
            directory: settings.files(),
            max_size: settings.http_upload_max_size,
            min_free: settings.http_upload_min_free,
            sync: settings.http_upload_sync,
            limits: limits(settings),
        })?;
        if storage.has_limits() {
            spawn(&context.executor, storage.clone().sweep_regularly()).detach();
        }
        let mut state = State::new(storage, context.draining.clone());
        if let Some(agent) = agent(settings)? {
            log::info!("The entities of tedge-agent are at http://{agent}");
            state = state.with_agent(agent.clone(), Arc::clone(&context.executor));
        }
        Ok(file_transfer::routes(state))
    }
}

fn agent(settings: &Settings) -> Result<Option<&Origin>, Error> {
    let own = SocketAddr::from((settings.http_bind_address, settings.http_bind_port));
    let agent = settings.http_agent_address.as_ref().map(|address| &address.0);
    if let Some(agent) = agent.filter(|agent| leads_to(agent, own)) {
        return Err(Error::Configuration(format!(
            "http.agent.address is {agent}, where this service itself listens: set it to the address \
             of tedge-agent, unset it, or choose another http.bind.port"
        )));
    }
    Ok(agent)
}

/// Whether a connection to this origin would reach a socket with this address on this machine.
fn leads_to(origin: &Origin, own: SocketAddr) -> bool {
    let (own_ip, is_any) = (own.ip().to_canonical(), own.ip().is_unspecified());
    let is_here = |address: IpAddr| UdpSocket::bind((address, 0)).is_ok();
    origin.port == own.port()
        && match &origin.host {
            Host::Name(name) if name.eq_ignore_ascii_case("localhost") => {
                is_any || own_ip.is_loopback()
            }
            Host::Name(name) => {
                is_any && name.as_bytes().eq_ignore_ascii_case(uname().nodename().to_bytes())
            }
            // A connection to 0.0.0.0 or :: is one to this machine.
            Host::Address(address) if address.is_unspecified() => is_any || own_ip.is_loopback(),
            Host::Address(address) => {
                address.to_canonical() == own_ip || is_any && is_here(*address)
            }
        }
}

/// The settings of expiry and quota.
fn limits(settings: &Settings) -> Limits {
    let max_age = settings.http_files_max_age;
    let max_total = settings.http_files_max_total;
    let make_room = settings.http_files_make_room;
    if make_room && max_total.is_none() {
        log::warn!("http.files.make_room has no effect without http.files.max_total");
    }
    Limits { max_age, max_total, make_room }
}
