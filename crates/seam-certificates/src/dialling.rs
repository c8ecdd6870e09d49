//! What is shown and trusted by whoever dials, read once for all that dial alike.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;
use seam_core::{Error, Event, Result};

use crate::{Reloaded, Settings};

/// Names of what is spoken inside, as ALPN has them.
pub type Protocols = &'static [&'static [u8]];

/// Configurations for dialling, each read again when its files change.
#[derive(Default)]
pub struct Dialling {
    given: Option<Arc<ClientConfig>>,
    known: Mutex<Known>,
}

type Known = HashMap<(Settings, Protocols), Arc<Reloaded<ClientConfig>>>;

/// How many sets of files are remembered; a program has a few.
const REMEMBERED: usize = 64;

impl Dialling {
    /// One that reads nothing: everybody dials with `config`, but for what is spoken inside.
    #[must_use]
    pub fn with_config(config: Arc<ClientConfig>) -> Self {
        Self { given: Some(config), known: Mutex::default() }
    }

    /// What to show and trust now, and what happened when that was read again.
    ///
    /// # Errors
    ///
    /// As [`Settings::client`], at the first call with these settings.
    pub fn config(
        &self,
        settings: Settings,
        protocols: Protocols,
    ) -> Result<(Arc<ClientConfig>, Option<Event>)> {
        if let Some(given) = &self.given {
            let mut config = ClientConfig::clone(given);
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            return Ok((Arc::new(config), None));
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (settings, protocols);
        if let Some(known) = known.get(&key) {
            return Ok(match known.look() {
                Ok(config) => (config, None),
                Err(error) => (known.current(), Some(kept(&error))),
            });
        }
        let settings = key.0.clone();
        let made = Reloaded::new(settings.files(), move || settings.client(protocols))?;
        let config = made.current();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(key, Arc::new(made));
        Ok((config, None))
    }
}

impl fmt::Debug for Dialling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialling").field("given", &self.given.is_some()).finish_non_exhaustive()
    }
}

/// What is told where files that changed cannot be used.
#[must_use]
pub fn kept(error: &Error) -> Event {
    Event::ReloadFailed { reason: format!("{error}; what was read before is used on") }
}
