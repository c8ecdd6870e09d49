//! Datagrams that go together read the same, however they are kept.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use seam_core::driver::{Board, Framing, Harvester};
use seam_core::{Batch, Datagram, Datagrams, Deliveries, Note, Position};

/// Small ones, mostly of few lengths; some around each length at which the form of an entry changes.
fn plain() -> impl Strategy<Value = Datagram> {
    let length = prop_oneof![Just(64), Just(0), 0..70_usize, 120..140_usize, 8_100..8_200_usize];
    let payload = prop_oneof![9 => length.prop_map(Some), 1 => Just(None)];
    (payload, prop_oneof![3 => Just(0), 1 => any::<u16>()]).prop_map(|(length, tag)| match length {
        Some(length) => Datagram::copy_from(tag, &vec![u8::try_from(tag & 0xff).unwrap(); length]),
        None => Datagram::empty().with_tag(tag),
    })
}

fn any_datagram() -> impl Strategy<Value = Datagram> {
    prop_oneof![
        30 => plain(),
        1 => plain().prop_map(|datagram| datagram.with_key("k").with_header("h", 7_i64)),
    ]
}

/// As a batch brings them: some copied, some by value.
fn fill(all: &[Datagram]) -> Datagrams {
    let mut content = Datagrams::new();
    for (place, datagram) in all.iter().enumerate() {
        match datagram.payload() {
            Some(payload) if place % 3 > 0 && datagram.view().is_plain() => {
                content.push_bytes(datagram.tag(), payload);
            }
            _ => content.push(datagram.clone()),
        }
    }
    content
}

fn part(len: usize, cut: (usize, usize)) -> Range<usize> {
    let (a, b) = (cut.0 % (len + 1), cut.1 % (len + 1));
    a.min(b)..a.max(b)
}

proptest! {
    #[test]
    fn what_goes_in_comes_out_in_every_part(
        all in vec(any_datagram(), 0..300),
        cut in any::<(usize, usize)>(),
    ) {
        let content = fill(&all);
        prop_assert_eq!(content.len(), all.len());
        prop_assert!(all.iter().all(|datagram| datagram.view().size() <= content.longest()));
        prop_assert_eq!(
            content.has_envelopes(),
            all.iter().any(|datagram| !datagram.view().is_plain())
        );
        let places = part(all.len(), cut);
        let views = content.views(places.clone()).map(|view| view.to_datagram());
        prop_assert_eq!(views.collect::<Vec<_>>(), &all[places.clone()]);
        let size: usize = all[places.clone()].iter().map(|datagram| datagram.view().size()).sum();
        prop_assert_eq!(content.size(places.clone()), size);
        for place in places {
            prop_assert_eq!(&content.datagram(place), &all[place]);
        }
    }

    #[test]
    fn entries_are_what_they_say(all in vec(plain(), 1..300), cut in any::<(usize, usize)>()) {
        let content = fill(&all);
        let places = part(all.len(), cut);
        let Some(entries) = content.entries(places.clone()) else {
            // Something was too large to be copied.
            prop_assert!(all.iter().any(|datagram| datagram.view().size() > Datagram::INLINE));
            return Ok(());
        };
        let views = Framing::Entry.views(entries.bytes, 0, places.len());
        let views: Vec<Datagram> = views.map(|view| view.to_datagram()).collect();
        prop_assert_eq!(&views, &all[places.clone()]);
        prop_assert_eq!(Framing::Entry.skip(entries.bytes, 0, places.len()), entries.bytes.len());
        let tag = |datagram: &Datagram| if datagram.tag() == 0 { 0 } else { 2 };
        let length = |datagram| tag(datagram) + datagram.view().size();
        prop_assert_eq!(entries.content, all[places].iter().map(length).sum::<usize>());
    }

    #[test]
    fn a_batch_gives_its_datagrams_in_order_in_any_pieces(
        all in vec(any_datagram(), 0..200),
        pieces in vec(0..80_usize, 0..8),
    ) {
        let mut batch: Batch = all.iter().cloned().collect();
        let (mut first, mut out) = (0, Vec::new());
        for piece in pieces.into_iter().chain([all.len()]) {
            let count = piece.min(batch.len());
            let bytes = batch.bytes();
            let mut content = Datagrams::new();
            batch.admit_into(count, first, &mut content);
            first += u64::try_from(count).unwrap();
            prop_assert_eq!(content.len(), count);
            prop_assert_eq!(bytes - batch.bytes(), content.size(0..count));
            out.extend(content.views(0..count).map(|view| view.to_datagram()));
        }
        prop_assert!(batch.is_empty());
        prop_assert_eq!(out, all);
    }
}

#[test]
fn a_large_payload_stays_shared() {
    let payload = Bytes::from(vec![7; Datagrams::SHARED_FROM]);
    let mut content = Datagrams::new();
    content.push_bytes(1, b"small");
    content.push(Datagram::new(payload.clone()));
    assert_eq!(content.view(0).payload(), Some(&b"small"[..]));
    let shared = content.view(1).payload_shared().expect("it is not copied");
    assert_eq!(shared.as_ptr(), payload.as_ptr());
}

#[test]
fn cleared_ones_leave_nothing_behind() {
    let mut content = fill(&[Datagram::new("a").with_tag(3), Datagram::new("b").with_key("k")]);
    content.clear();
    content.push_bytes(0, b"c");
    assert_eq!((content.len(), content.longest(), content.size(0..1)), (1, 1, 1));
    assert!(!content.has_envelopes());
    assert_eq!(content.datagram(0), Datagram::new("c"));
}

struct Deaf;

impl Harvester for Deaf {
    fn settled(&self, _: &Arc<Board>, _: bool) {}
}

#[test]
fn a_note_is_that_of_its_delivery_however_the_datagrams_are_kept() {
    for content in [
        ["a", "b", "c"].map(Datagram::new),
        ["a", "b", "c"].map(|key| Datagram::new(key).with_key(key)),
    ] {
        let content = Arc::new(Datagrams::from_iter(content));
        let mut into = Deliveries::new();
        into.begin(2, 0, Arc::new(Deaf));
        into.share(content, 1..3);
        into.annotate((7..9).map(|number| {
            let mut note = Note::attempt(1);
            note.position = Some(Position::Number(number));
            note
        }));
        let lent = into.lend().unwrap();
        assert_eq!(
            (lent.view().payload(), &lent.note().position),
            (Some(&b"b"[..]), &Some(Position::Number(7)))
        );
        lent.ack();
        let taken = into.lend().unwrap().take();
        assert_eq!(
            (taken.view().payload(), &taken.note().position),
            (Some(&b"c"[..]), &Some(Position::Number(8)))
        );
        taken.ack().unwrap();
    }
}
