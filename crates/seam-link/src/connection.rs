//! An endpoint, as drivers have it.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use seam_core::clock::deadline;
use seam_core::distributor::{Distributor, Port, Sending};
use seam_core::driver::{Caller, Connection, Drained, Receiver, Sender};
use seam_core::{Action, Capabilities, Capability, Error, Peer, Result, SendError, Side};

use crate::carrier::Carrier;
use crate::hub::{Hub, Replier};
use crate::inbox::Inbox;
use crate::listen::Acceptor;
use crate::lock;
use crate::ports::{LinkReceiver, LinkSender, Way};
use crate::remote::Remote;

/// An opened endpoint; dropping it ends it.
pub(crate) struct LinkConnection {
    hub: Arc<Hub>,
    /// Keeps the socket that listens, as long as an endpoint of it is open.
    acceptor: Option<Arc<Acceptor>>,
    carrier: Arc<dyn Carrier>,
}

impl LinkConnection {
    pub(crate) fn new(
        hub: Arc<Hub>,
        acceptor: Option<Arc<Acceptor>>,
        carrier: Arc<dyn Carrier>,
    ) -> Arc<Self> {
        Arc::new(Self { hub, acceptor, carrier })
    }

    /// The way to a requester that was replied to before, if it is still there.
    fn known_replier(&self, reply_to: &[u8]) -> Result<Option<LinkSender>> {
        let mut inner = lock(&self.hub.inner);
        let Some(at) = inner.repliers.iter().position(|known| *known.reply_to == *reply_to) else {
            return Ok(None);
        };
        if inner.repliers[at].remote.is_refused(inner.repliers[at].channel) {
            let gone = inner.repliers.swap_remove(at);
            drop(inner);
            drop(gone.port.close());
            return Err(Error::RequesterGone);
        }
        // The one used last is found first.
        inner.repliers.swap(0, at);
        let Replier { port, remote, .. } = &inner.repliers[0];
        Ok(Some(LinkSender::new(port.clone(), Way::Remote(remote.clone()))))
    }

    fn new_replier(&self, reply_to: &[u8], remote: Arc<Remote>, channel: u8) -> LinkSender {
        let distributor = Distributor::told(self.hub.shared.name.clone());
        let sending = Sending {
            credit: usize::MAX,
            credit_bytes: usize::MAX,
            confirm: self.hub.shared.config.confirm,
            events: self.hub.events.clone(),
        };
        let port = Port::new(distributor.clone(), sending, self.hub.shared.clock().clone());
        remote.open_channel(channel, distributor, port.clone());
        let known = Replier {
            reply_to: reply_to.into(),
            channel,
            remote: remote.clone(),
            port: port.clone(),
        };
        lock(&self.hub.inner).repliers.insert(0, known);
        LinkSender::new(port, Way::Remote(remote))
    }

    /// Waits until `done`, or until the clock has reached `until`.
    async fn wait_settled(&self, until: Duration) {
        let settled = poll_fn(|cx| {
            self.hub.ends.inbox.watch(cx.waker());
            if self.hub.ends.inbox.in_hand() == 0 { Poll::Ready(()) } else { Poll::Pending }
        });
        deadline(&**self.hub.shared.clock(), until, settled).await;
    }
}

#[async_trait]
impl Connection for LinkConnection {
    fn capabilities(&self) -> &Capabilities {
        &self.hub.capabilities
    }

    async fn sender(&self) -> Result<Arc<dyn Sender>> {
        self.hub.check_open()?;
        self.hub.allow(Action::Send)?;
        let way = Way::Hub(self.hub.clone());
        Ok(Arc::new(LinkSender::new(self.hub.port.clone(), way)))
    }

    async fn receiver(&self) -> Result<Box<dyn Receiver>> {
        self.hub.check_open()?;
        if lock(&self.hub.inner).draining {
            return Err(self.hub.shared.closed());
        }
        self.hub.allow(Action::Receive)?;
        self.hub.merge()?;
        Ok(Box::new(LinkReceiver::new(self.hub.clone())))
    }

    async fn caller(&self) -> Result<Caller> {
        if !self.hub.capabilities.has(Capability::Reply) {
            return Err(self.unsupported(Capability::Reply));
        }
        let sender = self.sender().await?;
        let inbox = Inbox::new(self.hub.events.clone());
        let channel = self.hub.ends.callers.add(&inbox)?;
        let instance = hex(&self.hub.shared.instance);
        let reply_to = Bytes::from(format!("{REPLIES}{instance}/{channel}"));
        let receiver = LinkReceiver::of_replies(self.hub.clone(), inbox);
        Ok(Caller::new(sender, Box::new(receiver), reply_to))
    }

    async fn replier(&self, reply_to: &[u8]) -> Result<Arc<dyn Sender>> {
        self.hub.check_open()?;
        if let Some(known) = self.known_replier(reply_to)? {
            return Ok(Arc::new(known));
        }
        let text = std::str::from_utf8(reply_to).ok();
        let parts = text.and_then(|text| text.strip_prefix(REPLIES)?.split_once('/'));
        let found = parts.and_then(|(id, channel)| Some((id, channel.parse::<u8>().ok()?)));
        match found.filter(|(id, channel)| *channel > 0 && id.len() == 32) {
            Some((id, channel)) => {
                let remote = self.hub.find(id).ok_or(Error::RequesterGone)?;
                if remote.is_refused(channel) {
                    return Err(Error::RequesterGone);
                }
                Ok(Arc::new(self.new_replier(reply_to, remote, channel)))
            }
            // Every address of a link is one that a caller made: there is no other to write to.
            None => Err(Error::Denied {
                endpoint: "reply_to".to_owned(),
                reason: "it is no address that a `request` on a link made".to_owned(),
            }),
        }
    }

    async fn accept(&self) -> Result<Option<Arc<dyn Connection>>> {
        let config = &self.hub.shared.config;
        if self.hub.peer.is_some() || config.side == Side::Client || !config.listens {
            return Err(self.unsupported(Capability::Peers));
        }
        self.hub.part()?;
        loop {
            let Some(child) = poll_fn(|cx| self.hub.poll_accept(cx)).await else {
                return Ok(None);
            };
            let Some(peer) = child.peer.clone() else { continue };
            if self.hub.shared.allow(&peer, Action::Send).is_err() {
                let (endpoint, reason) = (self.hub.shared.name.clone(), "you may not send here");
                // Nothing of it was received here.
                drop(child.end_with(&Error::Denied { endpoint, reason: reason.to_owned() }));
                continue;
            }
            return Ok(Some(Self::new(child, None, self.carrier.clone())));
        }
    }

    fn peer(&self) -> Option<&Arc<Peer>> {
        self.hub.peer.as_ref()
    }

    async fn returned(&self) -> Option<SendError> {
        if !self.hub.shared.config.reports_lost {
            return None;
        }
        poll_fn(|cx| self.hub.port.poll_returned(cx)).await
    }

    async fn drain(&self, limit: Duration) -> Result<Drained> {
        let until = self.hub.shared.clock().now().saturating_add(limit);
        lock(&self.hub.inner).draining = true;
        self.hub.ends.inbox.dismiss();
        self.hub.attend();
        self.hub.disturb();
        self.wait_settled(until).await;
        self.hub.port.flush(until).await;
        let repliers: Vec<Arc<Port>> =
            lock(&self.hub.inner).repliers.iter().map(|replier| replier.port.clone()).collect();
        for port in repliers {
            port.flush(until).await;
        }
        let (unsettled, unsent) = self.hub.end();
        let (clock, until) = (self.hub.shared.clock(), until.max(self.soon()));
        if let Some(acceptor) = &self.acceptor {
            acceptor.leave(&self.hub);
            if acceptor.has_ended() {
                deadline(&**clock, until, acceptor.tasks().wait()).await;
            }
        }
        deadline(&**clock, until, self.hub.tasks.wait()).await;
        deadline(&**clock, until, self.carrier.finish()).await;
        Ok(Drained::new(unsettled, unsent))
    }
}

impl LinkConnection {
    /// Long enough for tasks that have nothing to wait for.
    fn soon(&self) -> Duration {
        self.hub.shared.clock().now().saturating_add(Duration::from_millis(500))
    }
}

impl Drop for LinkConnection {
    fn drop(&mut self) {
        // Nobody is left to take what comes back; whoever waits for a receipt gets its own.
        drop(self.hub.end());
        if let Some(acceptor) = &self.acceptor {
            acceptor.leave(&self.hub);
        }
    }
}

impl fmt::Debug for LinkConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkConnection({})", self.hub.shared.name)
    }
}

/// How an address for replies begins.
const REPLIES: &str = "seam-link/";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
