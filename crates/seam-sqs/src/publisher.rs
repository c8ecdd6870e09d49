//! What the task that sends takes from the way out of a connection, and tells it.

use std::sync::Arc;
use std::time::Duration;

use seam_broker::{Outgoing, Unsent};
use seam_core::{Error, Fate, Result};

use crate::mapping::{self, MOST_PACKED};
use crate::packing::{Entry, Form, Order};
use crate::replies;
use crate::target::Target;

/// Messages of what was admitted, and their fates.
pub(crate) struct Publisher {
    pub(crate) outgoing: Arc<Outgoing<Target>>,
    /// What stands for the key of datagrams without one.
    sender: String,
}

/// What became of one message.
pub(crate) type Answer = (u64, Result<(), (Fate, Error)>);

impl Publisher {
    pub(crate) fn new(outgoing: Arc<Outgoing<Target>>) -> Self {
        Self { outgoing, sender: replies::instance() }
    }

    /// What was admitted since the last call, as messages.
    pub(crate) fn take_fresh(&self) -> Vec<Entry> {
        let fresh = self.outgoing.look(|outbox| outbox.take_fresh(usize::MAX));
        let (mut entries, mut refused) = (Vec::with_capacity(fresh.len()), Vec::new());
        for unsent in fresh {
            let number = unsent.number;
            match self.entry(unsent) {
                Ok(entry) => entries.push(entry),
                Err(error) => refused.push((number, Err((Fate::NotSent, error)))),
            }
        }
        if !refused.is_empty() {
            self.answer(refused);
        }
        entries
    }

    /// The message of a datagram.
    ///
    /// # Errors
    ///
    /// What SQS cannot carry.
    fn entry(&self, unsent: Unsent<Target>) -> Result<Entry> {
        let Unsent { number, target, datagram } = unsent;
        let view = datagram.view();
        let order = target.is_fifo.then(|| {
            let id = view.envelope().id.as_ref();
            let duplicate = id.map_or_else(replies::instance, mapping::deduplication);
            let group = match target.is_spread {
                true => mapping::group(view, &replies::instance()),
                false => mapping::group(view, &self.sender),
            };
            Order { group: group.into(), duplicate }
        });
        let wait = view.envelope().deliver_at.filter(|_| !target.is_fifo);
        let wait = wait.map(|at| at.saturating_since(self.outgoing.clock().wall()));
        let delay = wait.filter(|wait| !wait.is_zero()).map(seconds);
        let part = (target.packs && delay.is_none()).then(|| mapping::packed(view));
        let form = match part.filter(|part| part.len() <= MOST_PACKED.min(target.largest)) {
            Some(part) => Form::Packed(part, datagram),
            None => Form::Alone(Arc::new(mapping::encode(view, target.is_fifo, target.largest)?)),
        };
        Ok(Entry { number, target, form, order, delay, doubt: None })
    }

    /// Those of `batch` that nobody has taken back; they leave now.
    pub(crate) fn leaving(&self, batch: &[Entry]) -> Vec<Entry> {
        self.outgoing.look(|outbox| {
            let leaving = batch.iter().filter(|entry| outbox.leaves(entry.number));
            leaving.cloned().collect()
        })
    }

    /// It is proved that these are not stored.
    pub(crate) fn came_back<'a>(&self, entries: impl Iterator<Item = &'a Entry>) {
        self.outgoing.look(|outbox| entries.for_each(|entry| outbox.came_back(entry.number)));
    }

    /// Notes what became of messages.
    pub(crate) fn answer(&self, answers: Vec<Answer>) {
        self.outgoing.change(|outbox, told| {
            for (number, answer) in answers {
                outbox.report(number, answer, told);
            }
        });
    }
}

/// In whole seconds, and no less than asked for.
pub(crate) fn seconds(duration: Duration) -> i32 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(whole).unwrap_or(i32::MAX)
}
