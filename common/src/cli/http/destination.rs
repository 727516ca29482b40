//! Chooses the service for a request by the first part of its path, and gives advice if the service
//! does not answer.

use CertificateError::{
    Expired, ExpiredContext, NotValidForName, NotValidForNameContext, UnknownIssuer,
};
use rustls::CertificateError;

use crate::cli::command_line::Exit;
use crate::client;
use crate::error::Error;
use crate::net::Origin;
use crate::settings::Settings;

/// The address of a service, from the settings.
pub(super) struct Destination {
    pub(super) origin: Origin,
    pub(super) is_secure: bool,
    key: &'static str,
}

impl Destination {
    pub(super) fn of(path: &str, settings: &Settings) -> Result<Self, Exit> {
        if path.starts_with("/c8y") {
            return Ok(Self {
                origin: Origin {
                    host: settings.c8y_proxy_client_host.clone(),
                    port: settings.c8y_proxy_client_port,
                },
                is_secure: settings.c8y_proxy_cert_path.is_some(),
                key: "c8y.proxy.client.host",
            });
        }
        if ["/te", "/tedge", "/health"].iter().any(|start| path.starts_with(start)) {
            return Ok(Self {
                origin: Origin {
                    host: settings.http_client_host.clone(),
                    port: settings.http_client_port,
                },
                is_secure: settings.http_cert_path.is_some(),
                key: "http.client.host",
            });
        }
        Err(Error::Failed(format!("Not a local HTTP uri: {path}")).into())
    }

    /// Advice for a request that got no answer: the setting to check, or the command to run.
    pub(super) fn advice(&self, error: &client::Error) -> String {
        let host = &self.origin.host;
        let refused = match error {
            client::Error::Tls { source, .. } => source.get_ref(),
            error if error.was_sent() => return String::new(),
            _ => None,
        };
        match refused.and_then(|refused| refused.downcast_ref()) {
            Some(rustls::Error::AlertReceived(_)) => {
                " (see http.client.auth.cert_file and http.client.auth.key_file)".to_owned()
            }
            Some(rustls::Error::InvalidCertificate(error)) => match error {
                UnknownIssuer => {
                    " (add its CA to those of the system, or to c8y.root_cert_path)".to_owned()
                }
                NotValidForName | NotValidForNameContext { .. } => format!(
                    " (set {} to one of its names, or create a certificate for this one: \
                     `tedge certs server NAME --host {host}`)",
                    self.key
                ),
                Expired | ExpiredContext { .. } => {
                    " (to renew it there: `tedge certs server NAME --force`)".to_owned()
                }
                _ => String::new(),
            },
            _ => format!(" (see {} and {})", self.key, self.key.replace("host", "port")),
        }
    }

    pub(super) fn url(&self, is_secure: bool, path: &str) -> String {
        let scheme = if is_secure { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.origin)
    }
}
