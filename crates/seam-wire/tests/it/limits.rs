//! What is too large, too short, or no business of a log.

use std::time::Duration;

use seam_core::{Datagram, Value};
use seam_wire::{EnvelopeLimits, Frame, Learned, Outgoing, Receiving, Sending, Window, WireError};

use super::peer::{Got, Pair, drain, on_bytes, parcel, receiving, sending, wide};

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
