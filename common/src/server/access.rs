//! The access rules of a server: their file, and its reload.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::access::{self, Rules};
use crate::error::Error;
use crate::staging;
use crate::tls::Fingerprint;

/// A file of rules, and the setting that names it.
#[derive(Clone, Debug)]
pub struct RulesFile {
    /// The setting.
    pub key: &'static str,
    /// The file. `None`: there are no rules.
    pub path: Option<PathBuf>,
}

/// The current rules. A reload replaces all of them.
pub(crate) struct ReloadingRules {
    file: RulesFile,
    current: Mutex<CurrentRules>,
}

struct CurrentRules {
    rules: Arc<Rules>,
    fingerprint: Fingerprint,
}

impl RulesFile {
    /// Reads the rules, or root's copy of them. `None`: no file is set.
    ///
    /// The error names the setting, the file, the line and the fault. Blocks on the disk.
    pub fn load(&self) -> Result<Option<Rules>, Error> {
        let Some(path) = &self.path else { return Ok(None) };
        let say = |what: &dyn Display| format!("{}: {} {what}", self.key, path.display());
        let content = staging::read(path).map_err(|why| why.with(say(&why)))?;
        access::parse(&content).map(Some).map_err(|flaw| Error::Configuration(say(&flaw)))
    }

    /// Warnings about rules that are probably meant otherwise.
    pub(crate) fn doubts(&self, rules: &Rules) -> Vec<String> {
        let prefixes: &[&str] = match self.key {
            "http.access_path" => &["te/v1/files/", "tedge/file-transfer/"],
            _ => &["c8y/"],
        };
        let shown = self.path.as_deref().unwrap_or_else(|| Path::new("")).display();
        let doubts = rules.doubts(prefixes).into_iter();
        doubts.map(|(line, doubt)| format!("{}: {shown} line {line}: {doubt}", self.key)).collect()
    }

    pub(crate) fn reloading(self) -> Result<Option<ReloadingRules>, Error> {
        // Taken before reading, so that a change during the reading is noticed later.
        let fingerprint = self.fingerprint();
        let Some(rules) = self.load()? else { return Ok(None) };
        let current = CurrentRules { rules: Arc::new(rules), fingerprint };
        Ok(Some(ReloadingRules { file: self, current: Mutex::new(current) }))
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::take(&[self.path.as_deref()])
    }
}

impl ReloadingRules {
    /// The rules for the next request.
    pub(crate) fn current(&self) -> Arc<Rules> {
        Arc::clone(&self.lock().rules)
    }

    /// Reads the file again. On an error the old rules stay. Blocks on the disk.
    pub(crate) fn reload(&self) -> Result<Arc<Rules>, Error> {
        let fingerprint = self.file.fingerprint();
        let loaded = self.file.load();
        // A file with a fault is tried again only after it has changed.
        if !matches!(loaded, Err(Error::Failed(_))) {
            self.lock().fingerprint = fingerprint;
        }
        if let Some(rules) = loaded? {
            self.file.doubts(&rules).iter().for_each(|doubt| log::warn!("{doubt}"));
            self.lock().rules = Arc::new(rules);
        }
        Ok(self.current())
    }

    /// Whether the file has changed since it was last read, successfully or not. Blocks on the disk.
    pub(crate) fn changed(&self) -> bool {
        let fingerprint = self.file.fingerprint();
        self.lock().fingerprint != fingerprint
    }

    fn lock(&self) -> MutexGuard<'_, CurrentRules> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
