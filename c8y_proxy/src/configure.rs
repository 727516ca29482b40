//! The configuration of the proxy from the settings: where upstream is, and how the device
//! authenticates.
//!
//! It reads certificates and opens no socket. `http_proxy` is the HTTP proxy for connections to
//! upstream.

mod http_proxy;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use c8y_proxy::cache;
use c8y_proxy::credentials::{BrokerOptions, Health, HttpsOptions, Method, Sources};
use common::client::Options;
use common::error::Error;
use common::net::Origin;
use common::settings::{AuthMethod, Profile, Settings, TokenFrom};
use common::tls::{ClientFiles, ClientTls, ReloadingClient};

use self::http_proxy::HttpProxy;

/// The address of Cumulocity, and how to connect to it.
pub(crate) struct UpstreamOptions {
    pub(crate) options: Options,
    /// The CAs that sign Cumulocity's certificate.
    pub(crate) trust: Arc<ReloadingClient>,
    http_proxy: HttpProxy,
}

/// Reads the address of Cumulocity, and how to connect to it.
///
/// # Errors
///
/// `c8y.url` and `c8y.http` are not set, or the CAs cannot be read.
pub(crate) fn upstream(settings: &Settings) -> Result<UpstreamOptions, Error> {
    let Some(tenant) = &settings.c8y_http else {
        let profile = settings.profile.as_ref();
        return Err(Error::Configuration(format!(
            "{} is not set: name the tenant with \
             `tedge config set c8y.url YOUR-TENANT.cumulocity.com{}`",
            Profile::key(profile, "c8y.url"),
            Profile::option(profile)
        )));
    };
    let origin = tenant.0.clone();
    let trust = ReloadingClient::load(ClientFiles {
        roots: settings.c8y_root_cert_path.clone(),
        roots_key: "c8y.root_cert_path",
        cert_file: None,
        key_file: None,
        auth_prefix: "http.client.auth",
        protocol: Some("http/1.1"),
    })?;
    warn(&trust.warnings());
    let trust = Arc::new(trust);
    let http_proxy = HttpProxy::of(settings);
    warn(&http_proxy.warnings);
    let tls = ClientTls::Reloading(Arc::clone(&trust));
    let proxy = http_proxy.to(&origin, &tls);
    let options = Options { proxy, origin, tls: Some(tls) };
    Ok(UpstreamOptions { options, trust, http_proxy })
}

/// How the device authenticates.
///
/// # Errors
///
/// The broker's certificates cannot be read.
pub(crate) fn method(settings: &Settings, upstream: &UpstreamOptions) -> Result<Method, Error> {
    let file = &settings.c8y_credentials_path;
    match settings.c8y_auth_method {
        AuthMethod::Basic => return Ok(Method::Basic(file.clone())),
        AuthMethod::Auto if file.exists() => return Ok(Method::Basic(file.clone())),
        AuthMethod::Auto | AuthMethod::Certificate => {}
    }
    Ok(Method::Certificate(Box::new(match settings.c8y_proxy_token_source {
        TokenFrom::Mqtt => Sources::Mqtt(broker(settings)?),
        TokenFrom::Https => Sources::Https(https(settings, upstream)),
        TokenFrom::Auto => Sources::Auto(broker(settings)?, https(settings, upstream)),
    })))
}

/// Reads the certificate with which tokens are requested over HTTPS.
///
/// # Errors
///
/// The certificate is missing or cannot be used.
pub(crate) fn identity(method: &Method) -> Result<(), Error> {
    let Method::Certificate(sources) = method else { return Ok(()) };
    if let Sources::Https(https) | Sources::Auto(_, https) = &**sources {
        warn(&https.identity()?.warnings);
    }
    Ok(())
}

fn https(settings: &Settings, upstream: &UpstreamOptions) -> HttpsOptions {
    let origin = settings.c8y_proxy_token_url.as_ref().map(|url| url.0.clone());
    let UpstreamOptions {
        options: Options { origin: Origin { host, .. }, tls, .. },
        trust,
        http_proxy,
    } = upstream;
    let origin = origin.unwrap_or_else(|| Origin { host: host.clone(), port: 8443 });
    let proxy = tls.as_ref().and_then(|tls| http_proxy.to(&origin, tls));
    let client = Options { proxy, origin, tls: tls.clone() };
    HttpsOptions {
        client,
        trust: Arc::clone(trust),
        certificate: settings.device_cert_path.clone(),
        key: settings.device_key_path.clone(),
    }
}

fn broker(settings: &Settings) -> Result<BrokerOptions, Error> {
    let roots = settings
        .mqtt_client_auth_ca_file
        .clone()
        .map(|file| (file, "mqtt.client.auth.ca_file"))
        .or_else(|| {
            settings.mqtt_client_auth_ca_dir.clone().map(|dir| (dir, "mqtt.client.auth.ca_dir"))
        })
        .or_else(|| {
            let wants_tls = settings.mqtt_client_auth_cert_file.is_some()
                || settings.mqtt_client_auth_key_file.is_some();
            wants_tls.then(|| (settings.c8y_root_cert_path.clone(), "c8y.root_cert_path"))
        });
    let trust = roots.map(|(roots, roots_key)| {
        ReloadingClient::load(ClientFiles {
            roots,
            roots_key,
            cert_file: settings.mqtt_client_auth_cert_file.clone(),
            key_file: settings.mqtt_client_auth_key_file.clone(),
            auth_prefix: "mqtt.client.auth",
            protocol: None,
        })
    });
    let trust = trust.transpose()?.map(Arc::new);
    trust.iter().for_each(|trust| warn(&trust.warnings()));
    let password_file = &settings.mqtt_client_auth_password_file;
    let login = settings.mqtt_client_auth_username.clone();
    Ok(BrokerOptions {
        origin: Origin { host: settings.mqtt_client_host.clone(), port: settings.mqtt_client_port },
        login: login.map(|name| (name, password_file.clone())),
        trust,
        runtime_directory: runtime_directory(),
        topic_prefix: settings.c8y_bridge_topic_prefix.clone(),
        health: health(settings),
    })
}

/// The options of the cache; `None` without a cache.
///
/// # Errors
///
/// The path of the cache is relative.
pub(crate) fn cache(settings: &Settings) -> Result<Option<cache::Options>, Error> {
    let Some(max_size) = settings.c8y_proxy_cache_max_size else { return Ok(None) };
    if let Some(path) = settings.c8y_proxy_cache_path.as_ref().filter(|path| path.is_relative()) {
        let key = Profile::key(settings.profile.as_ref(), "c8y.proxy.cache.path");
        return Err(Error::Configuration(format!(
            "{key} is {}, which is relative: begin it with /",
            path.display()
        )));
    }
    let directory = given_by_systemd("CACHE_DIRECTORY");
    Ok(Some(cache::Options {
        directory: directory_of_cache(settings, directory),
        files: settings.files(),
        max_size,
        min_size: settings.c8y_proxy_cache_min_size,
        min_free: settings.http_upload_min_free,
        offline: settings.c8y_proxy_cache_offline,
        paths: settings.c8y_proxy_cache_paths.clone(),
    }))
}

fn directory_of_cache(settings: &Settings, given: Option<PathBuf>) -> PathBuf {
    let directory = settings.c8y_proxy_cache_path.clone().or(given);
    let name = Profile::unit(settings.profile.as_ref(), "c8y-cache");
    directory.unwrap_or_else(|| settings.data_path.join(name))
}

/// The directory of the service's cache, as far as another process can tell.
pub(crate) fn cache_directory(settings: &Settings) -> PathBuf {
    let unit = Profile::unit(settings.profile.as_ref(), "tedge-c8y-proxy");
    let of_unit = Some(Path::new("/var/cache").join(unit));
    directory_of_cache(settings, of_unit.filter(|directory| directory.is_dir()))
}

fn health(settings: &Settings) -> Option<Health> {
    let (root, device) = (&settings.mqtt_topic_root, &settings.mqtt_device_topic_id);
    let service = Profile::unit(settings.profile.as_ref(), "tedge-c8y-proxy");
    let health = settings.c8y_proxy_publish_health.then(|| Health::of(root, device, &service))?;
    if health.is_none() {
        log::warn!(
            "no health is published: mqtt.device_topic_id is '{device}', which is not the topic of a \
             device, such as device/main//"
        );
    }
    health
}

/// The first directory of systemd's `RuntimeDirectory=`, or the directory for temporary files.
fn runtime_directory() -> PathBuf {
    given_by_systemd("RUNTIME_DIRECTORY").unwrap_or_else(std::env::temp_dir)
}

/// The first directory in this variable (systemd.exec(5)).
fn given_by_systemd(variable: &str) -> Option<PathBuf> {
    let given = std::env::var(variable).ok()?;
    given.split(':').next().filter(|first| !first.is_empty()).map(Into::into)
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        log::warn!("{warning}");
    }
}
