//! The rules of a session, one by one. `docs/wire.md` numbers them.

use std::time::Duration;

use seam_core::{Datagram, Value};
use seam_wire::{
    Ack, EnvelopeLimits, Follow, Frame, Learned, Outgoing, Progress, Receiving, Reject, Sending,
    WelcomeError, Window, WireError,
};

use super::peer::{Got, Pair, drain, frame, on_bytes, parcel, receiving, sending};

fn plain(count: usize) -> Vec<Datagram> {
    (0..count).map(|number| Datagram::new(number.to_string())).collect()
}

fn wide() -> Window {
    Window::new(100, 1 << 20)
}

/// With its type and body, each frame that was written.
fn frames(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    while let Some(header) = seam_wire::header(rest, 1 << 20).unwrap() {
        frames.push((header.kind, rest[8..8 + header.body].to_vec()));
        rest = &rest[8 + header.body..];
    }
    frames
}

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

#[test]
fn rule_12_one_slow_number_does_not_stall_the_others() {
    let mut window = Window::new(4, 1 << 20);
    window.span = 10;
    let mut pair = Pair::new(window);
    pair.pass(1, &plain(4));
    pair.receiving.done(2..5);
    pair.ack();
    assert_eq!(pair.sending.credit(), 3);
    pair.pass(2, &plain(3));
    pair.receiving.done(5..8);
    pair.ack();
    assert_eq!(pair.sending.credit(), 3, "up to the span of 10");
    pair.receiving.done(1..2);
    pair.ack();
    assert_eq!(pair.sending.credit(), 4);
}

#[test]
fn rule_12_records_at_their_bound_stop_credit_and_not_settlement() {
    let mut window = Window::new(4, 1 << 20);
    window.records = 2;
    let mut pair = Pair::new(window);
    assert_eq!(pair.sending.credit(), 2);
    pair.pass(1, &plain(2));
    pair.receiving.released(1, 2, Duration::ZERO);
    pair.receiving.released(2, 2, Duration::ZERO);
    pair.ack();
    assert_eq!((pair.sending.acked(), pair.sending.credit()), (2, 0));
    pair.receiving.on_ping(pair.sending.ping(0).seen).unwrap();
    pair.ack();
    assert_eq!(pair.sending.credit(), 2);
}

#[test]
fn rule_12_credit_given_is_never_taken_back() {
    let mut pair = Pair::new(wide());
    pair.receiving.set_window(Window::new(1, 1));
    assert!(!pair.receiving.ack_due());
    pair.pass(1, &plain(100));
    pair.receiving.done(1..100);
    pair.ack();
    assert_eq!(pair.sending.credit(), 0);
    pair.receiving.done(100..101);
    pair.ack();
    assert_eq!(pair.sending.credit(), 1, "the smaller window, once the larger one is used up");
}

#[test]
fn rule_12_more_than_the_credit_is_refused() {
    let mut generous = Pair::new(wide());
    generous.admit(1, &plain(5));
    let bytes = generous.transmitted();
    let mut strict = Pair::new(Window::new(4, 1 << 20));
    assert_eq!(strict.deliver(&bytes), Err(WireError::Credit { number: 5 }));
    let mut strict = Pair::new(Window::new(100, 3));
    assert_eq!(strict.deliver(&bytes), Err(WireError::Credit { number: 4 }));
}

#[test]
fn rule_13_fin_waits_for_every_outcome() {
    let mut pair = Pair::new(wide());
    pair.pass(1, &plain(2));
    pair.receiving.done(1..2);
    pair.ack();
    assert_eq!(pair.sending.fin(), None);
    pair.receiving.on_fin(2).unwrap_err();
    pair.receiving.done(2..3);
    pair.ack();
    assert_eq!(pair.sending.fin(), Some(2));
    pair.receiving.on_fin(1).unwrap_err();
    pair.receiving.on_fin(u64::MAX).unwrap_err();
    pair.receiving.on_fin(2).unwrap();
    assert_eq!(pair.sending.credit(), 0, "nothing is admitted after FIN");
}

#[test]
fn leave_stops_admission_alone() {
    let mut pair = Pair::new(wide());
    pair.admit(1, &plain(2));
    pair.sending.on_leave();
    assert_eq!((pair.sending.credit(), pair.admit(2, &plain(1))), (0, 0));
    let bytes = pair.transmitted();
    pair.deliver(&bytes).unwrap();
    assert_eq!(pair.got.datagrams.len(), 2);
}

#[test]
fn rule_15_fragments_survive_a_resume_between_them() {
    let mut pair = Pair::new(wide());
    let content = [
        Datagram::new(vec![1; 9_000]).with_tag(3),
        Datagram::new("x"),
        Datagram::new(vec![2; 9_000]),
    ];
    assert_eq!(pair.admit(1, &content), 3);
    let bytes = pair.transmitted();
    let first = 8 + frames(&bytes)[0].1.len();
    pair.deliver(&bytes[..first]).unwrap();
    assert!(pair.got.datagrams.is_empty());
    pair.reconnect();
    let bytes = pair.transmitted();
    pair.deliver(&bytes).unwrap();
    let got: Vec<_> = pair.got.datagrams.iter().map(|got| (got.0, got.1.clone())).collect();
    let numbers = [3, 4, 7];
    assert_eq!(got, numbers.into_iter().zip(content).collect::<Vec<_>>());
    pair.receiving.released(3, 2, Duration::ZERO);
    pair.receiving.done(7..8);
    pair.ack();
    assert_eq!((pair.learned.done.clone(), pair.learned.released[0].place), (vec![(1, 2..3)], 0));
    pair.receiving.done(4..5);
    pair.ack();
    assert!(pair.sending.is_idle());
}

#[test]
fn rule_15_reassembly_is_bounded_by_the_largest_message() {
    let mut sending = sending();
    let hello = sending.hello([2; 16]);
    let limits = EnvelopeLimits { slot: 0, ..EnvelopeLimits::default() };
    let mut receiving = Receiving::new(&hello, wide(), 4096, 9_000, limits).unwrap();
    sending.on_welcome(&receiving.welcome(Duration::ZERO, None), &mut Learned::default()).unwrap();
    sending.admit(parcel(1, &[Datagram::new(vec![1; 20_000])]));
    let mut out = Outgoing::new();
    sending.transmit(0, &mut out, usize::MAX);
    let error = on_bytes(&mut receiving, &drain(&mut out), &mut Got::default()).unwrap_err();
    assert!(matches!(error, WireError::TooLarge { limit: 9_010, .. }), "{error}");
}

#[test]
fn a_payload_over_the_limit_is_refused_at_any_size() {
    for (limit, length) in [(10, 11), (100, 101), (1_000, 1_001)] {
        let mut pair = Pair::new(wide());
        let hello = sending().hello([2; 16]);
        let mut strict =
            Receiving::new(&hello, wide(), 4096, limit, EnvelopeLimits::default()).unwrap();
        let _welcome = strict.welcome(Duration::ZERO, None);
        pair.admit(1, &[Datagram::new(vec![1; length])]);
        let error = on_bytes(&mut strict, &pair.transmitted(), &mut Got::default()).unwrap_err();
        assert!(error.to_string().contains(&format!("its payload is {length}")), "{error}");
    }
}

/// C12. Both ends apply the same limits, so what one admits the other takes.
#[test]
fn an_envelope_over_the_limits_is_refused_by_both_ends() {
    let nest = |depth| (0..depth).fold(Value::Null, |value, _| Value::List(vec![value]));
    let with_headers =
        |count| (0..count).fold(Datagram::new("x"), |datagram, _| datagram.with_header("n", true));
    let large = "y".repeat(3_000);
    let cases = [
        (with_headers(64), with_headers(65)),
        (
            Datagram::empty().with_header("n".repeat(256), 1),
            Datagram::empty().with_header("n".repeat(257), 1),
        ),
        (Datagram::empty().with_header("h", nest(8)), Datagram::empty().with_header("h", nest(9))),
        (Datagram::empty().with_key(vec![1; 1024]), Datagram::empty().with_key(vec![1; 1025])),
        (
            (0..5).fold(Datagram::empty(), |datagram, _| datagram.with_header("h", large.as_str())),
            (0..6).fold(Datagram::empty(), |datagram, _| datagram.with_header("h", large.as_str())),
        ),
        (
            Datagram::empty().with_kind("k".repeat(60_000)),
            Datagram::empty().with_kind("k".repeat(66_000)),
        ),
    ];
    for (good, bad) in cases {
        EnvelopeLimits::default().check(good.view()).unwrap();
        EnvelopeLimits::default().check(bad.view()).unwrap_err();
        let mut pair = Pair::new(wide());
        pair.pass(1, std::slice::from_ref(&good));
        assert_eq!(pair.got.datagrams[0].1, good);
        pair.admit(2, &[bad]);
        let bytes = pair.transmitted();
        pair.deliver(&bytes).unwrap_err();
    }
}

/// C2: the announced size alone decides, and costs nothing.
#[test]
fn a_lying_size_is_refused_by_the_header_alone() {
    let mut bytes = 5_000_u32.to_be_bytes().to_vec();
    assert_eq!(seam_wire::header(&bytes, 4096), Ok(None));
    bytes.extend([0, 2, Frame::DATA, 0]);
    assert_eq!(
        seam_wire::header(&bytes, 4096),
        Err(WireError::TooLarge { size: 4_996, limit: 4_096 })
    );
}

#[test]
fn no_frame_but_data_is_longer_than_4096_bytes() {
    let error = Frame::decode(7, &[0; 4_097]).unwrap_err();
    assert_eq!(error, WireError::TooLarge { size: 4_097, limit: 4_096 });
}

#[test]
fn an_outcome_of_what_never_came_is_passed_over() {
    let mut pair = Pair::new(wide());
    pair.pass(1, &[Datagram::new(vec![1; 9_000])]);
    for numbers in [50..60, 0..1, 4..4, u64::MAX - 1..u64::MAX] {
        pair.receiving.done(numbers);
    }
    pair.receiving.released(u64::MAX, 2, Duration::ZERO);
    pair.receiving.released(0, 2, Duration::ZERO);
    assert_eq!(pair.receiving.progress().settled, 0);
    pair.receiving.done(0..u64::MAX);
    assert_eq!(pair.receiving.progress().settled, 3);
}

#[test]
fn every_cut_of_a_data_is_refused_or_waited_for() {
    let content = [
        Datagram::new("plain"),
        Datagram::new("tagged").with_tag(1),
        Datagram::empty(),
        Datagram::new("enveloped").with_key("k"),
    ];
    let mut pair = Pair::new(wide());
    pair.admit(1, &content);
    let bytes = pair.transmitted();
    for length in 8..bytes.len() {
        let mut cut = bytes[..length].to_vec();
        let size = u32::try_from(length - 4).unwrap();
        cut[..4].copy_from_slice(&size.to_be_bytes());
        let mut fresh = Pair::new(wide());
        fresh.deliver(&cut).unwrap_err();
    }
}

#[test]
fn large_payloads_are_written_by_reference_and_in_order() {
    let mut sending = Sending::new([1; 16], Duration::ZERO, 1 << 20);
    let hello = sending.hello([2; 16]);
    let mut receiving =
        Receiving::new(&hello, wide(), 1 << 20, 1 << 20, EnvelopeLimits::default()).unwrap();
    sending.on_welcome(&receiving.welcome(Duration::ZERO, None), &mut Learned::default()).unwrap();
    let content: Vec<_> =
        (0..9_u8).map(|byte| Datagram::new(vec![byte; 20_000]).with_tag(byte.into())).collect();
    assert_eq!(sending.admit(parcel(1, &content)), 9);
    let mut out = Outgoing::new();
    sending.transmit(0, &mut out, usize::MAX);
    assert!(out.buffer().len() < 200);
    let pending = out.pending();
    let mut got = Got::default();
    on_bytes(&mut receiving, &drain(&mut out), &mut got).unwrap();
    assert_eq!(got.datagrams.into_iter().map(|got| got.1).collect::<Vec<_>>(), content);
    assert_eq!((out.pending(), out.written()), (0, u64::try_from(pending).unwrap()));
}

#[test]
fn a_parcel_may_mix_every_form() {
    let mut pair = Pair::new(Window::new(1_000, 1 << 20));
    let content: Vec<_> = (0..200_usize)
        .map(|number| match number % 50 {
            10 => Datagram::new(vec![1; 5_000]),
            20 => Datagram::empty().with_tag(9),
            30 => Datagram::new("k").with_key("k"),
            40 => Datagram::new(vec![2; 500]),
            _ => Datagram::new(number.to_string()),
        })
        .collect();
    pair.pass(1, &content);
    assert_eq!(pair.got.datagrams.iter().map(|got| got.1.clone()).collect::<Vec<_>>(), content);
    pair.receiving.done(1..pair.sending.next());
    pair.ack();
    assert_eq!(
        (pair.learned.received.clone(), pair.learned.done.clone()),
        (vec![(1, 0..200)], vec![(1, 0..200)])
    );
}

#[test]
fn a_receiver_keeps_its_window_when_members_receive_from_the_same_hello() {
    let hello = sending().hello([2; 16]);
    let receiving = receiving(&hello, wide());
    assert_eq!((receiving.sid(), receiving.owner(), receiving.epoch()), ([2; 16], [1; 16], 1));
    assert_eq!((receiving.unsettled(), receiving.records()), (0, 0));
}

#[test]
fn no_secret_is_shown() {
    let mut hello = sending().hello([0x77; 16]);
    hello.proof = Some([0x77; 32]);
    let token = seam_wire::ResumeToken::issued([0x77; 32]);
    let proof = seam_wire::ResumeProof { token: &token, connection: b"x" };
    for shown in [format!("{hello:?}"), format!("{token:?}"), format!("{proof:?}")] {
        assert!(!shown.contains("119") && !shown.contains("77"), "{shown}");
    }
}

#[test]
fn an_echo_server_is_told_apart() {
    let open = |nonce| seam_wire::Open {
        highest: 2,
        nonce: [nonce; 32],
        instance: [0; 16],
        offers: seam_wire::Offers::default(),
        token: false,
        address: "orders".into(),
        group: seam_wire::Group::Default,
        max_message: 1,
        max_frame: 4096,
        envelope: EnvelopeLimits::default(),
    };
    let error = open(1).check_echo(&open(1)).unwrap_err();
    assert!(error.to_string().contains("?wire=connect"), "{error}");
    open(1).check_echo(&open(2)).unwrap();
    assert_eq!(open(1).version(&seam_wire::Open { highest: 9, ..open(2) }), 2);
}
