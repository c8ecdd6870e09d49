//! A receiving end: its sessions, and what its application has in hand.

use std::collections::HashMap;

use bytes::Bytes;
use seam_core::Datagram;
use seam_wire::{EnvelopeLimits, Hello, Receiving, Reject, Run, Sink, Window};

use super::random::Random;

pub(crate) type Sid = [u8; 16];

pub(crate) struct Member {
    pub(crate) sessions: HashMap<Sid, Serving>,
    pub(crate) hand: Vec<Delivery>,
    pub(crate) frozen_until: u64,
    pub(crate) leaving: bool,
    pub(crate) gone: bool,
    pub(crate) window: Window,
}

/// A session at its receiving end.
pub(crate) struct Serving {
    pub(crate) receiving: Receiving,
    /// The connection that carries it.
    pub(crate) connection: Option<usize>,
    pub(crate) last_sign: u64,
    pub(crate) told_leaving: Option<usize>,
    /// The largest window it ever had.
    pub(crate) largest: Window,
}

/// A datagram that the application has in hand.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) sid: Sid,
    pub(crate) number: u64,
    /// Counts the deliveries of the session.
    pub(crate) index: usize,
    pub(crate) attempt: u32,
}

impl Member {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            sessions: HashMap::new(),
            hand: Vec::new(),
            frozen_until: 0,
            leaving: false,
            gone: false,
            window: window(random),
        }
    }

    /// Answers a HELLO: whether it is accepted.
    pub(crate) fn on_hello(&mut self, hello: &Hello, now: u64) -> Result<(), Reject> {
        if let Some(serving) = self.sessions.get_mut(&hello.sid) {
            return serving.receiving.on_hello(hello);
        }
        let window = self.window.clone();
        let receiving =
            Receiving::new(hello, window.clone(), 4096, MAX_PAYLOAD, EnvelopeLimits::default())?;
        let serving = Serving {
            receiving,
            connection: None,
            last_sign: now,
            told_leaving: None,
            largest: window,
        };
        self.sessions.insert(hello.sid, serving);
        Ok(())
    }

    /// The session has ended here: what the application has of it is revoked.
    pub(crate) fn forget(&mut self, sid: &Sid) {
        self.sessions.remove(sid);
        self.hand.retain(|delivery| delivery.sid != *sid);
    }
}

impl Serving {
    /// With the bound of memory that the rules give.
    pub(crate) fn check_bounds(&self) -> Result<(), String> {
        let progress = self.receiving.progress();
        let numbers_of_one = u64::try_from(MAX_PAYLOAD / 4000 + 2).unwrap();
        let in_flight = progress.received - progress.settled;
        if in_flight > self.largest.span + numbers_of_one {
            return Err(format!("S5: {in_flight} numbers above the watermark"));
        }
        if self.receiving.unsettled() > self.largest.count + numbers_of_one {
            return Err(format!("S5: {} numbers without an outcome", self.receiving.unsettled()));
        }
        let records = u64::try_from(self.receiving.records()).unwrap();
        if records > self.largest.records + self.largest.count + 1 {
            return Err(format!("S5: {records} records"));
        }
        Ok(())
    }
}

pub(crate) fn window(random: &mut Random) -> Window {
    let mut window = Window::new(1 + random.below(40), 1_000 + random.below(30_000));
    window.span = window.count * (1 + random.below(4));
    window.records = 1 + random.below(window.count);
    window
}

/// What one DATA gave.
pub(crate) struct Got {
    pub(crate) frame: Bytes,
    pub(crate) datagrams: Vec<(u64, Datagram, u32, bool)>,
}

impl Sink for Got {
    fn run(&mut self, run: Run) {
        let all = run.views(&self.frame);
        self.datagrams.extend(all.map(|(number, view)| (number, view.to_datagram(), 1, false)));
    }

    fn datagram(
        &mut self,
        number: u64,
        datagram: Datagram,
        attempt: u32,
        possible_duplicate: bool,
    ) {
        self.datagrams.push((number, datagram, attempt, possible_duplicate));
    }
}

/// The longest payload, in bytes: several frames.
pub(crate) const MAX_PAYLOAD: usize = 15_000;
