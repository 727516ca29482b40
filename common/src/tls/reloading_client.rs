//! TLS of a client whose files can be read again while it is in use.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;

use super::client::{ClientFiles, ClientIdentity};
use crate::error::Error;

/// The configuration of TLS for new connections to servers.
#[derive(Clone, Debug)]
pub enum ClientTls {
    /// Always the same.
    Fixed(Arc<ClientConfig>),
    /// A reload replaces it.
    Reloading(Arc<ReloadingClient>),
}

impl ClientTls {
    /// The configuration for the next connection.
    pub fn config(&self) -> Arc<ClientConfig> {
        match self {
            Self::Fixed(config) => Arc::clone(config),
            Self::Reloading(client) => client.config(),
        }
    }

    /// How often the configuration was replaced. A connection that was opened before the last time
    /// is not used for another request: its server may not be trusted any more.
    pub fn version(&self) -> usize {
        match self {
            Self::Fixed(_) => 0,
            Self::Reloading(client) => client.version.load(Relaxed),
        }
    }
}

/// A client's current configuration. A reload replaces it as a whole.
#[derive(Debug)]
pub struct ReloadingClient {
    files: ClientFiles,
    current: Mutex<ClientIdentity>,
    version: AtomicUsize,
}

impl ReloadingClient {
    /// Reads the files. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// Names the key, the file and the fault.
    pub fn load(files: ClientFiles) -> Result<Self, Error> {
        let current = Mutex::new(files.load()?);
        Ok(Self { files, current, version: AtomicUsize::new(0) })
    }

    /// Reads the files again, and logs the result. On an error the old configuration stays. Blocks
    /// on the disk.
    pub fn reload(&self) {
        let key = self.files.roots_key;
        match self.files.load() {
            Ok(loaded) => {
                *self.current() = loaded.clone();
                self.version.fetch_add(1, Relaxed);
                log::info!("reloaded: {} CAs from {key}", loaded.authorities);
                loaded.warnings.iter().for_each(|warning| log::warn!("{warning}"));
            }
            Err(error) => log::error!("the old CAs from {key} are still used: {error}"),
        }
    }

    /// The configuration for the next connection.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.current().config)
    }

    /// The current verifier of servers.
    pub fn verifier(&self) -> Arc<dyn ServerCertVerifier> {
        Arc::clone(&self.current().verifier)
    }

    /// Possible faults of the files.
    pub fn warnings(&self) -> Vec<String> {
        self.current().warnings.clone()
    }

    fn current(&self) -> MutexGuard<'_, ClientIdentity> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
