//! Reads the configuration file again, on SIGHUP or on request. What can change while the proxy
//! runs changes in all workers at once; a file with a mistake changes nothing.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use slotway::engine::{Agreed, Options};
use tokio::sync::watch;

use super::facts::unix_ms;
use super::metrics::ControlMetrics;
use crate::cli::Flags;
use crate::config::Config;

/// Knows the file, and what it has said.
pub(crate) struct Reloader {
    file: Option<PathBuf>,
    flags: Flags,
    /// What the proxy was started with.
    started: Config,
    /// What the file said when it was last read.
    last: RefCell<Options>,
    agreed: Arc<watch::Sender<Arc<Agreed>>>,
    metrics: Arc<ControlMetrics>,
}

impl Reloader {
    pub(super) fn new(
        config: &Config,
        flags: &Flags,
        agreed: Arc<watch::Sender<Arc<Agreed>>>,
        metrics: Arc<ControlMetrics>,
    ) -> Rc<Self> {
        metrics.reload_successful.set(1);
        metrics.reload_unix_ms.set(unix_ms() as i64);
        Rc::new(Self {
            file: flags.config.clone(),
            flags: flags.clone(),
            started: config.clone(),
            last: RefCell::new(config.engine_options(0)),
            agreed,
            metrics,
        })
    }

    /// What has come of it, in words for whoever asked; it is logged, too.
    ///
    /// # Errors
    /// When there is no file, or it has mistakes: then everything stays as it is.
    pub(crate) fn reload(&self) -> Result<String, String> {
        let outcome = self.read_again();
        match &outcome {
            Ok(text) => {
                self.metrics.reloads.inc();
                self.metrics.reload_unix_ms.set(unix_ms() as i64);
                tracing::info!("configuration read again: {text}");
            }
            Err(problem) => {
                self.metrics.reloads_failed.inc();
                tracing::error!("configuration not taken over: {problem}");
            }
        }
        let successful = i64::from(outcome.is_ok());
        self.metrics.reload_successful.set(successful);
        outcome
    }

    fn read_again(&self) -> Result<String, String> {
        let Some(file) = &self.file else {
            let problem = "there is no file; name one with --config when starting the proxy";
            return Err(problem.to_owned());
        };
        let mut config = crate::load(file).map_err(|error| error.to_string())?;
        self.flags.apply(&mut config);
        let options = config.engine_options(0);
        let changes = Agreed::between(&self.last.borrow(), &options);
        let later = self.started.differing(&config);
        let mut said = Vec::new();
        if !changes.is_empty() {
            said.push(format!("changed {changes}"));
            self.agreed
                .send_modify(|all| Arc::make_mut(all).merge(&changes));
        }
        if !later.is_empty() {
            said.push(format!("needs a restart: {}", later.join(", ")));
        }
        if said.is_empty() {
            said.push("nothing has changed".to_owned());
        }
        self.last.replace(options);
        Ok(said.join("; "))
    }
}

#[cfg(test)]
impl Reloader {
    /// For who has nothing to reload.
    pub(crate) fn without_file() -> Rc<Self> {
        let (agreed, _) = watch::channel(Arc::default());
        let (config, flags) = (Config::default(), Flags::default());
        Self::new(&config, &flags, Arc::new(agreed), Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_taken_over_as_far_as_it_can_be() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str| fs::write(file.path(), text).unwrap();
        write("");
        let (sender, mut agreed) = watch::channel(Arc::default());
        let metrics: Arc<ControlMetrics> = Arc::default();
        let mut flags = Flags::default();
        flags.config = Some(file.path().to_owned());
        let config = Config::default();
        let reloader = Reloader::new(&config, &flags, Arc::new(sender), Arc::clone(&metrics));
        assert_eq!(reloader.reload().unwrap(), "nothing has changed");
        assert!(!agreed.has_changed().unwrap());

        write("[cluster]\nhold_timeout_ms = 7\n[admin]\nlisten = ''");
        let said = reloader.reload().unwrap();
        assert_eq!(
            said,
            "changed hold_timeout_ms = 7; needs a restart: admin_listen"
        );
        assert_eq!(
            agreed.borrow_and_update().to_string(),
            "hold_timeout_ms = 7"
        );

        write("[cluster]\nhold_timeout_ms = 8\nredirects_max = 0");
        let problem = reloader.reload().unwrap_err();
        assert!(problem.contains("redirects_max"), "{problem}");
        assert!(!agreed.has_changed().unwrap(), "all of it or nothing");
        assert_eq!(metrics.reload_successful.value(), 0);
        assert_eq!(metrics.reloads_failed.value(), 1);

        write("[cluster]\nredirects_max = 9");
        let said = reloader.reload().unwrap();
        assert_eq!(said, "changed hold_timeout_ms = 10000, redirects_max = 9");
        assert_eq!(metrics.reload_successful.value(), 1);
        assert_eq!(metrics.reloads.value(), 3);
    }
}
