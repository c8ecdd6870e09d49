//! What the receiving ends do.

use std::time::Duration;

use seam_wire::{Frame, Hello};

use super::super::Broken;
use super::super::distributor::{Checked, Outcome};
use super::super::member::{Delivery, Got, Sid};
use super::super::pipe::Raw;
use super::{EXPIRY, World};

impl World {
    /// The receiving end's part of moving a connection on.
    pub(super) fn answer_on(&mut self, connection: usize, count: usize) {
        let Some(sid) = self.connections[connection].sid else {
            self.connections[connection].back.write(count);
            return;
        };
        let tell = self.random.chance(60) || count == usize::MAX;
        let member = self.connections[connection].member;
        let leaving = self.members[member].leaving;
        let serving = self.members[member].sessions.get_mut(&sid);
        let back = &mut self.connections[connection].back;
        if let Some(serving) = serving.filter(|serving| serving.connection == Some(connection)) {
            if tell && serving.receiving.ack_due() {
                serving.receiving.ack(0, &mut back.out);
            }
            if leaving && serving.told_leaving != Some(connection) {
                serving.told_leaving = Some(connection);
                Frame::Leave.encode(0, back.out.buffer());
            }
        }
        back.write(count);
    }

    /// What the sender wrote.
    pub(super) fn on_frame(&mut self, connection: usize, raw: &Raw) -> Checked {
        if raw.header.kind == Frame::DATA {
            return self.on_data(connection, raw);
        }
        let member = self.connections[connection].member;
        let frame =
            Frame::decode(raw.header.kind, raw.body()).map_err(|error| error.to_string())?;
        if let Frame::Hello(hello) = frame {
            return self.on_hello(connection, &hello);
        }
        let sid = self.connections[connection].sid.ok_or("protocol: a frame before WELCOME")?;
        let Some(serving) = self.members[member].sessions.get_mut(&sid) else { return Ok(()) };
        serving.last_sign = self.now;
        let back = &mut self.connections[connection].back;
        match frame {
            Frame::Ping(ping) => {
                serving.receiving.on_ping(ping.seen).map_err(|error| format!("S3: {error}"))?;
                Frame::Pong(serving.receiving.pong(ping.opaque)).encode(0, back.out.buffer());
            }
            Frame::Fin { last } => {
                serving.receiving.on_fin(last).map_err(|error| format!("S1: {error}"))?;
                Frame::FinAck.encode(0, back.out.buffer());
                self.members[member].forget(&sid);
                let leaving = &mut self.members[member];
                leaving.gone |= leaving.leaving && leaving.sessions.is_empty();
            }
            other => return Err(format!("protocol: {other:?} came")),
        }
        Ok(())
    }

    fn on_hello(&mut self, connection: usize, hello: &Hello) -> Checked {
        let member = self.connections[connection].member;
        self.connections[connection].hello_read = true;
        if let Err(reject) = self.accept(member, hello)? {
            Frame::Reject(reject).encode(0, self.connections[connection].back.out.buffer());
            return Ok(());
        }
        let serving = self.members[member].sessions.get_mut(&hello.sid).expect("it was accepted");
        serving.connection = Some(connection);
        let welcome = serving.receiving.welcome(Duration::from_millis(EXPIRY), None);
        self.connections[connection].sid = Some(hello.sid);
        Frame::Welcome(welcome).encode(0, self.connections[connection].back.out.buffer());
        Ok(())
    }

    /// Asks the session, and closes what carried it before.
    pub(super) fn accept(
        &mut self,
        member: usize,
        hello: &Hello,
    ) -> Result<Result<(), seam_wire::Reject>, String> {
        let before = self.members[member].sessions.get(&hello.sid);
        let (epoch, old) =
            before.map_or((0, None), |serving| (serving.receiving.epoch(), serving.connection));
        if let Err(reject) = self.members[member].on_hello(hello, self.now) {
            return Ok(Err(reject));
        }
        let serving = self.members[member].sessions.get_mut(&hello.sid).expect("it was accepted");
        serving.last_sign = self.now;
        serving.connection = None;
        if serving.receiving.epoch() <= epoch || serving.receiving.owner() != hello.owner {
            return Err(format!(
                "S4: attempt {} after epoch {epoch}, or of another owner",
                hello.attempt
            ));
        }
        if let Some(old) = old.filter(|_| self.broken != Broken::OldReaderStays) {
            self.connections[old].receiver_open = false;
        }
        Ok(Ok(()))
    }

    fn on_data(&mut self, connection: usize, raw: &Raw) -> Checked {
        let member = self.connections[connection].member;
        let sid = self.connections[connection].sid.ok_or("protocol: DATA before WELCOME")?;
        let Some(serving) = self.members[member].sessions.get_mut(&sid) else { return Ok(()) };
        serving.last_sign = self.now;
        let before = serving.receiving.progress().received;
        let mut got = Got { frame: raw.bytes.clone(), datagrams: Vec::new() };
        let result = serving.receiving.on_data(&raw.bytes, 8..raw.bytes.len(), &mut got);
        result.map_err(|error| format!("S2: {error}"))?;
        if serving.connection != Some(connection) && serving.receiving.progress().received > before
        {
            return Err("S4: a connection delivered after another one took its session".into());
        }
        let flight = self.flights.get_mut(&sid).ok_or("S6: a delivery of no session")?;
        if serving.receiving.progress().received < flight.received {
            return Err("S7: the receiving end went back".into());
        }
        flight.received = serving.receiving.progress().received;
        for (number, datagram, attempt, possible_duplicate) in got.datagrams {
            let index = flight.delivered;
            let entry =
                flight.sequence.get(index).ok_or("S2: a delivery of nothing that was admitted")?;
            let sent = &self.distributor.items[entry.item].datagram;
            if *sent != datagram
                || (entry.attempt, entry.possible_duplicate) != (attempt, possible_duplicate)
            {
                return Err(format!("S2: number {number} is not entry {index}"));
            }
            self.lived.repeated += u64::from(self.distributor.delivered(flight, index)?);
            flight.delivered += 1;
            self.members[member].hand.push(Delivery { sid, number, index, attempt });
        }
        Ok(())
    }

    /// Settles what the application has at `place` of its hand.
    pub(super) fn settle(
        &mut self,
        member: usize,
        place: usize,
        outcome: Option<Duration>,
    ) -> Checked {
        let delivery = self.members[member].hand.remove(place);
        let outcome = match outcome {
            None => Outcome::Done,
            Some(after) => Outcome::Released { attempt: delivery.attempt + 1, after },
        };
        self.record(&delivery.sid, delivery.index, outcome)?;
        let Some(serving) = self.members[member].sessions.get_mut(&delivery.sid) else {
            return Ok(());
        };
        match outcome {
            Outcome::Done => serving.receiving.done(delivery.number..delivery.number + 1),
            Outcome::Released { attempt, after } => {
                serving.receiving.released(delivery.number, attempt, after);
            }
        }
        Ok(())
    }

    /// As lanes and batches do: a run of deliveries in one call.
    pub(super) fn settle_run(&mut self, member: usize) -> Checked {
        let Some(first) = self.members[member].hand.first().cloned() else { return Ok(()) };
        let run = self.members[member].hand.iter().zip(first.number..);
        let count = run.take_while(|(d, number)| d.sid == first.sid && d.number == *number).count();
        let run: Vec<Delivery> = self.members[member].hand.drain(..count).collect();
        for delivery in &run {
            self.record(&delivery.sid, delivery.index, Outcome::Done)?;
        }
        if let Some(serving) = self.members[member].sessions.get_mut(&first.sid) {
            let end = first.number + u64::try_from(count).unwrap();
            serving.receiving.done(first.number..end);
        }
        Ok(())
    }

    fn record(&mut self, sid: &Sid, index: usize, outcome: Outcome) -> Checked {
        let flight = self.flights.get_mut(sid).ok_or("S1: a verdict of no session")?;
        match flight.sequence[index].verdict.replace(outcome) {
            None => Ok(()),
            Some(_) => Err("S9: two verdicts for one delivery".into()),
        }
    }

    pub(super) fn settle_all(&mut self) -> Checked {
        for member in 0..self.members.len() {
            while !self.members[member].hand.is_empty() {
                self.settle_run(member)?;
            }
        }
        Ok(())
    }
}
