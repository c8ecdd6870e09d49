//! The program under test: senders, receivers and what they hold, each step told to the model.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::lock::Mutex;
use seam_core::{
    Batch, Clock, Connection, Datagram, Deliveries, Delivery, Drained, Error, Memory, Receipts,
    Receiver, Registry, Result, SendError, Sender, Ticket, VirtualClock,
};

use super::model::{Message, Millis, Model, Told, millis};
use super::{CLIENTS, Command, Draft, SLOTS, Verdict};
use crate::hand::{self, now};

pub(super) struct World {
    clock: VirtualClock,
    registry: Registry,
    clients: Vec<Client>,
    slots: Vec<Option<Slot>>,
    calls: Vec<Call>,
    tickets: Vec<Asked>,
    owned: Vec<Owned>,
    tasks: Vec<Task>,
    model: Model,
}

struct Client {
    connection: Connection,
    sender: Sender,
    settled: bool,
}

struct Slot {
    member: usize,
    connection: Connection,
    /// `None` once the receiver was dropped.
    seat: Option<Arc<Mutex<Seat>>>,
    /// Verdicts on lent deliveries that are not published.
    unpublished: Vec<(usize, Verdict)>,
    verdicts: Vec<Verdict>,
    draining: bool,
    /// What was delivered by this connection, and what became of it.
    tally: Tally,
}

#[derive(Default, Debug, PartialEq, Eq)]
struct Tally {
    delivered: u64,
    redelivered: u64,
    acked: u64,
    retried: u64,
    discarded: u64,
    dropped: u64,
}

struct Seat {
    receiver: Receiver,
    deliveries: Deliveries,
}

struct Call {
    client: usize,
    ids: Vec<usize>,
    batch: Arc<Mutex<Batch>>,
}

struct Asked {
    client: usize,
    ids: Vec<usize>,
    ticket: Arc<Mutex<Option<Ticket>>>,
}

struct Owned {
    delivery: Delivery,
    id: usize,
    slot: usize,
    member: usize,
}

/// What a future is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Receive(usize),
    Send(usize),
    Ask(usize),
    Drain(usize),
    Close(usize),
}

enum Outcome {
    Received(Result<bool>),
    Sent(Result<Ticket>),
    Receipted(Receipts),
    Drained(Result<Drained>),
}

struct Task {
    work: Work,
    future: hand::Task<'static, Outcome>,
    polled: bool,
}

impl World {
    pub(super) fn new() -> Self {
        let clock = VirtualClock::new();
        let registry = Registry::new().with(Memory::new()).with_clock(clock.clone());
        let mut world = Self {
            clock,
            registry,
            clients: Vec::new(),
            slots: (0..SLOTS).map(|_| None).collect(),
            calls: Vec::new(),
            tickets: Vec::new(),
            owned: Vec::new(),
            tasks: Vec::new(),
            model: Model::default(),
        };
        for uri in [
            "memory://orders?credit=5&credit_bytes=200&send_timeout=1d",
            "memory://orders?credit=7&credit_bytes=150&send_timeout=1d&confirm=settled",
            "memory://orders?credit=3&send_timeout=15s",
        ] {
            let connection = now(world.registry.client(uri)).unwrap();
            let sender = now(connection.sender()).unwrap();
            world.clients.push(Client { connection, sender, settled: uri.contains("settled") });
        }
        assert_eq!(world.clients.len(), CLIENTS);
        world
    }

    fn now(&self) -> Millis {
        millis(self.clock.now())
    }

    pub(super) fn execute(&mut self, command: Command) {
        match command {
            Command::Open { slot, group, credit, credit_bytes } => {
                self.open(slot, group, credit, credit_bytes);
            }
            Command::DropReceiver { slot } => self.drop_receiver(slot),
            Command::Abort { slot } => self.abort(slot),
            Command::Drain { slot, seconds } => self.drain(slot, seconds),
            Command::Receive { slot, max, verdicts } => self.receive(slot, max, verdicts),
            Command::CancelReceive { slot } => self.cancel(|work| work == Work::Receive(slot)),
            Command::Publish { slot } => self.publish(slot),
            Command::Send { client, messages } => self.send(client, &messages),
            Command::CancelSend { pick } => self.cancel_send(pick),
            Command::Ask { pick } => self.ask(pick),
            Command::CancelAsk { pick } => self.cancel_ask(pick),
            Command::Withdraw { pick } => self.withdraw(pick),
            Command::Settle { pick, verdict } => self.settle(pick, verdict),
            Command::Advance { millis } => self.clock.advance(Duration::from_millis(millis)),
            Command::Step { pick } => self.step(pick),
            Command::Run => self.run(),
        }
    }

    fn open(&mut self, slot: usize, group: &'static str, credit: usize, credit_bytes: usize) {
        if self.slots[slot].is_some() {
            return;
        }
        let uri = match group {
            "" => "memory://orders?session_expiry=9d".to_owned(),
            "private" => "memory://orders?private".to_owned(),
            name => format!("memory://orders?session_expiry=9d&group={name}"),
        };
        let mark = if uri.contains('?') { '&' } else { '?' };
        let uri = format!("{uri}{mark}credit={credit}&credit_bytes={credit_bytes}B");
        let connection = now(self.registry.server(uri.as_str())).unwrap();
        let receiver = now(connection.receiver()).unwrap();
        let seat = Seat { receiver, deliveries: Deliveries::new() };
        self.slots[slot] = Some(Slot {
            member: self.model.join(group, credit, credit_bytes),
            connection,
            seat: Some(Arc::new(Mutex::new(seat))),
            unpublished: Vec::new(),
            verdicts: vec![Verdict::Keep],
            draining: false,
            tally: Tally::default(),
        });
    }

    fn drop_receiver(&mut self, slot: usize) {
        self.cancel(|work| work == Work::Receive(slot));
        let Some(entry) = &mut self.slots[slot] else { return };
        if let Some(seat) = entry.seat.take() {
            let member = entry.member;
            drop(seat);
            self.published(slot);
            self.model.leave(member);
        }
    }

    fn abort(&mut self, slot: usize) {
        self.cancel(|work| work == Work::Drain(slot));
        self.drop_receiver(slot);
        let Some(Slot { member, connection, .. }) = self.slots[slot].take() else { return };
        drop(connection);
        self.lose(slot, member);
    }

    /// A connection ended: what its members have in hand goes to somebody else.
    fn lose(&mut self, slot: usize, member: usize) -> u64 {
        let now = self.now();
        let lost: Vec<usize> =
            self.owned.iter().filter(|o| o.member == member).map(|o| o.id).collect();
        let lent = self.slots[slot].as_mut().map(|slot| std::mem::take(&mut slot.unpublished));
        let lent = lent.into_iter().flatten().map(|(id, _)| id);
        let all: Vec<usize> = lost.into_iter().chain(lent).collect();
        for id in &all {
            self.model.release(member, *id, now, true);
        }
        for owned in self.owned.extract_if(.., |owned| owned.member == member) {
            assert!(!owned.delivery.is_current(), "{} is still current", owned.id);
            let (_, error) = owned.delivery.ack().unwrap_err().into_parts();
            assert!(matches!(error, Error::LeaseLost), "{error}");
        }
        all.iter().map(|_| 1).sum()
    }

    fn drain(&mut self, slot: usize, seconds: u64) {
        let Some(entry) = &mut self.slots[slot] else { return };
        if std::mem::replace(&mut entry.draining, true) {
            return;
        }
        let connection = entry.connection.clone();
        let deadline = Duration::from_secs(seconds);
        self.start(
            Work::Drain(slot),
            async move { Outcome::Drained(connection.drain(deadline).await) },
        );
    }

    fn receive(&mut self, slot: usize, max: usize, verdicts: Vec<Verdict>) {
        let Some(entry) = &mut self.slots[slot] else { return };
        let Some(seat) = entry.seat.clone() else { return };
        if self.tasks.iter().any(|task| task.work == Work::Receive(slot)) {
            return;
        }
        entry.verdicts = verdicts;
        self.start(Work::Receive(slot), async move {
            let Seat { receiver, deliveries } = &mut *seat.lock().await;
            Outcome::Received(receiver.receive(max, deliveries).await)
        });
    }

    fn publish(&mut self, slot: usize) {
        let Some(Slot { seat: Some(seat), .. }) = &self.slots[slot] else { return };
        let Some(mut seat) = seat.try_lock() else { return };
        seat.deliveries.publish();
        drop(seat);
        self.published(slot);
    }

    /// What was settled in the container of this slot has taken effect.
    fn published(&mut self, slot: usize) {
        let now = self.now();
        let Some(slot) = &mut self.slots[slot] else { return };
        for (id, verdict) in std::mem::take(&mut slot.unpublished) {
            match verdict {
                Verdict::Ack | Verdict::Discard => self.model.settle(slot.member, id),
                Verdict::Retry { seconds } => {
                    self.model.release(slot.member, id, now + 1_000 * seconds, false);
                }
                Verdict::Drop | Verdict::Keep => self.model.release(slot.member, id, now, false),
            }
            slot.tally.count(verdict);
        }
    }

    fn send(&mut self, client: usize, drafts: &[Draft]) {
        let wall = self.clock.wall();
        let now = self.now();
        let mut batch = Batch::new();
        let mut ids = Vec::new();
        for Draft { length, key, expiry, deliver_at } in drafts {
            let after = |millis: u64| wall.saturating_add(Duration::from_millis(millis));
            let id = self.model.messages.len();
            let mut payload = u32::try_from(id).unwrap().to_be_bytes().to_vec();
            payload.resize(*length, 0);
            let mut datagram = Datagram::new(payload);
            let envelope = datagram.envelope_mut();
            envelope.key = key.map(|key| vec![key].into());
            envelope.expiry = expiry.map(after);
            envelope.deliver_at = deliver_at.map(after);
            self.model.messages.push(Message {
                client,
                key: *key,
                expiry: expiry.map(|millis| now + millis),
                deliver_at: deliver_at.map(|millis| now + millis),
                size: datagram.view().size(),
                began: None,
                ended: None,
                told: Told::Nothing,
            });
            ids.push(id);
            batch.push(datagram);
        }
        let batch = Arc::new(Mutex::new(batch));
        let number = self.calls.len();
        self.calls.push(Call { client, ids, batch: batch.clone() });
        let sender = self.clients[client].sender.clone();
        self.start(Work::Send(number), async move {
            Outcome::Sent(sender.admit(&mut *batch.lock().await).await)
        });
    }

    fn cancel_send(&mut self, pick: usize) {
        let calls = self.tasks.iter().filter_map(|task| match task.work {
            Work::Send(call) => Some((call, task.polled)),
            _ => None,
        });
        let calls: Vec<_> = calls.collect();
        let Some((call, polled)) = choose(&calls, pick) else { return };
        self.cancel(|work| work == Work::Send(call));
        if !polled {
            self.begin_call(call);
        }
        self.end_call(call, None);
    }

    fn begin_call(&mut self, call: usize) {
        for id in &self.calls[call].ids {
            let tick = self.model.tick();
            self.model.messages[*id].began = Some(tick);
        }
    }

    /// A call was answered or dropped: what is left in its batch was not sent.
    fn end_call(&mut self, call: usize, ticket: Option<Ticket>) {
        let end = self.model.tick();
        let now = self.now();
        let Call { client, ids, batch } = &self.calls[call];
        let mut batch = batch.try_lock().expect("the call is over");
        let unsent: Vec<usize> = batch.take_unsent().iter().map(id_of).collect();
        let sender = &self.clients[*client].sender;
        let ticket = ticket.unwrap_or_else(|| sender.try_admit(&mut batch).unwrap());
        ids.iter().for_each(|id| self.model.messages[*id].ended = Some(end));
        for id in &unsent {
            self.model.tell(*id, Told::NotSent, false, now);
            self.model.messages[*id].client = usize::MAX; // The caller's own again; nobody counts it.
        }
        let ids: Vec<usize> = ids.iter().copied().filter(|id| !unsent.contains(id)).collect();
        assert_eq!(usize::try_from(ticket.len()).unwrap(), ids.len());
        let ticket = Arc::new(Mutex::new(Some(ticket)));
        self.tickets.push(Asked { client: *client, ids, ticket });
    }

    fn open_tickets(&self) -> Vec<usize> {
        let open = |ticket: &Asked| ticket.ticket.try_lock().is_some_and(|ticket| ticket.is_some());
        (0..self.tickets.len()).filter(|at| open(&self.tickets[*at])).collect()
    }

    fn ask(&mut self, pick: usize) {
        let Some(number) = choose(&self.open_tickets(), pick) else { return };
        if self.tasks.iter().any(|task| task.work == Work::Ask(number)) {
            return;
        }
        let ticket = self.tickets[number].ticket.clone();
        self.start(Work::Ask(number), async move {
            let mut ticket = ticket.lock().await;
            Outcome::Receipted(ticket.as_mut().expect("asked once").receipts().await)
        });
    }

    fn cancel_ask(&mut self, pick: usize) {
        let asks: Vec<Work> = self.tasks.iter().map(|task| task.work).collect();
        let asks: Vec<Work> = asks.into_iter().filter(|w| matches!(w, Work::Ask(_))).collect();
        let Some(ask) = choose(&asks, pick) else { return };
        self.cancel(|work| work == ask);
    }

    fn withdraw(&mut self, pick: usize) {
        let Some(number) = choose(&self.open_tickets(), pick) else { return };
        self.cancel(|work| work == Work::Ask(number));
        let ticket = self.tickets[number].ticket.try_lock().expect("nobody asks").take();
        let receipts = ticket.expect("it is open").withdraw();
        self.receipted(number, &receipts);
    }

    fn receipted(&mut self, number: usize, receipts: &Receipts) {
        let now = self.now();
        let Asked { client, ids, ticket } = &self.tickets[number];
        *ticket.try_lock().expect("the call is over") = None;
        assert_eq!(usize::try_from(receipts.len()).unwrap(), ids.len());
        for (id, receipt) in ids.iter().zip(receipts.iter()) {
            let told = match receipt {
                Ok(_) => Told::Receipted,
                Err(error) => {
                    assert_eq!(id_of(error.datagram()), *id, "a datagram came back for another");
                    error.fate().into()
                }
            };
            self.model.tell(*id, told, self.clients[*client].settled, now);
        }
    }

    fn settle(&mut self, pick: usize, verdict: Verdict) {
        if self.owned.is_empty() || matches!(verdict, Verdict::Keep) {
            return;
        }
        let Owned { delivery, id, slot, member } = self.owned.swap_remove(pick % self.owned.len());
        let now = self.now();
        match verdict {
            Verdict::Ack => delivery.ack().unwrap(),
            Verdict::Discard => delivery.discard().unwrap(),
            Verdict::Retry { seconds } => delivery.retry(Duration::from_secs(seconds)).unwrap(),
            Verdict::Drop | Verdict::Keep => drop(delivery),
        }
        match verdict {
            Verdict::Ack | Verdict::Discard => self.model.settle(member, id),
            Verdict::Retry { seconds } => {
                self.model.release(member, id, now + 1_000 * seconds, false);
            }
            Verdict::Drop | Verdict::Keep => self.model.release(member, id, now, false),
        }
        if let Some(slot) = self.slots[slot].as_mut().filter(|slot| slot.member == member) {
            slot.tally.count(verdict);
        }
    }

    fn start(&mut self, work: Work, future: impl Future<Output = Outcome> + 'static) {
        self.tasks.push(Task { work, future: hand::Task::new(future), polled: false });
    }

    fn cancel(&mut self, which: impl Fn(Work) -> bool) {
        self.tasks.retain(|task| !which(task.work));
    }

    fn woken(&self) -> Vec<usize> {
        let woken = |at: &usize| self.tasks[*at].future.is_woken();
        (0..self.tasks.len()).filter(woken).collect()
    }

    /// Polls one of the futures that were woken.
    fn step(&mut self, pick: usize) {
        if let Some(at) = choose(&self.woken(), pick) {
            self.poll(at);
        }
    }

    /// Polls whoever was woken until nobody is. Then nobody may be able to go on that was not woken.
    fn run(&mut self) {
        self.run_woken();
        for at in (0..self.tasks.len()).rev() {
            let work = self.tasks[at].work;
            let ready = self.poll(at) || self.run_woken();
            assert!(!ready, "{work:?} could go on, and nobody had been woken for it");
        }
    }

    /// Whether any future came to its end.
    fn run_woken(&mut self) -> bool {
        let mut any = false;
        let mut rounds = 0;
        while let Some(at) = self.woken().first() {
            any |= self.poll(*at);
            rounds += 1;
            assert!(rounds < 10_000, "futures wake each other for ever");
        }
        any
    }

    /// Polls one future; whether it came to its end.
    fn poll(&mut self, at: usize) -> bool {
        let mut task = self.tasks.remove(at);
        if !std::mem::replace(&mut task.polled, true) {
            match task.work {
                Work::Receive(slot) => self.published(slot),
                Work::Send(call) => self.begin_call(call),
                Work::Drain(slot) => {
                    let slot = self.slots[slot].as_ref().expect("it drains");
                    self.model.retire(slot.member);
                }
                Work::Ask(_) | Work::Close(_) => {}
            }
        }
        match task.future.poll() {
            Some(outcome) => {
                let work = task.work;
                drop(task);
                self.done(work, outcome);
                true
            }
            None => {
                self.tasks.insert(at, task);
                false
            }
        }
    }

    fn done(&mut self, work: Work, outcome: Outcome) {
        match (work, outcome) {
            (Work::Receive(slot), Outcome::Received(more)) => self.received(slot, more.unwrap()),
            (Work::Send(call), Outcome::Sent(Ok(ticket))) => self.end_call(call, Some(ticket)),
            (Work::Send(call), Outcome::Sent(Err(error))) => {
                assert!(matches!(error, Error::TimedOut { .. }), "{error}");
                self.end_call(call, None);
            }
            (Work::Ask(ticket), Outcome::Receipted(receipts)) => self.receipted(ticket, &receipts),
            (Work::Drain(slot), Outcome::Drained(drained)) => self.drained(slot, &drained.unwrap()),
            (Work::Close(client), Outcome::Drained(drained)) => {
                let Drained { unsent, unsettled, .. } = drained.unwrap();
                let unsent: Vec<usize> =
                    unsent.iter().map(SendError::datagram).map(id_of).collect();
                assert!(unsent.is_empty() && unsettled == 0, "client {client} holds {unsent:?}");
            }
            _ => unreachable!("a future yields what it is for"),
        }
    }

    fn received(&mut self, slot: usize, more: bool) {
        let now = self.now();
        let entry = self.slots[slot].as_mut().expect("it received");
        assert!(more || entry.draining, "a receiver ended");
        let seat = entry.seat.clone().expect("it received");
        let mut seat = seat.try_lock().expect("the call is over");
        assert!(!more || !seat.deliveries.is_empty(), "a receive yields something");
        let mut verdicts = entry.verdicts.iter().cycle();
        while let Some(lent) = seat.deliveries.lend() {
            let (id, note) = (id_of(&lent.view().to_datagram()), lent.note().clone());
            self.model.deliver(entry.member, id, note.attempt, note.possible_duplicate, now);
            entry.tally.delivered += 1;
            entry.tally.redelivered += u64::from(note.attempt > 1);
            let verdict = *verdicts.next().expect("there is one at least");
            match verdict {
                Verdict::Ack => lent.ack(),
                Verdict::Discard => lent.discard().unwrap(),
                Verdict::Retry { seconds } => lent.retry(Duration::from_secs(seconds)).unwrap(),
                Verdict::Drop => drop(lent),
                Verdict::Keep => {
                    let delivery = lent.take();
                    self.owned.push(Owned { delivery, id, slot, member: entry.member });
                    continue;
                }
            }
            entry.unpublished.push((id, verdict));
        }
    }

    fn drained(&mut self, slot: usize, drained: &Drained) {
        let member = self.slots[slot].as_ref().expect("it drained").member;
        let lost = self.lose(slot, member);
        assert_eq!(drained.unsettled, lost, "deliveries that a drain left");
        self.model.leave(member);
        // A receive that waited ends.
        self.run_woken();
        let receives = |task: &Task| task.work == Work::Receive(slot);
        assert!(!self.tasks.iter().any(receives), "a receive outlives its connection");
        self.slots[slot] = None;
    }

    /// No more faults: everything that is owed is delivered and settled, and then nothing is held.
    pub(super) fn finish(mut self) {
        self.run();
        while !self.owned.is_empty() {
            self.settle(0, Verdict::Ack);
        }
        (0..SLOTS).for_each(|slot| self.check_tally(slot));
        (0..SLOTS).for_each(|slot| self.abort(slot));
        for (slot, group) in ["", "billing", "mail"].into_iter().enumerate() {
            self.open(slot, group, 4_096, 1 << 20);
        }
        for _ in 0..60 {
            (0..SLOTS).for_each(|slot| self.receive(slot, 64, vec![Verdict::Ack]));
            self.open_tickets().into_iter().rev().for_each(|_| self.ask_all());
            self.run();
            self.clock.advance(Duration::from_secs(1));
        }
        self.run();
        (0..SLOTS).for_each(|slot| self.receive(slot, 64, vec![Verdict::Ack]));
        self.run();
        let waits = |work: &Work| !matches!(work, Work::Receive(_));
        let left: Vec<Work> = self.tasks.iter().map(|task| task.work).filter(waits).collect();
        assert!(left.is_empty(), "never answered: {left:?}");
        assert_eq!(self.model.owes(self.now()), None, "this datagram was lost");
        self.close();
    }

    fn ask_all(&mut self) {
        (0..self.open_tickets().len()).for_each(|pick| self.ask(pick));
    }

    /// Every count adds up, and a drain finds nothing to wait for.
    fn close(&mut self) {
        for (at, client) in self.clients.iter().enumerate() {
            let statistics = client.connection.statistics();
            let told = [Told::Receipted, Told::MaybeSent].map(|told| self.model.count(at, told));
            assert_eq!([statistics.receipted, statistics.maybe_sent], told, "client {at}");
            let not_sent = self.model.count(at, Told::NotSent);
            assert_eq!(statistics.not_sent, not_sent, "client {at}");
        }
        for client in 0..CLIENTS {
            let connection = self.clients[client].connection.clone();
            self.start(Work::Close(client), async move {
                Outcome::Drained(connection.drain(Duration::from_secs(3_600)).await)
            });
        }
        self.run_woken();
        let closing = |task: &Task| matches!(task.work, Work::Close(_));
        assert!(!self.tasks.iter().any(closing), "a drain waits though nothing is left");
    }

    /// What the connection of a slot counted is what happened there.
    fn check_tally(&mut self, slot: usize) {
        self.publish(slot);
        let Some(slot) = &self.slots[slot] else { return };
        let statistics = slot.connection.statistics();
        let counted = Tally {
            delivered: statistics.delivered,
            redelivered: statistics.redelivered,
            acked: statistics.acked,
            retried: statistics.retried,
            discarded: statistics.discarded,
            dropped: statistics.dropped,
        };
        if !slot.draining {
            assert_eq!(counted, slot.tally, "statistics of a receiver");
        }
    }
}

impl Tally {
    fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Ack => self.acked += 1,
            Verdict::Discard => self.discarded += 1,
            Verdict::Retry { .. } => self.retried += 1,
            Verdict::Drop | Verdict::Keep => self.dropped += 1,
        }
    }
}

fn id_of(datagram: &Datagram) -> usize {
    let payload = datagram.payload().expect("each has a number");
    let number: [u8; 4] = payload[..4].try_into().expect("four bytes of it");
    usize::try_from(u32::from_be_bytes(number)).expect("a test is short")
}

fn choose<T: Copy>(from: &[T], pick: usize) -> Option<T> {
    (!from.is_empty()).then(|| from[pick % from.len()])
}
