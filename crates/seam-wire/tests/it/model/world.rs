//! Everything at once: one sending process, its members, the connections between them, and what goes wrong.

mod commands;
mod receiver;
mod sender;

use std::collections::HashMap;

use seam_wire::{Hello, Sending};

use super::distributor::{Checked, Distributor, Flight};
use super::member::{Member, Sid};
use super::pipe::Pipe;
use super::random::Random;
use super::{Broken, Lived};

pub(crate) struct World {
    random: Random,
    now: u64,
    broken: Broken,
    owner: Sid,
    distributor: Distributor,
    members: Vec<Member>,
    /// What the sender has for each member.
    links: Vec<Option<Link>>,
    connections: Vec<Connection>,
    flights: HashMap<Sid, Flight>,
    sessions: u64,
    /// HELLOs that may arrive late: on which connection.
    hellos: Vec<(usize, Hello)>,
    /// How often what is rare happens, in percent.
    rage: u64,
    lived: Lived,
}

/// A session at its sending end.
struct Link {
    session: u64,
    sid: Sid,
    sending: Sending,
    connection: Option<usize>,
    last_sign: u64,
    fin_sent: Option<usize>,
}

struct Connection {
    member: usize,
    forward: Pipe,
    back: Pipe,
    sender_open: bool,
    receiver_open: bool,
    cut: bool,
    hello_read: bool,
    /// The session that the receiving end welcomed on it.
    sid: Option<Sid>,
}

/// How long a session is kept without a connection, in milliseconds.
const EXPIRY: u64 = 60_000;

/// Rounds without any fault in which something must become done.
const PATIENCE: u64 = 100;

impl World {
    /// Lives through `commands`, then comes to rest. Tells what happened.
    pub(crate) fn live(seed: u64, commands: u64, broken: Broken) -> Result<Lived, String> {
        let mut world = Self::new(seed, broken);
        for command in 0..commands {
            let result = world.command().and_then(|()| world.check());
            result.map_err(|failure| format!("after {command} commands: {failure}"))?;
        }
        world.come_to_rest()?;
        world.lived.datagrams = u64::try_from(world.distributor.done).unwrap();
        Ok(world.lived)
    }

    fn new(seed: u64, broken: Broken) -> Self {
        let mut random = Random::new(seed);
        let members: Vec<Member> =
            (0..=random.below(2)).map(|_| Member::new(&mut random)).collect();
        let rage = [1, 10, 60][random.index(3)];
        Self {
            now: 0,
            broken,
            owner: random.name(),
            distributor: Distributor::default(),
            links: members.iter().map(|_| None).collect(),
            members,
            connections: Vec::new(),
            flights: HashMap::new(),
            sessions: 0,
            hellos: Vec::new(),
            rage,
            lived: Lived::default(),
            random,
        }
    }

    fn check(&self) -> Checked {
        for link in self.links.iter().flatten() {
            let flight = self.flights.get(&link.sid);
            let Some(serving) = self
                .members
                .iter()
                .find_map(|member| member.sessions.get(&link.sid))
                .filter(|_| {
                    flight.is_some_and(|flight| !flight.may_be_lost) && link.sending.is_welcomed()
                })
            else {
                continue;
            };
            let progress = serving.receiving.progress();
            let (acked, next) = (link.sending.acked(), link.sending.next());
            if acked > progress.settled
                || progress.settled > progress.received
                || progress.received >= next
            {
                return Err(format!("S3: acked {acked}, {progress:?}, next {next}"));
            }
        }
        for serving in self.members.iter().flat_map(|member| member.sessions.values()) {
            serving.check_bounds()?;
        }
        self.distributor.check(&self.flights)
    }

    /// No more faults: everything must be done before long.
    fn come_to_rest(&mut self) -> Checked {
        if self.members.iter().all(|member| member.leaving) {
            self.add_member();
        }
        for member in &mut self.members {
            member.frozen_until = 0;
        }
        let (mut patience, mut done) = (PATIENCE, self.distributor.done);
        while patience > 0 {
            patience = if self.distributor.done > done { PATIENCE } else { patience - 1 };
            done = self.distributor.done;
            self.advance(1_000)?;
            for connection in 0..self.connections.len() {
                self.notice(connection, true, true)?;
            }
            for member in 0..self.members.len() {
                self.dial(member);
            }
            for connection in 0..self.connections.len() {
                self.pump(connection, usize::MAX)?;
            }
            self.settle_all()?;
            let records = self.links.iter().flatten().filter_map(|link| {
                let serving =
                    self.members.iter().find_map(|member| member.sessions.get(&link.sid))?;
                Some(serving.receiving.records())
            });
            if self.distributor.is_done() && records.sum::<usize>() == 0 {
                return Ok(());
            }
        }
        let open = self.distributor.items.len() - self.distributor.done;
        Err(format!(
            "L1: {open} datagrams are not done, or records stay, without any further fault"
        ))
    }

    fn add_member(&mut self) {
        if self.members.iter().filter(|member| !member.gone).count() < 3 {
            self.members.push(Member::new(&mut self.random));
            self.links.push(None);
        }
    }
}
