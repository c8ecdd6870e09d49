//! What a producer gives its client: several datagrams at once where they have neither headers nor a time, and in any
//! case in order.

use std::ops::ControlFlow;

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use seam_core::{Error, View};

use super::{Producer, Wire};
use crate::mapping;
use crate::outbox::Given;
use crate::replies::{Address, CALLER};
use crate::way::Target;
use crate::write::Lot;

/// Writes to a client, under the lock of its producer.
pub(super) struct Writing<'a> {
    pub(super) producer: &'a Producer,
    pub(super) wire: &'a Wire,
    pub(super) target: &'a Target,
    /// Whether something is under way, whose end makes room.
    pub(super) under_way: bool,
}

impl Writing<'_> {
    /// Writes `views`, of which the first is to be reported by the number `first`, while there is room.
    pub(super) fn write(mut self, views: &mut dyn Iterator<Item = View<'_>>, first: u64) -> Given {
        let mut given = Given::default();
        let _ = self.all(views, first, &mut given);
        given
    }

    fn all<'v>(
        &mut self,
        views: &mut dyn Iterator<Item = View<'v>>,
        first: u64,
        given: &mut Given,
    ) -> ControlFlow<()> {
        let mut lot = Lot::default();
        // A reply may go elsewhere.
        let is_own = matches!(self.target, Target::Topic { name, .. } if self.wire.sink.is(name));
        for (number, view) in (first..).zip(views) {
            let Ok(number) = usize::try_from(number) else {
                self.together(&mut lot, given)?;
                self.note(Err(Code::InvalidArgument), view.size(), given)?;
                continue;
            };
            let headers = mapping::headers(view);
            if is_own && headers.is_empty() {
                lot.push(view, self.target.partition(view), number);
                if lot.is_full() {
                    self.together(&mut lot, given)?;
                }
            } else {
                self.together(&mut lot, given)?;
                let outcome = self.alone(view, headers, number);
                self.note(outcome, view.size(), given)?;
            }
        }
        self.together(&mut lot, given)
    }

    /// Writes what is gathered.
    fn together(&mut self, lot: &mut Lot<'_>, given: &mut Given) -> ControlFlow<()> {
        if lot.is_empty() {
            return ControlFlow::Continue(());
        }
        let wire = self.wire;
        lot.write(&wire.sink, |outcome, size| self.note(outcome, size, given))
    }

    fn alone<'h>(
        &'h self,
        view: View<'_>,
        mut headers: Vec<mapping::Header<'h>>,
        number: usize,
    ) -> Result<(), Code> {
        let mut record = BaseRecord::with_opaque_to(self.target.topic(), number);
        record.key = view.key();
        record.payload = view.payload();
        record.partition = self.target.partition(view);
        match self.target {
            Target::Reply(Address { caller, .. }) => {
                headers.push((CALLER.into(), Some(caller.as_bytes().into())));
            }
            Target::Topic { .. } => {
                let Producer { rules, clock, .. } = self.producer;
                record.timestamp = rules.timestamp(view, clock.wall());
            }
        }
        if !headers.is_empty() {
            let all = OwnedHeaders::new_with_capacity(headers.len());
            record.headers = Some(headers.iter().fold(all, |all, (name, value)| {
                all.insert(Header { key: name, value: value.as_deref() })
            }));
        }
        let sent = self.wire.client.send(record);
        sent.map_err(|(error, _)| error.rdkafka_error_code().unwrap_or(Code::Fail))
    }

    /// Notes what became of the next; goes on unless there is no room for it.
    fn note(
        &mut self,
        outcome: Result<(), Code>,
        size: usize,
        given: &mut Given,
    ) -> ControlFlow<()> {
        match outcome {
            Ok(()) => self.under_way = true,
            Err(Code::QueueFull) if self.under_way => return ControlFlow::Break(()),
            Err(code) => given.refused.push((given.count, self.refusal(size, code))),
        }
        given.count += 1;
        ControlFlow::Continue(())
    }

    /// Why the client does not take what has `size` bytes.
    fn refusal(&self, size: usize, code: Code) -> Error {
        match code {
            Code::MessageSizeTooLarge => Error::TooLarge {
                what: "datagram with key, headers and fields (bytes)",
                size,
                limit: self.producer.limit,
            },
            other => self.producer.failure(Some(&self.wire.client), other),
        }
    }
}
