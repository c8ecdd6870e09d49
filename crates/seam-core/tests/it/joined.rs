//! Datagrams that are sent one by one, and wait as one run.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use seam_core::distributor::{Lot, Member, Port, Wait};
use seam_core::driver::{Sender, Ticket};
use seam_core::{Batch, Datagram, Fate};

use super::turns::{distributor, member};

struct Line {
    port: Arc<Port>,
    member: Member,
}

impl Line {
    fn new() -> Self {
        let (distributor, port) = distributor();
        Self { port, member: member(&distributor) }
    }

    fn send(&self, text: &'static str) -> Ticket {
        let mut batch = Batch::new();
        batch.push(Datagram::new(text));
        assert!(matches!(self.port.admit_now(&mut batch), Some(Ok(()))));
        batch.take_ticket()
    }

    fn take(&self, max: usize) -> Lot {
        match self.member.poll_take(max, 1 << 20, &Context::from_waker(Waker::noop())) {
            Wait::Ready(Some(lot)) => lot,
            other => panic!("{other:?}"),
        }
    }

    fn has_receipt(&self, ticket: &Ticket) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        match self.port.poll_receipts(ticket, &mut cx) {
            Poll::Ready(receipts) => receipts.all_ok(),
            Poll::Pending => false,
        }
    }
}

#[test]
fn each_has_its_own_receipt() {
    let line = Line::new();
    let tickets = ["1", "2", "3"].map(|text| line.send(text));
    let lot = line.take(16);
    assert_eq!((lot.pieces.len(), lot.pieces[0].range.len()), (1, 3));
    line.member.received(lot.token, 0..2);
    assert_eq!(tickets.each_ref().map(|ticket| line.has_receipt(ticket)), [true, true, false]);
    line.member.learn([(lot.token, 2..3)], [(lot.token, 0..3)]);
    assert!(line.has_receipt(&tickets[2]));
}

#[test]
fn nothing_joins_what_was_taken() {
    let line = Line::new();
    let first = line.send("1");
    let lot = line.take(16);
    let second = line.send("2");
    line.member.received(lot.token, 0..1);
    assert!(line.has_receipt(&first) && !line.has_receipt(&second));
    assert_eq!(line.take(16).pieces.len(), 1);
}

#[test]
fn one_that_is_withdrawn_leaves_the_others() {
    let line = Line::new();
    let [first, second, third] = ["1", "2", "3"].map(|text| line.send(text));
    let withdrawn = line.port.withdraw(second);
    assert_eq!(withdrawn.failed().len(), 1);
    assert_eq!(withdrawn.failed()[0].1.fate(), Fate::NotSent);
    let lot = line.take(16);
    let count: usize = lot.pieces.iter().map(|piece| piece.range.len()).sum();
    assert_eq!(count, 2);
    line.member.learn([(lot.token, 0..1)], [(lot.token, 0..1)]);
    assert!(line.has_receipt(&first) && !line.has_receipt(&third));
    line.member.learn([(lot.token, 1..2)], [(lot.token, 1..2)]);
    assert!(line.has_receipt(&third));
}
