//! Who is at the other end, and what it may do.

use std::fmt;
use std::sync::Arc;

use crate::Endpoint;

/// The other end of one link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Tells peers of one listener apart while they live.
    pub id: String,
    /// Where it comes from, as the carrier says it.
    pub address: String,
    /// Who it proved to be; `None` where nothing was proved.
    pub identity: Option<String>,
    /// What else the carrier knows of who it is, by names of the carrier: of a Unix socket `uid`, `gid` and `pid`.
    pub attributes: Vec<(String, String)>,
    /// The group it receives for, if it said one.
    pub group: Option<String>,
}

impl Peer {
    /// A peer that proved nothing and named no group.
    pub fn new(id: impl Into<String>, address: impl Into<String>) -> Self {
        let (id, address) = (id.into(), address.into());
        Self { id, address, identity: None, attributes: Vec::new(), group: None }
    }

    /// Sets who it proved to be.
    #[must_use]
    pub fn with_identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Adds what the carrier knows of who it is.
    #[must_use]
    pub fn with_attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// Sets the group it receives for.
    #[must_use]
    pub fn with_group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }
}

/// What a peer wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Send datagrams to the address.
    Send,
    /// Receive datagrams of the address.
    Receive,
}

/// A question to the hook of [`Registry::authorise`](crate::Registry::authorise).
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// Who asks.
    pub peer: &'a Peer,
    /// For which endpoint.
    pub endpoint: &'a Endpoint,
    /// What for.
    pub action: Action,
}

type Hook = dyn Fn(&Access<'_>) -> bool + Send + Sync;

/// Decides by peer, endpoint and action before a byte of user data is delivered.
#[derive(Clone, Default)]
pub struct Authorise(Option<Arc<Hook>>);

impl Authorise {
    /// Allows what `hook` says yes to.
    pub fn new(hook: impl Fn(&Access<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    /// Asks the hook; without one everything is allowed.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`](crate::Error::Denied) if the hook says no.
    pub fn allow(&self, access: &Access<'_>) -> crate::Result<()> {
        match &self.0 {
            Some(hook) if !hook(access) => Err(crate::Error::Denied {
                endpoint: access.endpoint.to_string(),
                reason: format!("{:?} refused to peer {}", access.action, access.peer.id),
            }),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Authorise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Authorise(hook)" } else { "Authorise(everything)" })
    }
}
