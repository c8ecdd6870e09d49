//! Retries and schedules that wait on the broker, and what gives way to others: each message is published once more, into the
//! queue of a step or to the end of its own, and acknowledged only once it is there.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::ShortString;
use seam_core::{Error, Result};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::desk::Desk;
use crate::inbox::{Delay, Original, Wait};
use crate::line::{Native, PATIENCE};
use crate::mapping;
use crate::publish::{Body, Order, Source};
use crate::returns::Landing;
use crate::topology::{STEPS, Topology, step_queue};

/// What waits on the broker, until it is there.
pub(crate) struct Delays {
    topology: Arc<Topology>,
    state: Mutex<State>,
    work: Notify,
}

#[derive(Default)]
struct State {
    numbers: u64,
    waiting: VecDeque<Waiting>,
    /// Given to the client.
    flying: HashMap<u64, (Whose, Instant)>,
    /// The connection on which queues of steps were declared, and which.
    declared: (u64, HashSet<(ShortString, usize)>),
}

/// A message of some receiver.
struct Waiting {
    whose: Whose,
    queue: ShortString,
    /// Which of [`STEPS`]; none goes back at once.
    step: Option<usize>,
    properties: BasicProperties,
    body: Bytes,
}

/// Whose delivery it is: a tag of one channel of a receiver.
#[derive(Clone)]
pub(crate) struct Whose {
    pub(crate) desk: Arc<Desk>,
    pub(crate) channel: u64,
    pub(crate) tag: u64,
}

impl Delays {
    pub(crate) fn new(topology: Arc<Topology>) -> Arc<Self> {
        Arc::new(Self { topology, state: Mutex::default(), work: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a message that came from `queue` wait on the broker. `desk` learns what became of it.
    pub(crate) fn add(&self, desk: &Arc<Desk>, channel: u64, queue: &ShortString, delay: Delay) {
        let Delay { tag, wait, attempts, original: Original { properties, body } } = delay;
        let whose = Whose { desk: desk.clone(), channel, tag };
        let step = match wait {
            Wait::No => None,
            Wait::AtLeast(least) => STEPS.iter().position(|step| *step >= least),
            Wait::AtMost(most) => STEPS.iter().rposition(|step| *step <= most),
        };
        let properties =
            mapping::again(&properties.map(|boxed| *boxed).unwrap_or_default(), attempts);
        let waiting = Waiting { whose, queue: queue.clone(), step, properties, body };
        self.lock().waiting.push_back(waiting);
        self.work.notify_one();
    }

    fn fail(&self, all: Vec<Whose>) {
        all.into_iter().for_each(|whose| whose.desk.clone().delayed(&whose, false));
    }

    /// The queues that are needed next and were not declared on this connection.
    fn undeclared(&self, native: &Native) -> Vec<(ShortString, usize)> {
        let mut state = self.lock();
        if state.declared.0 != native.number {
            state.declared = (native.number, HashSet::new());
        }
        let needed = state.waiting.iter();
        let needed = needed.filter_map(|waiting| Some((waiting.queue.clone(), waiting.step?)));
        let needed: HashSet<_> = needed.collect();
        needed.difference(&state.declared.1).cloned().collect()
    }
}

#[async_trait]
impl Source for Delays {
    async fn begin(&self) {
        while self.lock().waiting.is_empty() {
            self.work.notified().await;
        }
    }

    async fn prepare(&self, _: &Native) -> Result<()> {
        Ok(())
    }

    async fn precede(&self, native: &Native) {
        for (queue, step) in self.undeclared(native) {
            let declared = self.topology.ensure_step(native, &queue, STEPS[step]).await;
            let mut state = self.lock();
            if declared.is_ok() {
                state.declared.1.insert((queue, step));
                continue;
            }
            let waiting = std::mem::take(&mut state.waiting).into_iter();
            let (failed, kept): (VecDeque<_>, _) =
                waiting.partition(|waiting| waiting.queue == queue && waiting.step == Some(step));
            state.waiting = kept;
            drop(state);
            self.fail(failed.into_iter().map(|waiting| waiting.whose).collect());
        }
    }

    fn take(&self) -> Vec<Order> {
        let mut state = self.lock();
        let State { numbers, waiting, flying, declared } = &mut *state;
        let mut orders = Vec::with_capacity(waiting.len());
        while let Some(next) = waiting.front()
            && next.step.is_none_or(|step| declared.1.contains(&(next.queue.clone(), step)))
        {
            let Some(Waiting { whose, queue, step, properties, body }) = waiting.pop_front() else {
                break;
            };
            *numbers += 1;
            flying.insert(*numbers, (whose, Instant::now()));
            orders.push(Order {
                number: *numbers,
                exchange: ShortString::default(),
                routing_key: step.map_or(queue.clone(), |step| step_queue(&queue, STEPS[step])),
                mandatory: true,
                properties,
                body: Body::Raw(body),
            });
        }
        orders
    }

    fn landed(&self, landed: Vec<(u64, Landing)>) {
        for (number, landing) in landed {
            let Some((whose, _)) = self.lock().flying.remove(&number) else { continue };
            let is_there = matches!(landing, Landing::Stored);
            if !is_there {
                // Its queue may be gone.
                self.lock().declared.1.clear();
            }
            whose.desk.clone().delayed(&whose, is_there);
        }
    }

    fn lost(&self, _: &Error) {
        let lost = std::mem::take(&mut self.lock().flying);
        self.fail(lost.into_values().map(|(whose, _)| whose).collect());
    }

    fn refused(&self, _: &Error) {
        let refused = std::mem::take(&mut self.lock().waiting);
        self.fail(refused.into_iter().map(|waiting| waiting.whose).collect());
    }

    fn patience(&self) -> Option<Duration> {
        Some(PATIENCE)
    }

    /// A queue of a step may be down, although there is somewhere to publish to. What is stored there after all comes
    /// twice.
    fn overdue(&self) {
        let late = |(_, since): &mut (Whose, Instant)| since.elapsed() >= PATIENCE;
        let late = self.lock().flying.extract_if(|_, flying| late(flying)).collect::<Vec<_>>();
        self.fail(late.into_iter().map(|(_, (whose, _))| whose).collect());
    }

    fn work(&self) -> &Notify {
        &self.work
    }
}

/// The shortest wait that the broker takes.
pub(crate) const SHORTEST: Duration = STEPS[0];
