//! How a connection ends, and a peer.

use std::task::{Context, Waker};

use seam_core::{Error, Event};
use seam_wire::{Fault, FaultCode, Frame};

use super::State;
use super::io::Trouble;
use crate::carrier::told;
use crate::handshake::fault_error;
use crate::inbound::Inbound;
use crate::outbound::Outbound;
use crate::shared::Shared;

impl State {
    /// The connection is of no use any more.
    pub(super) fn fail(&mut self, shared: &Shared, trouble: Trouble) {
        let error = match trouble {
            Trouble::Fault(fault) => {
                let error = fault_error(&shared.name, &fault);
                if fault.code.is_terminal() {
                    self.terminal = Some(error.clone());
                }
                if fault.code == FaultCode::Closing {
                    self.part();
                }
                error
            }
            Trouble::Terminal(error) => {
                self.terminal = Some(error.clone());
                error
            }
            Trouble::Denied(what) => {
                self.tell_fault(Fault { code: FaultCode::Denied, text: what.to_owned() });
                let reason = format!("the peer was told: {what}");
                Error::Denied { endpoint: shared.name.clone(), reason }
            }
            Trouble::Wire(error) => {
                self.tell_fault(Fault { code: error.fault(), text: error.to_string() });
                Error::Protocol { endpoint: shared.name.clone(), reason: error.to_string() }
            }
            Trouble::Io(error) => {
                self.read_rest();
                let told = told(&error);
                if let Some(error) = told.as_ref().filter(|error| !error.is_retryable()) {
                    self.terminal = Some(error.clone());
                }
                let error = told.unwrap_or_else(|| Error::disconnected(&*shared.name, error));
                if self.plain.is_some() && self.ends.alone {
                    // It was cut, and nobody sends again what was lost: it is no good end.
                    self.ends.inbox.fail(&error);
                }
                error
            }
            Trouble::Ended => Error::disconnected(&*shared.name, "the peer closed the connection"),
        };
        self.detach(&error);
        shared.events().emit(Event::Disconnected { reason: error.to_string() });
    }

    /// Reads what a peer of version 1 had sent before it went; nobody else has it.
    pub(super) fn read_rest(&mut self) {
        let (Some(io), Some(plain)) = (&mut self.io, &mut self.plain) else { return };
        let mut cx = Context::from_waker(Waker::noop());
        while plain.frames(&mut io.buffer).is_ok() && io.read(&mut cx).is_ok_and(|count| count > 0)
        {
        }
    }

    pub(super) fn tell_fault(&mut self, fault: Fault) {
        if let Some(io) = &mut self.io
            && self.plain.is_none()
        {
            Frame::Fault(fault).encode(0, io.out.buffer());
            // It may have closed already, and then needs no word.
            io.write(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// There is no connection for now; sessions wait for the next one.
    pub(super) fn detach(&mut self, error: &Error) {
        let mut io = self.io.take();
        self.started = None;
        self.permit = None;
        if let (Some(io), Some(plain)) = (&mut io, &mut self.plain) {
            // What came whole was sent, even if what follows it is wrong.
            let _ = plain.frames(&mut io.buffer);
            if self.ends.alone && !io.buffer.is_empty() {
                // Nobody sends the rest again: it is no good end.
                self.ends.inbox.fail(error);
            }
        }
        self.outbound.iter_mut().for_each(Outbound::disconnected);
        self.inbound.iter_mut().for_each(Inbound::disconnected);
        let written = io.map_or(0, |io| io.flushed);
        if let Some(plain) = self.plain.take() {
            plain.end(written);
            tracing::debug!(%error, "a connection of version 1 ended");
        }
    }

    /// The peer has ended: it takes nothing any more, and what came of it is ours.
    pub(super) fn part(&mut self) {
        let mut lost = std::mem::take(&mut self.outbound);
        lost.iter_mut().for_each(Outbound::part);
        for inbound in std::mem::take(&mut self.inbound) {
            inbound.retire();
        }
    }

    /// The peer will not come back.
    pub(super) fn depart(&mut self, error: Error) {
        self.inbound.drain(..).for_each(Inbound::revoke);
        self.outbound.drain(..).for_each(|mut outbound| outbound.end());
        self.detach(&error);
        if self.ends.alone {
            self.ends.inbox.close();
            self.ends.distributor.close(error.clone());
        }
        self.gone.get_or_insert(error);
    }
}
