//! The rules of a session, one by one. `docs/wire.md` numbers them.

use std::time::Duration;

use seam_core::Datagram;
use seam_wire::{
    Ack, EnvelopeLimits, Follow, Frame, Learned, Outgoing, Progress, Receiving, Reject,
    WelcomeError, Window, WireError,
};

use super::peer::{Pair, frame, frames, parcel, plain, sending, wide};

#[test]
fn rule_1_nothing_is_admitted_or_transmitted_before_welcome() {
    let mut sending = sending();
    sending.hello([2; 16]);
    assert_eq!((sending.credit(), sending.admit(parcel(1, &plain(3)))), (0, 0));
    let mut out = Outgoing::new();
    sending.transmit(0, &mut out, usize::MAX);
    assert_eq!(out.pending(), 0);
}

#[test]
fn rule_1_a_new_connection_transmits_only_after_its_welcome() {
    let mut pair = Pair::new(wide());
    pair.admit(1, &plain(3));
    pair.sending.disconnected();
    assert!(pair.transmitted().is_empty());
    let hello = pair.sending.hello([3; 16]);
    assert!(hello.resume && hello.next == 4 && hello.sid == [2; 16]);
    assert!(pair.transmitted().is_empty());
}

#[test]
fn rule_1_each_try_before_the_first_welcome_takes_a_fresh_name() {
    let mut sending = sending();
    assert_eq!((sending.hello([2; 16]).sid, sending.hello([3; 16]).sid), ([2; 16], [3; 16]));
    for reject in [Reject::Unknown, Reject::Stale, Reject::Fenced, Reject::Gap] {
        assert_eq!(sending.on_reject(reject), Follow::Anew);
    }
}

#[test]
fn rule_1_credit_ends_by_number_and_by_bytes() {
    let mut pair = Pair::new(Window::new(3, 1 << 20));
    assert_eq!(pair.admit(1, &plain(5)), 3);
    let mut pair = Pair::new(Window::new(100, 10));
    assert_eq!(
        pair.admit(1, &vec![Datagram::new("1234"); 9]),
        3,
        "the third begins with 2 bytes left"
    );
    assert_eq!((pair.sending.credit(), pair.sending.room_bytes()), (0, 0));
}

#[test]
fn rule_1_a_datagram_larger_than_the_window_passes() {
    let mut pair = Pair::new(Window::new(2, 10));
    let large = Datagram::new(vec![7; 100_000]).with_key("k");
    pair.pass(1, std::slice::from_ref(&large));
    assert_eq!(pair.got.datagrams, [(25, large, 1, false)]);
    assert_eq!(pair.sending.credit(), 0);
    pair.receiving.done(25..26);
    pair.ack();
    assert_eq!(pair.learned.done, [(1, 0..1)]);
    assert_eq!((pair.sending.credit(), pair.sending.room_bytes()), (2, 10));
}

#[test]
fn rule_2_what_came_already_is_dropped_and_a_gap_is_refused() {
    let mut pair = Pair::new(wide());
    pair.admit(1, &plain(2));
    let first = pair.transmitted();
    pair.admit(2, &plain(2));
    let second = pair.transmitted();
    assert_eq!(pair.deliver(&second), Err(WireError::Gap { expected: 1, received: 3 }));
    pair.deliver(&first).unwrap();
    pair.deliver(&first).unwrap();
    pair.deliver(&second).unwrap();
    assert_eq!(pair.got.datagrams.iter().map(|got| got.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn rule_2_one_frame_may_hold_old_and_new_numbers() {
    let mut pair = Pair::new(wide());
    pair.pass(1, &plain(2));
    let mut other = Pair::new(wide());
    other.admit(1, &plain(5));
    let all = other.transmitted();
    pair.deliver(&all).unwrap();
    assert_eq!(pair.got.datagrams.iter().map(|got| got.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

#[test]
fn rule_3_the_first_outcome_stays() {
    let mut pair = Pair::new(wide());
    pair.pass(1, &plain(3));
    pair.receiving.released(2, 2, Duration::ZERO);
    pair.receiving.done(1..4);
    pair.receiving.released(3, 2, Duration::ZERO);
    pair.receiving.released(9, 2, Duration::ZERO);
    pair.receiving.done(4..90);
    pair.ack();
    assert_eq!(pair.learned.done, [(1, 0..1), (1, 2..3)]);
    assert_eq!(
        pair.learned.released.iter().map(|released| released.place).collect::<Vec<_>>(),
        [1]
    );
    assert!(pair.sending.is_idle());
}

#[test]
fn rules_3_and_6_a_record_stays_until_it_was_seen() {
    let mut pair = Pair::new(wide());
    pair.pass(1, &plain(2));
    pair.receiving.released(1, 2, Duration::from_millis(7));
    pair.receiving.done(2..3);
    let lost = pair.next_ack();
    assert_eq!((lost.progress.settled, lost.released.len()), (2, 1));
    pair.reconnect();
    assert_eq!(pair.learned.released.len(), 1, "WELCOME tells it once more");
    assert_eq!(pair.learned.done, [(1, 1..2)]);
    assert!(pair.sending.ping_due());
    assert_eq!(pair.receiving.records(), 1);
    let ping = pair.sending.ping(5);
    assert_eq!((ping.opaque, ping.seen), (5, 2));
    pair.receiving.on_ping(ping.seen).unwrap();
    assert_eq!((pair.receiving.records(), pair.sending.ping_due()), (0, false));
}

#[test]
fn rule_4_what_was_told_early_is_told_once_and_learned_once() {
    let mut pair = Pair::new(wide());
    pair.pass(1, &plain(6));
    pair.receiving.done(3..5);
    pair.receiving.released(6, 2, Duration::ZERO);
    let early = pair.next_ack();
    assert_eq!((early.progress.settled, early.released.len()), (0, 1));
    assert_eq!((early.done.len(), early.done[0].clone()), (1, 3..5));
    pair.sending.on_ack(&early, &mut pair.learned).unwrap();
    assert!(!pair.receiving.ack_due());
    pair.receiving.done(1..6);
    let rest = pair.next_ack();
    assert_eq!((rest.progress.settled, rest.done.len(), rest.released.len()), (6, 0, 0));
    pair.sending.on_ack(&rest, &mut pair.learned).unwrap();
    assert_eq!(pair.learned.done, [(1, 2..4), (1, 0..2), (1, 4..5)]);
    assert_eq!(pair.learned.released.len(), 1);
    assert!(pair.sending.ping_due(), "`acked` passed a released number");
}

#[test]
fn rule_4_a_list_too_long_for_a_frame_goes_on_in_the_next() {
    let mut pair = Pair::new(Window::new(5_000, 1 << 20));
    pair.pass(1, &plain(5_000));
    for number in 1..=5_000 {
        pair.receiving.released(number, 2, Duration::from_hours(1));
    }
    let mut acks = 0;
    while pair.receiving.ack_due() {
        let mut out = Outgoing::new();
        pair.receiving.ack(0, &mut out);
        assert!(out.pending() <= 8 + seam_wire::CONTROL_LIMIT);
        let Frame::Ack(ack) = frame(out.buffer()) else { panic!() };
        pair.sending.on_ack(&ack, &mut pair.learned).unwrap();
        acks += 1;
    }
    assert!(acks > 5 && pair.sending.is_idle());
    assert_eq!((pair.learned.released.len(), pair.learned.done.len()), (5_000, 0));
}

#[test]
fn rule_4_a_welcome_is_cut_as_an_ack_is() {
    let mut pair = Pair::new(Window::new(5_000, 1 << 20));
    pair.pass(1, &plain(5_000));
    for number in (2..=5_000).step_by(2) {
        pair.receiving.released(number, 2, Duration::ZERO);
    }
    pair.receiving.done(7..4_000);
    pair.reconnect();
    while pair.receiving.ack_due() {
        pair.ack();
    }
    assert_eq!(pair.learned.released.len(), 2_500);
}

/// C15: each lie of an ACK.
#[test]
fn rule_5_an_ack_that_tells_what_cannot_be_is_refused() {
    let progress = Progress { settled: 2, received: 4, limit_seq: 104, limit_bytes: 1 << 21 };
    let check = |change: &dyn Fn(&mut Ack), complaint: &str| {
        let mut pair = Pair::new(wide());
        pair.pass(1, &plain(4));
        let mut ack = Ack { progress, ..Ack::default() };
        pair.sending.on_ack(&ack, &mut pair.learned).unwrap();
        change(&mut ack);
        let error = pair.sending.on_ack(&ack, &mut pair.learned).unwrap_err();
        assert!(error.to_string().contains(complaint), "{error}");
    };
    check(&|ack| ack.progress.received = 5, "nothing is received that was not sent");
    check(&|ack| ack.progress.received = 3, "never fall");
    check(&|ack| ack.progress.settled = 1, "never fall");
    check(&|ack| ack.progress.limit_seq = 103, "credit never falls");
    check(&|ack| ack.progress.limit_bytes = 5, "credit never falls");
    check(&|ack| ack.progress.limit_seq = u64::MAX, "credit has an end");
    let released = seam_wire::Released { number: 4, attempt: 2, after: Duration::ZERO };
    check(
        &|ack| {
            ack.done.push(4..5);
            ack.released.push(released);
        },
        "what is done is never released",
    );
}

#[test]
fn rule_5_what_is_known_as_done_is_never_released() {
    let mut pair = Pair::new(wide());
    pair.pass(1, &plain(4));
    pair.receiving.done(4..5);
    pair.ack();
    let mut ack = pair.next_ack();
    ack.released.push(seam_wire::Released { number: 4, attempt: 2, after: Duration::ZERO });
    pair.sending.on_ack(&ack, &mut pair.learned).unwrap_err();
}

#[test]
fn rule_6_seen_does_not_overtake_what_was_admitted() {
    let mut pair = Pair::new(wide());
    pair.pass(1, &plain(1));
    pair.receiving.released(1, 2, Duration::ZERO);
    pair.ack();
    assert!(pair.sending.ping_due());
    pair.admit(2, &plain(1));
    assert!(!pair.sending.ping_due());
    assert_eq!(pair.sending.ping(1).seen, 0, "a keep-alive tells nothing new meanwhile");
    let bytes = pair.transmitted();
    pair.deliver(&bytes).unwrap();
    assert!(pair.sending.ping_due());
    assert_eq!(pair.sending.ping(1).seen, 1);
    pair.receiving.on_ping(2).unwrap_err();
}

#[test]
fn rule_6_a_pong_tells_progress() {
    let mut pair = Pair::new(wide());
    pair.pass(1, &plain(3));
    pair.receiving.done(1..3);
    pair.ack();
    let pong = pair.receiving.pong(9);
    assert_eq!(pong.opaque, 9);
    pair.learned.clear();
    pair.sending.on_pong(&pong, &mut pair.learned).unwrap();
    assert_eq!(pair.learned, Learned::default());
}

#[test]
fn rule_7_a_resume_goes_on_where_the_receiver_is() {
    let mut pair = Pair::new(wide());
    pair.pass(1, &plain(3));
    pair.admit(2, &plain(3));
    drop(pair.transmitted());
    pair.reconnect();
    let bytes = pair.transmitted();
    pair.deliver(&bytes).unwrap();
    assert_eq!(pair.got.datagrams.iter().map(|got| got.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn rule_7_a_resume_is_refused_to_old_attempts_and_other_owners() {
    let mut pair = Pair::new(wide());
    pair.pass(1, &plain(3));
    let hello = pair.sending.hello([3; 16]);
    let mut other = hello.clone();
    other.owner = [9; 16];
    assert_eq!(pair.receiving.on_hello(&other), Err(Reject::Fenced));
    let mut fresh = hello.clone();
    fresh.resume = false;
    assert_eq!(pair.receiving.on_hello(&fresh), Err(Reject::Stale), "rule 8: never a reset");
    for (acked, next, next_bytes) in [(1, 4, 3), (0, 3, 3), (0, 4, 2)] {
        let wrong = seam_wire::Hello { acked, next, next_bytes, ..hello.clone() };
        assert_eq!(pair.receiving.on_hello(&wrong), Err(Reject::Gap));
    }
    pair.receiving.on_hello(&hello).unwrap();
    assert_eq!(pair.receiving.on_hello(&hello), Err(Reject::Stale));
    assert_eq!(pair.sending.on_reject(Reject::Stale), Follow::Terminal);
    assert_eq!(pair.sending.on_reject(Reject::Fenced), Follow::Terminal);
    assert_eq!(pair.sending.on_reject(Reject::Unknown), Follow::Lost);
    let after = Duration::from_millis(5);
    assert_eq!(pair.sending.on_reject(Reject::Busy { after }), Follow::After(after));
}

#[test]
fn rule_7_a_welcome_that_forgot_or_invented_loses_the_session() {
    for (next, settled) in [(1, 0), (3, 1), (6, 2)] {
        let mut pair = Pair::new(wide());
        pair.pass(1, &plain(4));
        pair.receiving.done(1..3);
        pair.ack();
        let hello = pair.sending.hello([3; 16]);
        pair.receiving.on_hello(&hello).unwrap();
        let mut welcome = pair.receiving.welcome(Duration::ZERO, None);
        welcome.next = next;
        welcome.ack.progress.received = next - 1;
        welcome.ack.progress.settled = settled;
        let result = pair.sending.on_welcome(&welcome, &mut pair.learned);
        assert_eq!(result, Err(WelcomeError::Lost), "{next} {settled}");
        let left = pair.sending.into_open();
        assert_eq!((left.settled, left.unsettled), (2, 2));
        assert_eq!(left.open, [(1, 2..4, true)]);
    }
}

#[test]
fn rule_7_a_number_with_a_known_outcome_goes_as_void() {
    let mut pair = Pair::new(wide());
    pair.pass(1, &plain(4));
    pair.receiving.done(3..4);
    pair.ack();
    let hello = pair.sending.hello([3; 16]);
    pair.receiving.on_hello(&hello).unwrap();
    let mut welcome = pair.receiving.welcome(Duration::ZERO, None);
    // As a receiver with a journal that holds number 1 alone.
    welcome.next = 2;
    welcome.ack =
        Ack { progress: Progress { received: 1, ..welcome.ack.progress }, ..Ack::default() };
    pair.sending.on_welcome(&welcome, &mut pair.learned).unwrap();
    let frames = frames(&pair.transmitted());
    assert_eq!(
        frames[1],
        (Frame::DATA, vec![3, 1, 2, 1]),
        "number 3, void, a length of 1 and no bytes"
    );
    assert_eq!((frames[0].1[0], frames[2].1[0]), (2, 4));
}

#[test]
fn rule_8_an_unknown_session_is_never_begun_by_a_resume() {
    let mut sending = sending();
    let mut hello = sending.hello([2; 16]);
    hello.resume = true;
    let create = |hello: &seam_wire::Hello| {
        Receiving::new(hello, wide(), 4096, 1000, EnvelopeLimits::default()).map(|_| ())
    };
    assert_eq!(create(&hello), Err(Reject::Unknown));
    hello.resume = false;
    hello.next = 2;
    assert_eq!(create(&hello), Err(Reject::Gap));
}

#[test]
fn rule_9_what_is_left_tells_what_was_never_sent() {
    let mut pair = Pair::new(wide());
    pair.pass(1, &plain(3));
    pair.receiving.done(2..3);
    pair.ack();
    pair.admit(2, &plain(2));
    let left = pair.sending.into_open();
    assert_eq!(left.open, [(1, 0..1, true), (1, 2..3, true), (2, 0..2, false)]);
    assert_eq!((left.settled, left.unsettled), (1, 4));
}
