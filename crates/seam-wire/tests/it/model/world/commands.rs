//! What happens next, as the seed says.

use std::time::Duration;

use seam_core::Datagram;
use seam_wire::Reject;

use super::super::distributor::Checked;
use super::super::member::{MAX_PAYLOAD, window};
use super::{Connection, EXPIRY, World};

impl World {
    pub(super) fn command(&mut self) -> Checked {
        let member = self.random.index(self.members.len());
        match self.random.below(100) {
            0..22 => self.send(),
            22..55 => return self.pump_any(),
            55..70 => return self.settle_any(member),
            70..73 => return self.release_any(member),
            73..76 => self.dial(member),
            76..80 => {
                let time = self.random.below(500);
                return self.advance(time);
            }
            80..83 => self.cut(),
            83..87 => return self.notice_any(),
            87..88 => self.members[member].frozen_until = self.now + self.random.below(3_000),
            88..91 => return self.late_hello(),
            91..93 => self.change_window(member),
            93..95 => self.keep_alive(member),
            _ if self.random.chance(self.rage) => return self.disaster(member),
            _ => return self.pump_any(),
        }
        Ok(())
    }

    fn send(&mut self) {
        for _ in 0..=self.random.below(5) {
            let length = match self.random.below(20) {
                0 => self.random.index(MAX_PAYLOAD),
                1..5 => self.random.index(400),
                _ => self.random.index(70),
            };
            let name = self.distributor.items.len().to_be_bytes();
            let payload: Vec<u8> = name.iter().cycle().take(length).copied().collect();
            let key = self.random.chance(60).then(|| u8::try_from(self.random.below(4)).unwrap());
            let mut datagram = match self.random.below(12) {
                0 => Datagram::empty(),
                _ => Datagram::new(payload),
            };
            if self.random.chance(20) {
                datagram = datagram.with_tag(u16::try_from(self.random.below(3)).unwrap());
            }
            // A key need not be in the envelope for the distributor to know it; most runs stay plain.
            if let Some(key) = key.filter(|_| self.random.chance(30)) {
                datagram = datagram.with_key(vec![key]).with_header("name", 7_u64);
            }
            self.distributor.send(datagram, key);
        }
    }

    fn pump_any(&mut self) -> Checked {
        let live: Vec<usize> = (0..self.connections.len())
            .filter(|place| {
                self.connections[*place].sender_open || self.connections[*place].receiver_open
            })
            .collect();
        if live.is_empty() {
            let member = self.random.index(self.members.len());
            self.dial(member);
            return Ok(());
        }
        let count = match self.random.below(4) {
            0 => self.random.index(30),
            1 => self.random.index(3_000),
            _ => 20_000,
        };
        let connection = live[self.random.index(live.len())];
        self.pump(connection, count)
    }

    /// Moves a connection on in both directions, by at most `count` bytes each.
    pub(super) fn pump(&mut self, connection: usize, count: usize) -> Checked {
        let frozen = self.members[self.connections[connection].member].frozen_until > self.now;
        if self.connections[connection].sender_open && !self.connections[connection].cut {
            self.send_on(connection, count);
        }
        if self.connections[connection].receiver_open && !frozen {
            for raw in self.connections[connection].forward.read(count)? {
                if self.connections[connection].receiver_open {
                    self.on_frame(connection, &raw)?;
                }
            }
            if !self.connections[connection].cut {
                self.answer_on(connection, count);
            }
        }
        if self.connections[connection].sender_open {
            for raw in self.connections[connection].back.read(count)? {
                if self.connections[connection].sender_open {
                    self.on_frame_back(connection, &raw)?;
                }
            }
        }
        Ok(())
    }

    fn settle_any(&mut self, member: usize) -> Checked {
        if self.random.chance(40) {
            return self.settle_run(member);
        }
        for _ in 0..self.random.below(4) {
            let hand = self.members[member].hand.len();
            if hand > 0 {
                let place = self.random.index(hand);
                self.settle(member, place, None)?;
            }
        }
        Ok(())
    }

    /// A retry with a delay, or a delivery that is dropped.
    fn release_any(&mut self, member: usize) -> Checked {
        let hand = self.members[member].hand.len();
        if hand == 0 {
            return Ok(());
        }
        let after = if self.random.chance(50) { 0 } else { self.random.below(2_000) };
        let place = self.random.index(hand);
        self.settle(member, place, Some(Duration::from_millis(after)))
    }

    fn cut(&mut self) {
        if self.connections.is_empty() {
            return;
        }
        let from = self.connections.len().saturating_sub(3);
        let place = from + self.random.index(self.connections.len() - from);
        let (forward, back) = (self.random.index(5_000), self.random.index(200));
        let connection = &mut self.connections[place];
        connection.cut = true;
        connection.forward.lose_after(forward);
        connection.back.lose_after(back);
    }

    fn notice_any(&mut self) -> Checked {
        if self.connections.is_empty() {
            return Ok(());
        }
        let from = self.connections.len().saturating_sub(4);
        let place = from + self.random.index(self.connections.len() - from);
        let (sender, receiver) = (self.random.chance(60), self.random.chance(60));
        // A sender may also take a slow connection for dead.
        if sender && self.random.chance(20) {
            self.hang_up(place);
        }
        self.notice(place, sender, receiver)
    }

    /// The ends notice that a connection is gone, once they have read what still came.
    pub(super) fn notice(&mut self, place: usize, sender: bool, receiver: bool) -> Checked {
        let gone = |world: &Self| {
            let connection = &world.connections[place];
            connection.cut || !connection.sender_open || !connection.receiver_open
        };
        if gone(self) {
            self.pump(place, 50_000)?;
        }
        if !gone(self) {
            return Ok(());
        }
        if sender && self.connections[place].sender_open {
            self.hang_up(place);
        }
        if receiver && self.connections[place].receiver_open {
            self.connections[place].receiver_open = false;
            let member = &mut self.members[self.connections[place].member];
            for serving in member.sessions.values_mut().filter(|s| s.connection == Some(place)) {
                serving.connection = None;
            }
        }
        Ok(())
    }

    pub(super) fn advance(&mut self, time: u64) -> Checked {
        self.now += time;
        self.distributor.advance(self.now);
        let silent = |last_sign: u64| last_sign + EXPIRY < self.now;
        for member in &mut self.members {
            let expired = member
                .sessions
                .iter()
                .filter(|(_, s)| s.connection.is_none() && silent(s.last_sign));
            let expired: Vec<_> = expired.map(|(sid, _)| *sid).collect();
            for sid in expired {
                member.forget(&sid);
                if let Some(flight) = self.flights.get_mut(&sid) {
                    flight.may_be_lost = true;
                }
            }
        }
        let silent = |link: &super::Link| link.sending.is_welcomed() && silent(link.last_sign);
        let lost: Vec<usize> = (0..self.links.len())
            .filter(|member| {
                self.links[*member]
                    .as_ref()
                    .is_some_and(|link| link.connection.is_none() && silent(link))
            })
            .collect();
        lost.into_iter().try_for_each(|member| self.give_up(member))
    }

    /// A HELLO that was long on its way, or one that was read before, arrives.
    ///
    /// One that was read arrives only where its session is known: that it cannot begin another is up to the proofs
    /// of the handshake, which are not modelled.
    fn late_hello(&mut self) -> Checked {
        if self.hellos.is_empty() {
            return Ok(());
        }
        let (connection, hello) = self.hellos[self.random.index(self.hellos.len())].clone();
        let Connection { member, sender_open, hello_read, receiver_open, .. } =
            self.connections[connection];
        let known = self.members[member].sessions.contains_key(&hello.sid);
        let late = !sender_open && !hello_read && receiver_open;
        if self.members[member].gone || !(late || (hello_read && known)) {
            return Ok(());
        }
        self.connections[connection].hello_read = true;
        self.connections[connection].receiver_open = false;
        if self.accept(member, &hello)?.is_ok() {
            let serving =
                self.members[member].sessions.get_mut(&hello.sid).expect("it was accepted");
            let _unread = serving.receiving.welcome(Duration::from_millis(EXPIRY), None);
        }
        Ok(())
    }

    /// Two owners of one session: the later one takes it, one with another name does not.
    fn clone_sender(&mut self) -> Checked {
        let Some((connection, mut hello)) = self.hellos.last().cloned() else { return Ok(()) };
        let member = self.connections[connection].member;
        let known = self.members[member].sessions.contains_key(&hello.sid);
        hello.resume = true;
        hello.attempt += 1;
        if self.random.chance(50) {
            hello.owner[0] ^= 1;
            let expected = if known { Reject::Fenced } else { Reject::Unknown };
            return match self.accept(member, &hello)? {
                Err(reject) if reject == expected => Ok(()),
                other => Err(format!("S4: another owner gets {other:?}")),
            };
        }
        if self.accept(member, &hello)?.is_ok()
            && let Some(flight) = self.flights.get_mut(&hello.sid)
        {
            flight.may_be_lost = true;
        }
        Ok(())
    }

    fn change_window(&mut self, member: usize) {
        let window = window(&mut self.random);
        let member = &mut self.members[member];
        for serving in member.sessions.values_mut() {
            let largest = &mut serving.largest;
            largest.count = largest.count.max(window.count);
            largest.span = largest.span.max(window.span);
            largest.records = largest.records.max(window.records);
            serving.receiving.set_window(window.clone());
        }
        member.window = window;
    }

    fn keep_alive(&mut self, member: usize) {
        let Some(link) = &mut self.links[member] else { return };
        if let Some(connection) =
            link.connection.filter(|_| link.sending.is_welcomed() && link.last_sign > 0)
        {
            let ping = link.sending.ping(1);
            let connection = &mut self.connections[connection];
            // Before the WELCOME of this connection nothing but HELLO is written.
            if connection.sid.is_some() && link.sending.is_connected() {
                seam_wire::Frame::Ping(ping).encode(0, connection.forward.out.buffer());
            }
        }
    }

    fn disaster(&mut self, member: usize) -> Checked {
        match self.random.below(7) {
            0 => self.crash_member(member),
            1 if self.random.chance(30) => return self.restart_sender(),
            2 => return self.clone_sender(),
            3 => {
                for connection in 0..self.connections.len() {
                    self.notice(connection, true, true)?;
                }
                let time = self.random.below(EXPIRY * 2);
                return self.advance(time);
            }
            4 => self.add_member(),
            5 if self.random.chance(30) => self.remove_member(member),
            _ => self.cut(),
        }
        Ok(())
    }

    /// The receiving process loses its memory.
    fn crash_member(&mut self, member: usize) {
        for connection in self.connections.iter_mut().filter(|c| c.member == member) {
            connection.receiver_open = false;
        }
        for sid in self.members[member].sessions.keys() {
            if let Some(flight) = self.flights.get_mut(sid) {
                flight.may_be_lost = true;
            }
        }
        self.members[member].sessions.clear();
        self.members[member].hand.clear();
    }

    /// The sending process restarts without a journal, and is asked to send what was not done once more.
    fn restart_sender(&mut self) -> Checked {
        self.owner = self.random.name();
        for member in 0..self.links.len() {
            self.give_up(member)?;
        }
        for connection in &mut self.connections {
            connection.sender_open = false;
        }
        Ok(())
    }

    fn remove_member(&mut self, member: usize) {
        if self.members.iter().filter(|member| !member.leaving).count() > 1 {
            self.members[member].leaving = true;
        }
    }
}
