//! The parameters of `memory://`.

use std::time::Duration;

use crate::distributor::Name;
use crate::distributor::{Membership, Sending};
use crate::{
    Confirmation, Endpoint, Events, Kind, Limits, Parameter, Result, Scheme, Shape, Side,
    parameters,
};

pub(super) static SCHEMES: [Scheme; 1] = [Scheme::new("memory", Shape::Address, &PARAMETERS)
    .with_about("within one process; nothing outlives it")];

static PARAMETERS: [Parameter; 12] = [
    parameters::GROUP,
    parameters::PRIVATE,
    parameters::CONFIRM.with_kind(Kind::Choice(&["received", "settled"])).with_default("received"),
    parameters::CREDIT,
    parameters::CREDIT_BYTES,
    parameters::SEND_TIMEOUT,
    parameters::CONNECT_TIMEOUT,
    parameters::RETRY,
    parameters::DEAD_LETTER,
    parameters::SESSION_EXPIRY.with_side(Side::Server),
    parameters::REPLY_ANY,
    parameters::MAX_MESSAGE.with_default("64MiB"),
];

/// What an endpoint asks for.
#[derive(Clone, Debug)]
pub(super) struct Config {
    group: Name,
    credit: usize,
    credit_bytes: usize,
    pub(super) confirm: Confirmation,
    session_expiry: Duration,
    pub(super) reply_any: bool,
    pub(super) limits: Limits,
}

impl Config {
    pub(super) fn new(endpoint: &Endpoint) -> Result<Self> {
        let mut limits = Limits::default();
        if let Some(payload) = endpoint.bytes("max_message") {
            limits.payload = payload;
        }
        let group = match endpoint.text("group") {
            _ if endpoint.flag("private") => Name::Private,
            Some(name) => Name::Named(name.into()),
            None => Name::Default,
        };
        let confirm = match endpoint.text("confirm") {
            Some("settled") => Confirmation::Settled,
            _ => Confirmation::Received,
        };
        Ok(Self {
            group,
            credit: endpoint.count("credit").unwrap_or(usize::MAX),
            credit_bytes: endpoint.bytes("credit_bytes").unwrap_or(usize::MAX),
            confirm,
            session_expiry: endpoint.duration("session_expiry").unwrap_or(Duration::MAX),
            reply_any: endpoint.flag("reply_any"),
            limits,
        })
    }

    pub(super) fn sending(&self, events: Events) -> Sending {
        let Self { credit, credit_bytes, confirm, .. } = *self;
        Sending { credit, credit_bytes, confirm, events }
    }

    /// As a way to one requester. Replies wait for no credit: each answers a request that had its own, and a
    /// server must not stop for a requester that gave up.
    pub(super) fn replying(&self, events: Events) -> Sending {
        Sending { credit: usize::MAX, credit_bytes: usize::MAX, ..self.sending(events) }
    }

    pub(super) fn membership(&self) -> Membership {
        Membership {
            group: self.group.clone(),
            credit: self.credit,
            credit_bytes: self.credit_bytes,
            session_expiry: self.session_expiry,
        }
    }

    /// As a receiver of replies, or of one peer, where groups mean nothing.
    pub(super) fn alone(&self) -> Membership {
        Membership { group: Name::Default, ..self.membership() }
    }

    pub(super) fn group_name(&self) -> Option<&str> {
        match &self.group {
            Name::Named(name) => Some(name),
            Name::Default | Name::Private => None,
        }
    }
}
