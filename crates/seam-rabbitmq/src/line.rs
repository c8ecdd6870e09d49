//! A connection to the broker that is made again whenever it is lost.
//!
//! An endpoint has two: a broker that blocks its publishers stops everything on their connection, settlements included.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::{Channel, Connection};
use seam_broker::pause;
use seam_core::{Clock, Error, Event, Events, Result};
use socket2::Socket;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::dial::{Dialler, end};
use crate::failure;

/// A connection that stands, or stood.
pub(crate) struct Native {
    connection: Connection,
    socket: Socket,
    /// Another one for each connection of a line, from 1.
    pub(crate) number: u64,
    /// Whether the broker takes nothing now.
    pub(crate) blocked: watch::Sender<bool>,
    /// Once it stands no more.
    pub(crate) ended: CancellationToken,
    name: String,
}

/// A connection that comes back.
pub(crate) struct Line {
    state: watch::Sender<State>,
    /// Somebody needs the connection for the first time.
    wanted: CancellationToken,
    /// Somebody found the connection broken.
    suspect: Notify,
    stop: CancellationToken,
}

#[derive(Clone)]
enum State {
    Down(Option<Error>),
    Up(Arc<Native>),
    Ended,
}

/// Tells once that an endpoint has lost a connection or a consumer, and once that it has all of them again.
pub(crate) struct Standing {
    lost: AtomicUsize,
    events: Events,
}

impl Standing {
    pub(crate) fn new(events: Events) -> Self {
        Self { lost: AtomicUsize::new(0), events }
    }

    pub(crate) fn lost(&self, reason: &Error) {
        if self.lost.fetch_add(1, Ordering::SeqCst) == 0 {
            self.events.emit(Event::Disconnected { reason: reason.to_string() });
        }
    }

    pub(crate) fn back(&self) {
        if self.lost.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.events.emit(Event::Connected);
        }
    }
}

impl Native {
    /// A channel of its own, in time or not at all.
    pub(crate) async fn channel(&self) -> Result<Channel> {
        let channel = timeout(PATIENCE, self.connection.create_channel()).await;
        let late = |_| failure::silent(&self.name, "a new channel");
        channel.map_err(late)?.map_err(|error| failure::error(&self.name, &error))
    }

    pub(crate) fn is_up(&self) -> bool {
        self.connection.status().connected()
    }

    /// Says good-bye, and ends it whatever comes back.
    async fn close(&self) {
        if self.is_up() {
            // What is wrong now does not matter any more.
            drop(timeout(GOODBYE, self.connection.close(200, "OK".into())).await);
        }
        end(&self.socket);
    }
}

impl Line {
    /// A line, and what keeps it up until `stop`: to be spawned by whoever awaits its end.
    pub(crate) fn new(
        dialler: Arc<Dialler>,
        purpose: &'static str,
        standing: Arc<Standing>,
        stop: CancellationToken,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + 'static) {
        let (state, _) = watch::channel(State::Down(None));
        let line = Arc::new(Self {
            state,
            wanted: CancellationToken::new(),
            suspect: Notify::new(),
            stop,
        });
        let keeper = Keeper { line: line.clone(), dialler, purpose, standing, number: 0 };
        (line, keeper.run())
    }

    /// The connection, once it stands; `None` once the line has ended.
    pub(crate) async fn up(&self) -> Option<Arc<Native>> {
        self.wanted.cancel();
        let mut states = self.state.subscribe();
        let settled = states.wait_for(|state| !matches!(state, State::Down(_))).await.ok()?;
        match &*settled {
            State::Up(native) => Some(native.clone()),
            _ => None,
        }
    }

    /// The first connection, or why there is none for so long; at once where trying again is of no use.
    pub(crate) async fn opened(
        &self,
        clock: &dyn Clock,
        patience: Duration,
    ) -> Result<Arc<Native>> {
        let until = clock.now().saturating_add(patience);
        self.wanted.cancel();
        let mut states = self.state.subscribe();
        let found = |state: &State| match state {
            State::Down(Some(error)) => !error.is_retryable(),
            State::Down(None) => false,
            State::Up(_) | State::Ended => true,
        };
        let waited = seam_core::clock::deadline(clock, until, states.wait_for(found)).await;
        if let Some(Ok(state)) = &waited
            && let State::Up(native) = &**state
        {
            return Ok(native.clone());
        }
        drop(waited);
        match &*self.state.borrow() {
            State::Down(Some(error)) => Err(error.clone()),
            State::Up(native) => Ok(native.clone()),
            _ => Err(Error::TimedOut {
                operation: "connecting",
                after: patience,
                remedy: "see whether the broker is up, or raise `?connect_timeout=`",
            }),
        }
    }

    /// Has the line look whether its connection still stands.
    pub(crate) fn suspect(&self) {
        self.suspect.notify_one();
    }
}

/// What keeps a line up.
struct Keeper {
    line: Arc<Line>,
    dialler: Arc<Dialler>,
    purpose: &'static str,
    standing: Arc<Standing>,
    number: u64,
}

impl Keeper {
    async fn run(mut self) {
        let stop = self.line.stop.clone();
        let (mut failures, mut is_lost) = (0, false);
        tokio::select! {
            () = self.line.wanted.cancelled() => {}
            () = stop.cancelled() => {}
        }
        while !stop.is_cancelled() {
            let dialled = tokio::select! {
                dialled = self.dialler.dial(self.purpose) => dialled,
                () = stop.cancelled() => break,
            };
            let error = match dialled {
                Ok(dialled) => {
                    self.number += 1;
                    let native = Arc::new(Native {
                        blocked: watch::Sender::new(dialled.connection.status().blocked()),
                        connection: dialled.connection,
                        socket: dialled.socket,
                        number: self.number,
                        ended: CancellationToken::new(),
                        name: self.dialler.name.clone(),
                    });
                    if std::mem::take(&mut is_lost) {
                        self.standing.back();
                    }
                    failures = 0;
                    let reason = self.watch(&native).await;
                    native.ended.cancel();
                    reason
                }
                Err(error) => Some(error),
            };
            let Some(error) = error else { break };
            if self.number > 0 && !std::mem::replace(&mut is_lost, true) {
                self.standing.lost(&error);
            }
            self.line.state.send_replace(State::Down(Some(error)));
            failures += 1;
            tokio::select! {
                () = sleep(pause(failures)) => {}
                () = stop.cancelled() => {}
            }
        }
        self.line.state.send_replace(State::Ended);
    }

    /// Hands a connection out while it stands; why it ended, or `None` where it is to end.
    async fn watch(&self, native: &Arc<Native>) -> Option<Error> {
        let mut events = native.connection.events_listener();
        if *native.blocked.borrow() {
            self.standing.events.emit(Event::Blocked { reason: "an alarm".to_owned() });
        }
        self.line.state.send_replace(State::Up(native.clone()));
        let reason = loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(lapin::Event::ConnectionBlocked(reason)) => self.block(native, Some(reason)),
                    Some(lapin::Event::ConnectionUnblocked) => self.block(native, None),
                    Some(lapin::Event::Error(error)) if !native.is_up() => {
                        break failure::error(&self.dialler.name, &error);
                    }
                    Some(_) => {}
                    None => break self.ended(),
                },
                () = self.line.suspect.notified() => {}
                () = sleep(LOOK) => {}
                () = self.line.stop.cancelled() => {
                    native.close().await;
                    return None;
                }
            }
            if !native.is_up() {
                break self.ended();
            }
        };
        end(&native.socket);
        Some(reason)
    }

    fn block(&self, native: &Native, reason: Option<String>) {
        let was = native.blocked.send_replace(reason.is_some());
        match reason {
            Some(reason) if !was => self.standing.events.emit(Event::Blocked { reason }),
            None if was => self.standing.events.emit(Event::Unblocked),
            _ => {}
        }
    }

    fn ended(&self) -> Error {
        Error::disconnected(&*self.dialler.name, "the connection ended")
    }
}

/// How long an answer of the broker may take that is no confirm.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long a good-bye may take.
pub(crate) const GOODBYE: Duration = Duration::from_millis(500);

/// How often to look at a connection of which nothing is heard.
const LOOK: Duration = Duration::from_secs(1);
