//! What a peer says, frame by frame.

use std::sync::atomic::Ordering;
use std::task::Context;

use seam_core::Action;
use seam_wire::{Frame, Header, Hello, Ping, Pong, Reject, WireError, header};

use super::io::Trouble;
use super::time::began;
use super::{By, FRAME, READ, Remote, State};
use crate::inbound::Inbound;

impl State {
    pub(super) fn read(&mut self, remote: &Remote, cx: &mut Context<'_>) -> Result<(), Trouble> {
        let mut read = 0;
        loop {
            self.frames(remote)?;
            let Some(io) = &mut self.io else { return Ok(()) };
            if read >= READ {
                remote.wanted.fetch_or(By::Driver.bit(), Ordering::SeqCst);
                return Ok(());
            }
            match io.read(cx)? {
                0 => return Ok(()),
                count => read += count,
            }
            self.heard = remote.shared.clock().now();
            self.pinged = 0;
        }
    }

    /// Handles every whole frame that was read.
    pub(super) fn frames(&mut self, remote: &Remote) -> Result<(), Trouble> {
        loop {
            let Some(io) = &mut self.io else { return Ok(()) };
            let header = header(&io.buffer, FRAME)?;
            let whole = header.map_or(Header::SIZE, |header| Header::SIZE + header.body);
            let Some(header) = header.filter(|_| io.buffer.len() >= whole) else {
                io.make_room(whole);
                self.started = began(self.started, self.heard, &io.buffer, whole);
                return Ok(());
            };
            self.started = None;
            if header.version != 2 {
                return Err(WireError::Version { version: header.version }.into());
            }
            let frame = io.buffer.split_to(whole).freeze();
            if header.kind == Frame::DATA {
                let inbound =
                    self.inbound.iter_mut().find(|inbound| inbound.channel == header.channel);
                let inbound =
                    inbound.ok_or(WireError::Protocol { rule: "no DATA before HELLO" })?;
                inbound.on_data(&frame, Header::SIZE..whole)?;
            } else {
                let frame =
                    Frame::decode(header.kind, frame.get(Header::SIZE..).unwrap_or_default())?;
                self.handle(remote, header.channel, frame)?;
            }
        }
    }

    pub(super) fn handle(
        &mut self,
        remote: &Remote,
        channel: u8,
        frame: Frame,
    ) -> Result<(), Trouble> {
        let now = self.heard;
        match frame {
            Frame::Hello(hello) => return self.on_hello(remote, channel, &hello),
            Frame::Ping(ping) => return self.on_ping(channel, ping),
            Frame::Fin { last } => return self.on_fin(channel, last),
            Frame::Fault(fault) => return Err(Trouble::Fault(fault)),
            Frame::Open(_) | Frame::Prove(_) => {
                return Err(
                    WireError::Protocol { rule: "OPEN and PROVE come first, and once" }.into()
                );
            }
            _ => {}
        }
        let outbound = self.outbound.iter_mut().find(|outbound| outbound.channel == channel);
        let Some(outbound) = outbound else {
            // A keep-alive has no session.
            let rule = "nobody sends on this channel";
            return match frame {
                Frame::Pong(_) => Ok(()),
                _ => Err(WireError::Protocol { rule }.into()),
            };
        };
        match frame {
            Frame::Welcome(welcome) => {
                let (Some(io), Some(peer)) = (&mut self.io, &self.peer) else { return Ok(()) };
                if remote.shared.allow(peer, Action::Receive).is_err() {
                    return Err(Trouble::Denied("you may not receive here"));
                }
                if !outbound.on_welcome(&welcome, &io.group)? {
                    outbound.hello_at = Some(now);
                }
            }
            Frame::Ack(ack) => outbound.on_ack(&ack)?,
            Frame::Pong(pong) => outbound.on_pong(&pong)?,
            Frame::Leave => outbound.on_leave(),
            Frame::FinAck => outbound.on_fin_ack(now),
            Frame::Reject(reject) => {
                if let Some(error) = outbound.on_reject(reject, now) {
                    return Err(Trouble::Terminal(error));
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn on_hello(
        &mut self,
        remote: &Remote,
        channel: u8,
        hello: &Hello,
    ) -> Result<(), Trouble> {
        let answer = self.greet(remote, channel, hello);
        let Some(io) = &mut self.io else { return Ok(()) };
        if let Err(reject) = answer {
            Frame::Reject(reject).encode(channel, io.out.buffer());
        }
        Ok(())
    }

    pub(super) fn greet(
        &mut self,
        remote: &Remote,
        channel: u8,
        hello: &Hello,
    ) -> Result<(), Reject> {
        let Some(io) = &mut self.io else { return Ok(()) };
        let known = self.inbound.iter().position(|inbound| inbound.channel == channel);
        if let Some(at) = known {
            if self.inbound[at].is_of(hello) {
                self.inbound[at].resume(hello, &io.binding)?;
                self.inbound[at].attend(io.secret, &mut io.out);
                return Ok(());
            }
            if hello.resume {
                return Err(Reject::Unknown);
            }
        }
        let inbox = match channel {
            0 => self.ends.inbox.clone(),
            _ => self.ends.callers.inbox(channel).ok_or(Reject::Unknown)?,
        };
        if let Some(peer) = &self.peer
            && remote.shared.allow(peer, Action::Send).is_err()
        {
            return Err(Reject::Fenced);
        }
        let feed = inbox.feed(remote.this.clone(), self.peer.clone());
        let new = Inbound::new(channel, hello, &remote.shared, inbox, feed.clone());
        let mut inbound = match new {
            Ok(inbound) => inbound,
            Err(reject) => {
                feed.revoke();
                return Err(reject);
            }
        };
        inbound.attend(io.secret, &mut io.out);
        if let Some(at) = known {
            std::mem::replace(&mut self.inbound[at], inbound).revoke();
        } else {
            self.inbound.push(inbound);
        }
        Ok(())
    }

    pub(super) fn on_ping(&mut self, channel: u8, ping: Ping) -> Result<(), Trouble> {
        let Some(io) = &mut self.io else { return Ok(()) };
        let inbound = self.inbound.iter_mut().find(|inbound| inbound.channel == channel);
        match inbound.filter(|inbound| inbound.is_welcomed()) {
            Some(inbound) => inbound.on_ping(ping, &mut io.out)?,
            None => {
                let pong = Pong { opaque: ping.opaque, progress: None };
                Frame::Pong(pong).encode(channel, io.out.buffer());
            }
        }
        Ok(())
    }

    pub(super) fn on_fin(&mut self, channel: u8, last: u64) -> Result<(), Trouble> {
        let Some(io) = &mut self.io else { return Ok(()) };
        let Some(at) = self.inbound.iter().position(|inbound| inbound.channel == channel) else {
            return Err(WireError::Protocol { rule: "no FIN before HELLO" }.into());
        };
        self.inbound[at].on_fin(last, &mut io.out)?;
        self.inbound.remove(at).revoke();
        Ok(())
    }
}
