//! Who is called to take something, and cannot, leaves it to another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use seam_core::distributor::{Distributor, Member, Membership, Name, Port, Sending, Wait};
use seam_core::{Batch, Clock, Confirmation, Datagram, Events, VirtualClock};

#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Taker {
    member: Member,
    calls: Arc<Calls>,
}

impl Taker {
    fn new(distributor: &Arc<Distributor>, clock: &Arc<dyn Clock>) -> Self {
        let membership = Membership {
            group: Name::Default,
            credit: usize::MAX,
            credit_bytes: usize::MAX,
            session_expiry: Duration::MAX,
        };
        let member = distributor.session(membership, clock.clone(), Events::new());
        Self { member, calls: Arc::default() }
    }

    /// Takes what fits into `bytes`, as long as there is something that does; says how many those were.
    fn take(&self, bytes: usize) -> usize {
        let waker = Waker::from(self.calls.clone());
        let (cx, mut taken) = (Context::from_waker(&waker), 0);
        let mut left = bytes;
        while let Wait::Ready(Some(lot)) = self.member.poll_take(64, left, &cx) {
            for piece in lot.pieces {
                left -= piece.content.size(piece.range.clone());
                taken += piece.range.len();
            }
        }
        taken
    }

    fn calls(&self) -> usize {
        self.calls.0.load(Ordering::SeqCst)
    }
}

#[test]
fn what_one_has_no_room_for_another_is_called_to_take() {
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::new());
    let distributor = Distributor::told("test".to_owned());
    let sending = Sending {
        credit: 16,
        credit_bytes: 1 << 20,
        confirm: Confirmation::Received,
        events: Events::new(),
    };
    let port = Port::new(distributor.clone(), sending, clock.clone());
    let send = || {
        let mut batch = Batch::new();
        batch.push(Datagram::new(vec![7; 1000]));
        assert!(matches!(port.admit_now(&mut batch), Some(Ok(()))));
    };
    let (narrow, wide) = (Taker::new(&distributor, &clock), Taker::new(&distributor, &clock));
    send();
    assert_eq!(narrow.take(1500), 1);
    assert_eq!(wide.take(1 << 20), 0);
    send();
    assert_eq!((narrow.calls(), wide.calls()), (1, 0), "who waits longest is called first");
    assert_eq!(narrow.take(500), 0, "it has something in hand, and this does not fit beside it");
    assert_eq!(wide.calls(), 1);
    assert_eq!(wide.take(1 << 20), 1);
}
