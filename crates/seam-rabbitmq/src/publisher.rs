//! What the task that publishes takes from the way out of a connection, and tells it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use seam_broker::{Outgoing, Unsent};
use seam_core::{Error, Fate, Result};
use tokio::sync::Notify;

use crate::dial::FRAME_MAX_BYTES;
use crate::failure;
use crate::line::Native;
use crate::mapping;
use crate::publish::{Body, Order, Source};
use crate::replies::{PSEUDO_QUEUE, Replies, ask};
use crate::returns::Landing;
use crate::target::Target;
use crate::topology::Topology;

/// Orders of what was admitted, and their fates.
pub(crate) struct Publisher {
    pub(crate) outgoing: Arc<Outgoing<Target>>,
    topology: Arc<Topology>,
    /// Where replies go, if it publishes requests.
    replies: Option<Arc<Replies>>,
    /// Whether something was returned, so that the queue may be gone.
    is_stale: AtomicBool,
}

impl Publisher {
    pub(crate) fn new(
        outgoing: Arc<Outgoing<Target>>,
        topology: Arc<Topology>,
        replies: Option<Arc<Replies>>,
    ) -> Arc<Self> {
        Arc::new(Self { outgoing, topology, replies, is_stale: AtomicBool::new(false) })
    }

    /// What the client takes for a datagram.
    ///
    /// # Errors
    ///
    /// What AMQP cannot carry.
    fn order(&self, unsent: Unsent<Target>) -> Result<Order, (u64, Error)> {
        let Unsent { number, target, mut datagram } = unsent;
        if self.replies.is_some() {
            ask(&mut datagram);
        }
        let view = datagram.view();
        if self.replies.is_none()
            && view.envelope().reply_to.as_deref() == Some(PSEUDO_QUEUE.as_bytes())
        {
            let reason =
                "the broker takes this address only from who waits for a reply; use `request`";
            return Err((number, Error::invalid("reply_to", reason)));
        }
        let written = target.routing_key(view).and_then(|routing_key| {
            let properties = mapping::encode(view, self.outgoing.clock().wall(), LIMIT)?;
            Ok((routing_key, properties))
        });
        let (routing_key, properties) = written.map_err(|error| (number, error))?;
        let (exchange, mandatory) = (target.exchange.clone(), target.mandatory);
        Ok(Order { number, exchange, routing_key, mandatory, properties, body: Body::Of(datagram) })
    }

    /// What became of a datagram whose payload has so many bytes.
    fn answer(&self, landing: Landing, size: usize) -> Result<(), (Fate, Error)> {
        let name = self.outgoing.name();
        match landing {
            Landing::Stored => Ok(()),
            Landing::Returned(reason) => {
                let reason = format!("{reason}: no queue is bound for it; is a receiver declared?");
                Err((Fate::NotSent, Error::Unroutable { endpoint: name.to_owned(), reason }))
            }
            Landing::Refused => Err((Fate::MaybeSent, failure::refused(name))),
            Landing::Lost(error) => match failure::largest(&error).filter(|limit| size > *limit) {
                Some(limit) => {
                    let what = "payload for this broker (`max_message_size`, bytes)";
                    Err((Fate::NotSent, Error::TooLarge { what, size, limit }))
                }
                None => Err((Fate::MaybeSent, failure::of_neighbours(name, &error))),
            },
        }
    }
}

#[async_trait]
impl Source for Publisher {
    async fn prepare(&self, native: &Native) -> Result<()> {
        self.topology.for_sending(native).await
    }

    async fn precede(&self, native: &Native) {
        if self.is_stale.swap(false, Ordering::Relaxed) {
            // If it cannot be made, the next one comes back as this one did.
            drop(self.topology.for_sending(native).await);
        }
    }

    async fn equip(&self, channel: &Channel) -> lapin::Result<Option<Consumer>> {
        if self.replies.is_none() {
            return Ok(None);
        }
        // What direct reply-to asks for: the only consumer that has nothing to acknowledge.
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let queue = PSEUDO_QUEUE.into();
        let tag = "seam-replies".into();
        channel.basic_consume(queue, tag, options, FieldTable::default()).await.map(Some)
    }

    fn take(&self) -> Vec<Order> {
        let unsent = self.outgoing.look(|outbox| outbox.take_unsent(usize::MAX));
        let (mut orders, mut refused) = (Vec::with_capacity(unsent.len()), Vec::new());
        for unsent in unsent {
            match self.order(unsent) {
                Ok(order) => orders.push(order),
                Err(error) => refused.push(error),
            }
        }
        if !refused.is_empty() {
            self.outgoing.change(|outbox, told| {
                for (number, error) in refused {
                    outbox.report(number, Err((Fate::NotSent, error)), told);
                }
            });
        }
        orders
    }

    fn landed(&self, landed: Vec<(u64, Landing)>) {
        self.outgoing.change(|outbox, told| {
            for (number, landing) in landed {
                if matches!(landing, Landing::Returned(_)) {
                    self.is_stale.store(true, Ordering::Relaxed);
                }
                let size = outbox.payload(number);
                outbox.report(number, self.answer(landing, size), told);
            }
        });
    }

    fn lost(&self, error: &Error) {
        self.outgoing.change(|outbox, told| outbox.lose(error, told));
    }

    fn refused(&self, error: &Error) {
        self.outgoing.change(|outbox, told| outbox.refuse(error, told));
    }

    fn came(&self, delivery: lapin::message::Delivery) {
        if let Some(replies) = &self.replies {
            replies.push(delivery);
        }
    }

    fn work(&self) -> &Notify {
        self.outgoing.work()
    }
}

/// What properties and headers of a message may take: a frame, which AMQP does not split, less what a broker or
/// whoever traces messages adds on the way.
pub(crate) const LIMIT: usize =
    FRAME_MAX_BYTES - 4096 - mapping::FRAME_BYTES - mapping::PUBLISH_ID_BYTES;
