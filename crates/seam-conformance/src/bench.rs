//! What a behaviour works with: fresh addresses, deadlines, stamped messages, and the ledger that counts them.

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::{join, try_join_all};
use seam_core::{
    Batch, Capability, Connection, Datagram, Delivery, Drained, Lent, Receipts, Receiver, Registry,
    Sender, Side, Ticket, clock,
};

use crate::ledger::{Ledger, Outcome, Stamp};
use crate::line::Line;
use crate::options::{End, Options, Subject};
use crate::report::{Check, Stop, ensure};

/// One behaviour's run on one subject.
pub(crate) struct Bench<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) options: &'a Options,
    pub(crate) ledger: Ledger,
    uri: &'a str,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// URIs to be removed at the end.
    opened: Vec<String>,
    numbers: u64,
    /// Numbers that were posted and are not settled.
    open: HashSet<u64>,
}

/// Part of every address, so that no two runs meet.
static RUN: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish() >> 32);
static ADDRESSES: AtomicU64 = AtomicU64::new(0);

impl<'a> Bench<'a> {
    pub(crate) fn new(subject: &'a Subject) -> Self {
        Self {
            registry: &subject.registry,
            options: &subject.options,
            ledger: Ledger::new(),
            uri: &subject.uri,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes every address that was used.
    pub(crate) async fn clean_up(&self) -> Check {
        let mut opened = std::mem::take(&mut self.state().opened);
        opened.sort_unstable();
        opened.dedup();
        for uri in opened {
            self.within("removing an address", self.registry.remove(uri.as_str())).await??;
        }
        Ok(())
    }

    /// An address that nobody else uses; a suffix such as `.fifo` is kept.
    pub(crate) fn address(&self) -> Check<String> {
        let endpoint = self.registry.endpoint(self.uri)?;
        let number = ADDRESSES.fetch_add(1, Ordering::Relaxed);
        let (stem, suffix) = match endpoint.address().rsplit_once('.') {
            Some((stem, suffix)) => (stem, format!(".{suffix}")),
            None => (endpoint.address(), String::new()),
        };
        Ok(format!("{stem}-{:x}-{number:x}{suffix}", *RUN))
    }

    /// The URI of one end of `address`, with more parameters: `a=1&b`.
    pub(crate) fn uri(&self, end: End<'_>, parameters: &str) -> Check<String> {
        let mut uri = match &self.options.uri {
            Some(uri) => uri(&end),
            None => {
                let endpoint = self.registry.endpoint(self.uri)?;
                match endpoint.address().is_empty() {
                    true => endpoint.uri().expose(),
                    false => endpoint.with_address(end.address)?.uri().expose(),
                }
            }
        };
        self.state().opened.push(uri.clone());
        if !parameters.is_empty() {
            uri.push(if uri.contains('?') { '&' } else { '?' });
            uri.push_str(parameters);
        }
        Ok(uri)
    }

    /// Whether the scheme takes this parameter.
    pub(crate) fn takes(&self, parameter: &str) -> Check<bool> {
        Ok(self.registry.endpoint(self.uri)?.takes(parameter))
    }

    pub(crate) async fn client(&self, address: &str, parameters: &str) -> Check<Connection> {
        self.open(End::of_hub(address, Side::Client), parameters).await
    }

    pub(crate) async fn server(&self, address: &str, parameters: &str) -> Check<Connection> {
        self.open(End::of_hub(address, Side::Server), parameters).await
    }

    pub(crate) async fn open(&self, end: End<'_>, parameters: &str) -> Check<Connection> {
        let uri = self.uri(end, parameters)?;
        let opened = match end.side {
            Side::Client => {
                self.within("opening the client", self.registry.client(uri.as_str())).await?
            }
            Side::Server => {
                self.within("opening the server", self.registry.server(uri.as_str())).await?
            }
        };
        Ok(opened?)
    }

    /// A client and a server of a fresh address, with a sender and a receiver.
    pub(crate) async fn line(&self) -> Check<Line<'_>> {
        self.line_with("", "").await
    }

    /// The same, with parameters of the client and of the server.
    pub(crate) async fn line_with(&self, client: &str, server: &str) -> Check<Line<'_>> {
        self.connect(client, server, End::new).await
    }

    /// The same, with a server that others may join or take over from.
    pub(crate) async fn shared_line(&self, server: &str) -> Check<Line<'_>> {
        self.connect("", server, End::of_pool).await
    }

    /// The same, with a server that has more clients.
    pub(crate) async fn hub_line(&self) -> Check<Line<'_>> {
        self.connect("", "", End::of_hub).await
    }

    async fn connect(
        &self,
        client: &str,
        server: &str,
        end: for<'b> fn(&'b str, Side) -> End<'b>,
    ) -> Check<Line<'_>> {
        let address = self.address()?;
        let server = self.open(end(&address, Side::Server), server);
        let client = self.open(end(&address, Side::Client), client);
        let (server, client) = join(server, client).await;
        let (client, server) = (client?, server?);
        let receiver = self.receiver(&server).await?;
        let sender = self.sender(&client).await?;
        Ok(Line::new(self, address, client, server, sender, receiver))
    }

    /// One client, and servers with these parameters.
    pub(crate) async fn pool(&self, servers: &[&str]) -> Check<(Connection, Vec<Connection>)> {
        let address = self.address()?;
        let end = |side| End::of_pool(&address, side);
        let servers = servers.iter().map(|parameters| self.open(end(Side::Server), parameters));
        let client = self.open(end(Side::Client), "");
        let (servers, client) = join(try_join_all(servers), client).await;
        Ok((client?, servers?))
    }

    pub(crate) async fn sender(&self, connection: &Connection) -> Check<Sender> {
        Ok(self.within("making a sender", connection.sender()).await??)
    }

    pub(crate) async fn receiver(&self, connection: &Connection) -> Check<Receiver> {
        Ok(self.within("making a receiver", connection.receiver()).await??)
    }

    /// Drains `connection` with time enough.
    pub(crate) async fn drain(&self, connection: &Connection) -> Check<Drained> {
        let drain = connection.drain(self.options.deadline());
        Ok(self.within("the drain", drain).await??)
    }

    /// Drains `connection`, whatever it leaves.
    pub(crate) async fn end(&self, connection: &Connection) -> Check {
        self.drain(connection).await.map(drop)
    }

    /// What `future` yields, or a failure that says what never came.
    pub(crate) async fn within<F: Future>(&self, what: &str, future: F) -> Check<F::Output> {
        let limit = self.options.deadline();
        match self.until(limit, future).await {
            Some(output) => Ok(output),
            None => Err(Stop::failed(format!("{what} did not end within {limit:?}"))),
        }
    }

    /// What `future` yields within `limit`.
    pub(crate) async fn until<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        let clock = &**self.registry.clock();
        clock::deadline(clock, clock.now().saturating_add(limit), future).await
    }

    /// Fails where `future` comes to an end within a short while, although it should not.
    pub(crate) async fn stays<F: Future>(&self, what: &str, future: F) -> Check {
        let ended = self.until(self.options.moment(), future).await.is_some();
        ensure!(!ended, "{what}");
        Ok(())
    }

    pub(crate) async fn pass(&self, duration: Duration) {
        self.registry.clock().sleep(duration).await;
    }

    /// A stamped datagram with the next number. It has `key` as its key where `with_key`.
    pub(crate) fn message(&self, producer: &str, key: &str, with_key: bool) -> (Stamp, Datagram) {
        let number = {
            let mut state = self.state();
            state.numbers += 1;
            let number = state.numbers;
            state.open.insert(number);
            number
        };
        let (stamp, datagram) = Stamp::new(producer, key, number).datagram(BODY);
        self.ledger.sent(&stamp);
        (stamp, if with_key { datagram.with_key(key.to_owned()) } else { datagram })
    }

    /// Admits `count` messages of `key` in one batch.
    pub(crate) async fn post(
        &self,
        sender: &Sender,
        producer: &str,
        (key, with_key): (&str, bool),
        count: usize,
    ) -> Check<Posted> {
        let mut batch = Batch::new();
        let mut stamps = Vec::new();
        for _ in 0..count {
            let (stamp, datagram) = self.message(producer, key, with_key);
            stamps.push(stamp);
            batch.push(datagram);
        }
        let ticket = self.within("admission", sender.admit(&mut batch)).await??;
        Ok(Posted { ticket, stamps })
    }

    /// Waits for the receipts of what was posted; writes each outcome down.
    pub(crate) async fn receipts(&self, posted: &mut Posted) -> Check<Receipts> {
        let receipts = self.within("the receipts", posted.ticket.receipts()).await?;
        self.write_down(posted, &receipts)?;
        Ok(receipts)
    }

    pub(crate) fn write_down(&self, posted: &Posted, receipts: &Receipts) -> Check {
        let (got, wanted) = (receipts.len(), posted.stamps.len());
        ensure!(usize::try_from(got) == Ok(wanted), "{got} receipts for {wanted} datagrams");
        for (stamp, receipt) in posted.stamps.iter().zip(receipts.iter()) {
            match receipt {
                Ok(_) => self.ledger.outcome(stamp, Outcome::Receipted),
                Err(error) => {
                    self.ledger.outcome(stamp, error.fate().into());
                    self.forget(stamp);
                }
            }
        }
        Ok(())
    }

    /// What came back need not arrive.
    pub(crate) fn forget(&self, stamp: &Stamp) {
        self.state().open.remove(&stamp.number);
    }

    /// The next delivery of `receiver`, written down.
    pub(crate) async fn next(&self, receiver: &mut Receiver) -> Check<Delivery> {
        let delivery = self.within("a delivery", receiver.next()).await??;
        let delivery = delivery.ok_or_else(|| Stop::failed("the receiver ended"))?;
        self.saw(&delivery);
        Ok(delivery)
    }

    pub(crate) fn saw(&self, delivery: &Delivery) -> Option<Stamp> {
        self.ledger.delivered(delivery.view(), delivery.note())
    }

    /// Acknowledges a delivery that was written down.
    pub(crate) fn ack(&self, delivery: Delivery) -> Check {
        let stamp = Stamp::of(delivery.view());
        delivery.ack()?;
        stamp.iter().for_each(|stamp| self.is_settled(stamp));
        Ok(())
    }

    /// Writes a lent delivery down, and acknowledges it.
    pub(crate) fn ack_lent(&self, lent: Lent<'_>) {
        let stamp = self.ledger.delivered(lent.view(), lent.note());
        lent.ack();
        stamp.iter().for_each(|stamp| self.is_settled(stamp));
    }

    pub(crate) fn is_settled(&self, stamp: &Stamp) {
        self.ledger.settled(stamp);
        self.state().open.remove(&stamp.number);
    }

    /// How many that were posted are neither settled nor given back.
    pub(crate) fn unfinished(&self) -> usize {
        self.state().open.len()
    }

    /// Receives and acknowledges until everything that was posted is settled.
    pub(crate) async fn take_all(&self, receiver: &mut Receiver) -> Check {
        while self.unfinished() > 0 {
            let delivery = self.next(receiver).await?;
            self.ack(delivery)?;
        }
        Ok(())
    }

    /// Fails where the ledger is not clean. Order counts only where it is promised.
    pub(crate) fn judge(&self, has_order: bool) -> Check {
        let report = self.ledger.check();
        let faults = report.lost
            + report.unannounced
            + report.corrupt
            + report.unexpected
            + if has_order { report.reordered } else { 0 };
        ensure!(faults == 0, "{report}");
        Ok(())
    }
}

/// The body of most messages.
const BODY: &[u8] = b"\x00\r\n\xff twelve apples";

/// Messages that were admitted together.
pub(crate) struct Posted {
    pub(crate) ticket: Ticket,
    pub(crate) stamps: Vec<Stamp>,
}

/// Whether a connection promises all of these.
pub(crate) fn has(connection: &Connection, wanted: &[Capability]) -> bool {
    wanted.iter().all(|capability| connection.capabilities().has(*capability))
}

/// Polls `future` a few times, then drops it: what it yields if it was ready.
pub(crate) fn poll_and_drop<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Lets everybody else have a turn.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The value of a parameter that is itself a URI.
pub(crate) fn encode(uri: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    uri.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
