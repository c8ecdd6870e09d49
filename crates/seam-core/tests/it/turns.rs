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
    fn join(distributor: &Arc<Distributor>, clock: &VirtualClock) -> Self {
        let membership = Membership {
            group: Name::Default,
            credit: 16,
            credit_bytes: 1 << 20,
            session_expiry: Duration::MAX,
        };
        let member = distributor.session(membership, Arc::new(clock.clone()), Events::new());
        Self { member, bell: Arc::default() }
    }

    /// Takes up to `max`, or waits; how many it got.
    fn take(&self, max: usize) -> usize {
        let waker = Waker::from(self.bell.clone());
        match self.member.poll_take(max, 1 << 20, &Context::from_waker(&waker)) {
            Wait::Ready(Some(lot)) => lot.pieces.iter().map(|piece| piece.range.len()).sum(),
            Wait::Ready(None) | Wait::Until(_) => 0,
        }
    }

    fn rung(&self) -> usize {
        self.bell.0.load(Ordering::SeqCst)
    }
}

#[test]
fn who_was_woken_and_came_too_late_is_first_next_time() {
    let clock = VirtualClock::new();
    let distributor = Distributor::told("test".to_owned());
    let sending = Sending {
        credit: 16,
        credit_bytes: 1 << 20,
        confirm: Confirmation::Received,
        events: Events::new(),
    };
    let port = Port::new(distributor.clone(), sending, Arc::new(clock.clone()));
    let admit = |count: usize| {
        let mut batch = Batch::new();
        (0..count).for_each(|_| batch.push(Datagram::new("12 apples")));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(port.admission().poll(&mut batch, &mut cx), Poll::Ready(Ok(()))));
    };
    let (fast, slow) = (Worker::join(&distributor, &clock), Worker::join(&distributor, &clock));
    assert_eq!((fast.take(2), slow.take(2)), (0, 0), "both wait");

    admit(4);
    assert_eq!((fast.rung(), slow.rung()), (1, 0));
    assert_eq!(fast.take(2), 2);
    assert_eq!(slow.rung(), 1, "there is more than one takes");
    assert_eq!((fast.take(2), fast.take(2), slow.take(2)), (2, 0, 0), "too late");

    admit(1);
    assert_eq!((fast.rung(), slow.rung()), (1, 2), "its turn");
    assert_eq!(slow.take(2), 1);
}
