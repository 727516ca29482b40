//! The program of the Cumulocity Proxy: builds [`c8y_proxy::routes`] from the settings.

mod configure;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use c8y_proxy::State;
use c8y_proxy::cache::{self, files};
use c8y_proxy::credentials::{Credentials, Method};
use common::cli::{CacheFiles, FetchedToken, TokenFetcher};
use common::client::Client;
use common::error::Error;
use common::http::Routes;
use common::run::{self, Context, Listen, Service};
use common::server::{BrowserRules, RulesFile};
use common::settings::Settings;
use common::tasks::unblock;
use common::tls::ServerFiles;

fn main() -> ExitCode {
    run::main::<C8yProxy>()
}

struct C8yProxy;

impl Service for C8yProxy {
    const PROGRAM: &'static str = "tedge-c8y-proxy";
    const SUMMARY: &'static str = "the Cumulocity REST API, with the device's credentials added";
    // If a client closes its connection, its upstream request is dropped.
    const HALF_CLOSE: bool = false;
    // A name server that does not answer occupies one thread for each connection that is opened.
    const POOL: usize = 8;

    const PROFILES: bool = true;
    const FETCH_TOKEN: Option<TokenFetcher> = Some(TokenFetcher(fetch_token));

    const CACHE: Option<CacheFiles> = Some(CacheFiles {
        list: |settings| files::list(&configure::cache_directory(settings)),
        remove: |settings, named| files::remove(&configure::cache_directory(settings), named),
    });

    fn listen(settings: &Settings) -> Listen {
        Listen {
            address: (settings.c8y_proxy_bind_address, settings.c8y_proxy_bind_port).into(),
            tls: ServerFiles {
                prefix: "c8y.proxy",
                cert_path: settings.c8y_proxy_cert_path.clone(),
                key_path: settings.c8y_proxy_key_path.clone(),
                ca_path: settings.c8y_proxy_ca_path.clone(),
                crl_path: settings.c8y_proxy_crl_path.clone(),
            },
            browsers: BrowserRules::new(
                "c8y.proxy",
                &settings.c8y_proxy_client_host,
                &settings.c8y_proxy_allowed_hosts,
                &settings.c8y_proxy_allowed_origins,
            ),
            access: RulesFile {
                key: "c8y.proxy.access_path",
                path: settings.c8y_proxy_access_path.clone(),
            },
            connections: settings.c8y_proxy_connections_max,
            descriptors: 2,
        }
    }

    fn check(settings: &Settings, _config_dir: &Path) -> Result<(), Error> {
        let upstream = configure::upstream(settings)?;
        let method = configure::method(settings, &upstream)?;
        method.check()?;
        configure::identity(&method)?;
        // The service starts without a cache if its directory cannot be used.
        if configure::cache(settings)?.is_some() {
            let unusable =
                cache::check(&configure::cache_directory(settings), &settings.files()).err();
            unusable
                .into_iter()
                .for_each(|error| log::warn!("the service would cache nothing: {error}"));
        }
        Ok(())
    }

    fn routes(settings: &Settings, context: &Context) -> Result<Routes, Error> {
        let upstream = configure::upstream(settings)?;
        let host = upstream.options.origin.host_field(443);
        log::info!("Cumulocity is at https://{host}");
        if let Some(proxy) = &upstream.options.proxy {
            log::info!("Cumulocity is reached through the HTTP proxy at {}", proxy.origin);
        }
        let method = configure::method(settings, &upstream)?;
        // The certificate may be created later: it is read for each token.
        if let Err(error) = configure::identity(&method) {
            log::warn!("{error}");
        }
        let trusts = [Some(upstream.trust), method.trust()];
        let client = Client::new(upstream.options, Arc::clone(&context.executor));
        // The MQTT library allocates 125 KB that it never writes to. Without this call, it would
        // get pages that were written while the roots were read, and these would stay resident.
        run::give_back_memory();
        let credentials = Credentials::new(method, &context.executor)?;
        let client = surf::Client::with_http_client(client);
        let state = State::new(&host, client, credentials, Arc::clone(&context.draining))?;
        let state = match configure::cache(settings)? {
            Some(options) => state.with_cache(options, Arc::clone(&context.executor)),
            None => state,
        };
        Ok(c8y_proxy::routes(state).with_reload(move || {
            let trusts = trusts.clone();
            Box::pin(unblock(move || trusts.iter().flatten().for_each(|trust| trust.reload())))
        }))
    }
}

fn fetch_token(settings: &Settings) -> Result<FetchedToken, Error> {
    match configure::method(settings, &configure::upstream(settings)?)? {
        Method::Certificate(sources) => sources.fetch(),
        Method::Basic(path) => Err(Error::Failed(format!(
            "the credentials are the user name and password in {}, so there is no token: see \
             c8y.auth_method",
            path.display()
        ))),
    }
}
