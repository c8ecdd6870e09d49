//! What everything of one endpoint knows.

use std::sync::Arc;

use seam_core::driver::OpenContext;
use seam_core::{Access, Action, Clock, Endpoint, Error, Events, Peer, Result};
use seam_wire::{DEFAULT_MAX_FRAME, EnvelopeLimits, Offers, Open};

use crate::config::{Config, Token};

/// What everything of one endpoint knows.
pub(crate) struct Shared {
    pub(crate) endpoint: Endpoint,
    /// The endpoint without secrets, for errors.
    pub(crate) name: String,
    pub(crate) config: Config,
    pub(crate) token: Option<Token>,
    pub(crate) context: OpenContext,
    /// Who we are to others, as long as we live.
    pub(crate) instance: [u8; 16],
}

impl Shared {
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.context.clock
    }

    pub(crate) fn events(&self) -> &Events {
        &self.context.events
    }

    /// What we say first on a connection.
    pub(crate) fn open(&self) -> Open {
        let limits = &self.config.limits;
        let receives = self.context.side == seam_core::Side::Server;
        Open {
            highest: 2,
            nonce: random(),
            instance: self.instance,
            offers: Offers { sends: true, receives, calls: !receives, accepts: receives },
            token: self.token.is_some(),
            address: self.endpoint.address().into(),
            group: self.config.group.clone(),
            max_message: u64::try_from(limits.payload).unwrap_or(u64::MAX),
            max_frame: u64::try_from(DEFAULT_MAX_FRAME).unwrap_or(u64::MAX),
            envelope: envelope_limits(self),
        }
    }

    /// Whether this peer may do this here.
    pub(crate) fn allow(&self, peer: &Peer, action: Action) -> Result<()> {
        self.context.authorise.allow(&Access { peer, endpoint: &self.endpoint, action })
    }

    pub(crate) fn closed(&self) -> Error {
        Error::Closed { endpoint: self.name.clone() }
    }
}

/// The largest envelope that is taken: what core lets a user send, and what core itself adds to a dead letter.
pub(crate) fn envelope_limits(shared: &Shared) -> EnvelopeLimits {
    let mut limits = EnvelopeLimits::from(&shared.config.limits);
    limits.headers += 8;
    limits.header_bytes += 4 << 10;
    limits
}

/// Random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
