//! Members of a group that wait take turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use seam_core::distributor::{Distributor, Member, Membership, Name, Port, Sending, Wait};
use seam_core::{Batch, Confirmation, Datagram, Events, VirtualClock};

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A member and its bell.
struct Worker {
    member: Member,
    bell: Arc<Bell>,
}

impl Worker {
    fn join(distributor: &Arc<Distributor>) -> Self {
        Self { member: member(distributor), bell: Arc::default() }
    }

    /// Takes up to `max`, or waits; how many it got.
    fn take(&self, max: usize) -> usize {
        self.take_within(max, 1 << 20)
    }

    /// As [`Worker::take`], as many as `bytes` hold beside what it has.
    fn take_within(&self, max: usize, bytes: usize) -> usize {
        let waker = Waker::from(self.bell.clone());
        match self.member.poll_take(max, bytes, &Context::from_waker(&waker)) {
            Wait::Ready(Some(lot)) => lot.pieces.iter().map(|piece| piece.range.len()).sum(),
            Wait::Ready(None) | Wait::Until(_) => 0,
        }
    }

    fn rung(&self) -> usize {
        self.bell.0.load(Ordering::SeqCst)
    }
}

/// A distributor whose members tell what they received, and the way into it.
pub(crate) fn distributor() -> (Arc<Distributor>, Arc<Port>) {
    let distributor = Distributor::told("test".to_owned());
    let sending = Sending {
        credit: 16,
        credit_bytes: 1 << 20,
        confirm: Confirmation::Received,
        events: Events::new(),
    };
    let port = Port::new(distributor.clone(), sending, Arc::new(VirtualClock::new()));
    (distributor, port)
}

pub(crate) fn member(distributor: &Arc<Distributor>) -> Member {
    let membership = Membership {
        group: Name::Default,
        credit: 16,
        credit_bytes: 1 << 20,
        session_expiry: Duration::MAX,
    };
    distributor.session(membership, Arc::new(VirtualClock::new()), Events::new())
}

fn admit(port: &Port, count: usize, size: usize) {
    let mut batch = Batch::new();
    (0..count).for_each(|_| batch.push(Datagram::new(vec![7; size])));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(port.admission().poll(&mut batch, &mut cx), Poll::Ready(Ok(()))));
}

#[test]
fn who_was_woken_and_came_too_late_is_first_next_time() {
    let (distributor, port) = distributor();
    let (fast, slow) = (Worker::join(&distributor), Worker::join(&distributor));
    assert_eq!((fast.take(2), slow.take(2)), (0, 0), "both wait");

    admit(&port, 4, 9);
    assert_eq!((fast.rung(), slow.rung()), (1, 0));
    assert_eq!(fast.take(2), 2);
    assert_eq!(slow.rung(), 1, "there is more than one takes");
    assert_eq!((fast.take(2), fast.take(2), slow.take(2)), (2, 0, 0), "too late");

    admit(&port, 1, 9);
    assert_eq!((fast.rung(), slow.rung()), (1, 2), "its turn");
    assert_eq!(slow.take(2), 1);
}

#[test]
fn what_one_has_no_room_for_another_is_called_to_take() {
    let (distributor, port) = distributor();
    let (narrow, wide) = (Worker::join(&distributor), Worker::join(&distributor));
    admit(&port, 1, 1000);
    assert_eq!((narrow.take_within(16, 1500), narrow.take_within(16, 500)), (1, 0));
    assert_eq!(wide.take(16), 0);
    admit(&port, 1, 1000);
    assert_eq!((narrow.rung(), wide.rung()), (1, 0), "who waits longest is called first");
    assert_eq!(narrow.take_within(16, 500), 0, "it does not fit beside what it has in hand");
    assert_eq!(wide.rung(), 1);
    assert_eq!(wide.take(16), 1);
}
