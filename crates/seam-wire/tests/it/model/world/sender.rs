//! What the sending process does.

use std::time::Duration;

use seam_wire::{Follow, Frame, Learned, Sending, Welcome, WelcomeError};

use super::super::Broken;
use super::super::distributor::{Checked, Flight};
use super::super::pipe::{Pipe, Raw};
use super::{Connection, EXPIRY, Link, World};

impl World {
    /// Says HELLO to a member, on a connection of its own.
    pub(super) fn dial(&mut self, member: usize) {
        let target = &self.members[member];
        if target.gone || (target.leaving && self.links[member].is_none()) {
            return;
        }
        if self.links[member].is_none() {
            self.sessions += 1;
            self.links[member] = Some(Link {
                session: self.sessions,
                sid: [0; 16],
                sending: Sending::new(self.owner, Duration::from_millis(EXPIRY), 4096),
                connection: None,
                last_sign: self.now,
                fin_sent: None,
            });
        }
        let fresh = self.random.name();
        let Some(link) = self.links[member].as_mut().filter(|link| link.connection.is_none())
        else {
            return;
        };
        let hello = link.sending.hello(fresh);
        if link.sid != hello.sid {
            self.flights.remove(&link.sid);
            link.sid = hello.sid;
            self.flights.insert(hello.sid, Flight::new(link.session));
        }
        link.connection = Some(self.connections.len());
        let mut forward = Pipe::default();
        Frame::Hello(hello.clone()).encode(0, forward.out.buffer());
        self.connections.push(Connection {
            member,
            forward,
            back: Pipe::default(),
            sender_open: true,
            receiver_open: true,
            cut: false,
            hello_read: false,
            sid: None,
        });
        self.hellos.push((self.connections.len() - 1, hello));
        if self.hellos.len() > 20 {
            self.hellos.remove(0);
        }
    }

    /// The sender's part of moving a connection on.
    pub(super) fn send_on(&mut self, connection: usize, count: usize) {
        let (budget, most) = (self.random.index(9_000) + 1, self.random.index(12) + 1);
        let member = self.connections[connection].member;
        let Some(link) =
            self.links[member].as_mut().filter(|link| link.connection == Some(connection))
        else {
            return;
        };
        let flight = self.flights.get_mut(&link.sid).expect("each link has its flight");
        self.distributor.feed(&mut link.sending, flight, most, self.broken);
        let pipe = &mut self.connections[connection].forward;
        link.sending.transmit(0, &mut pipe.out, budget);
        if link.sending.ping_due() {
            Frame::Ping(link.sending.ping(7)).encode(0, pipe.out.buffer());
        }
        if link.sending.is_leaving()
            && link.fin_sent != Some(connection)
            && let Some(last) = link.sending.fin()
        {
            link.fin_sent = Some(connection);
            Frame::Fin { last }.encode(0, pipe.out.buffer());
        }
        pipe.write(count);
    }

    /// What the receiving end wrote.
    pub(super) fn on_frame_back(&mut self, connection: usize, raw: &Raw) -> Checked {
        let frame =
            Frame::decode(raw.header.kind, raw.body()).map_err(|error| error.to_string())?;
        let member = self.connections[connection].member;
        let Some(link) =
            self.links[member].as_mut().filter(|link| link.connection == Some(connection))
        else {
            return Ok(());
        };
        link.last_sign = self.now;
        let mut learned = Learned::default();
        match frame {
            Frame::Welcome(welcome) => return self.on_welcome(member, &welcome),
            Frame::Reject(reject) => {
                let follow = link.sending.on_reject(reject);
                self.hang_up(connection);
                match follow {
                    Follow::Anew | Follow::After(_) => return Ok(()),
                    Follow::Lost | Follow::Terminal => return self.session_lost(member, true),
                }
            }
            Frame::Ack(ack) => link.sending.on_ack(&ack, &mut learned),
            Frame::Pong(pong) => link.sending.on_pong(&pong, &mut learned),
            Frame::Leave => {
                link.sending.on_leave();
                Ok(())
            }
            Frame::FinAck => return self.session_ended(member),
            other => return Err(format!("protocol: {other:?} came back")),
        }
        .map_err(|error| format!("protocol: {error}"))?;
        self.learn(member, &learned)
    }

    fn on_welcome(&mut self, member: usize, welcome: &Welcome) -> Checked {
        let link = self.links[member].as_mut().expect("it was there");
        let mut learned = Learned::default();
        self.lived.resumed += u64::from(link.sending.is_welcomed());
        match link.sending.on_welcome(welcome, &mut learned) {
            Ok(()) => self.learn(member, &learned),
            Err(WelcomeError::Lost) => self.session_lost(member, true),
            Err(WelcomeError::Wire(error)) => Err(format!("protocol: {error}")),
        }
    }

    fn learn(&mut self, member: usize, learned: &Learned) -> Checked {
        let link = self.links[member].as_ref().expect("it was there");
        let flight = self.flights.get_mut(&link.sid).expect("each link has its flight");
        self.distributor.learned(flight, learned, self.now)
    }

    /// The sender closes the connection; what it wrote may still arrive.
    pub(super) fn hang_up(&mut self, connection: usize) {
        let member = self.connections[connection].member;
        self.connections[connection].sender_open = false;
        let Some(link) =
            self.links[member].as_mut().filter(|link| link.connection == Some(connection))
        else {
            return;
        };
        link.connection = None;
        link.sending.disconnected();
        if self.broken == Broken::ResendWhileResumable {
            self.distributor.take_back(&self.flights[&link.sid]);
        }
    }

    /// The session is lost, by what the peer said or by this end's own decision.
    pub(super) fn session_lost(&mut self, member: usize, by_peer: bool) -> Checked {
        let link = self.links[member].take().expect("it was there");
        if let Some(connection) = link.connection {
            self.connections[connection].sender_open = false;
        }
        let flight = self.flights.get_mut(&link.sid).expect("each link has its flight");
        if link.fin_sent.is_some() && link.sending.unsettled() == 0 {
            flight.ended = true;
            return Ok(());
        }
        if by_peer && !flight.may_be_lost {
            return Err("S8: the session is lost, and nothing had lost it".into());
        }
        let left = link.sending.into_open();
        self.lived.lost_sessions += 1;
        self.distributor.lost(flight, &left, self.broken)?;
        if self.broken == Broken::ResendAfterUnknown && by_peer {
            self.distributor.resend = left_items(flight, &left);
        }
        Ok(())
    }

    fn session_ended(&mut self, member: usize) -> Checked {
        let link = self.links[member].take().expect("it was there");
        let flight = self.flights.get_mut(&link.sid).expect("each link has its flight");
        flight.ended = true;
        self.lived.ended_sessions += 1;
        if let Some(connection) = link.connection {
            self.connections[connection].sender_open = false;
        }
        let left = link.sending.into_open();
        self.distributor.lost(flight, &left, Broken::Nothing)?;
        if left.unsettled > 0 {
            return Err(format!("S1: the session ended with {} unsettled", left.unsettled));
        }
        Ok(())
    }

    /// Rule 9, and a restart of the sending process.
    pub(super) fn give_up(&mut self, member: usize) -> Checked {
        if let Some(link) = &self.links[member] {
            if let Some(flight) = self.flights.get_mut(&link.sid) {
                flight.may_be_lost = true;
            }
            self.session_lost(member, false)?;
        }
        Ok(())
    }
}

fn left_items(flight: &Flight, left: &seam_wire::Unsettled) -> Vec<usize> {
    flight.sequence.iter().rev().take(left.open.len()).map(|entry| entry.item).collect()
}
