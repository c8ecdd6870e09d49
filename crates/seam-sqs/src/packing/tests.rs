//! What goes together, and what waits.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn target(name: &str, is_fifo: bool) -> Arc<Target> {
    let url = format!("http://h/1/{name}");
    Arc::new(Target {
        url,
        is_fifo,
        is_spread: false,
        is_reply: false,
        packs: true,
        largest: 256 << 10,
    })
}

fn entry(number: u64, target: &Arc<Target>, size: usize, group: Option<&str>) -> Entry {
    let order = group.map(|group| Order { group: group.into(), duplicate: number.to_string() });
    let message = Written { body: "x".repeat(size), attributes: Vec::new(), size };
    let (target, form) = (target.clone(), Form::Alone(Arc::new(message)));
    Entry { number, target, form, order, delay: None, doubt: None }
}

fn numbers(batch: &Option<Vec<Entry>>) -> Vec<u64> {
    batch.iter().flatten().map(|entry| entry.number).collect()
}

#[test]
fn a_call_takes_ten_and_the_rest_waits_for_the_next() {
    let target = target("q", false);
    let mut packing = Packing::default();
    (0..25).for_each(|number| packing.push(entry(number, &target, 1, None)));
    assert_eq!(numbers(&packing.take()), (0..10).collect::<Vec<_>>());
    assert_eq!(numbers(&packing.take()), (10..20).collect::<Vec<_>>());
    assert!(packing.take().is_none(), "a third one would not be full");
    packing.ended(&[], Vec::new());
    assert_eq!(numbers(&packing.take()), (20..25).collect::<Vec<_>>());
}

#[test]
fn one_alone_leaves_at_once() {
    let target = target("q", false);
    let mut packing = Packing::default();
    packing.push(entry(0, &target, 1, None));
    assert_eq!(numbers(&packing.take()), [0]);
}

#[test]
fn a_call_takes_no_more_than_its_bytes_and_one_always_fits() {
    let target = target("q", false);
    let mut packing = Packing::default();
    for (number, size) in (0..).zip([100 << 10, 100 << 10, 100 << 10, 300 << 10]) {
        packing.push(entry(number, &target, size, None));
    }
    assert_eq!(numbers(&packing.take()), [0, 1]);
    assert_eq!(numbers(&packing.take()), [2]);
    packing.ended(&[], Vec::new());
    assert_eq!(numbers(&packing.take()), [3]);
}

#[test]
fn of_a_group_one_batch_is_under_way() {
    let target = target("q.fifo", true);
    let mut packing = Packing::default();
    for (number, group) in (0..).zip(["a", "a", "b"]) {
        packing.push(entry(number, &target, 1, Some(group)));
    }
    let first = packing.take();
    assert_eq!(numbers(&first), [0, 1, 2]);
    packing.push(entry(3, &target, 1, Some("a")));
    packing.push(entry(4, &target, 1, Some("c")));
    let second = packing.take();
    assert_eq!(numbers(&second), [4], "what waits holds up no other group");
    packing.ended(&first.unwrap(), Vec::new());
    assert_eq!(numbers(&packing.take()), [3]);
}

#[test]
fn what_is_sent_once_more_stands_before_what_came_later() {
    let target = target("q.fifo", true);
    let mut packing = Packing::default();
    (0..3).for_each(|number| packing.push(entry(number, &target, 1, Some("a"))));
    let batch = packing.take().unwrap();
    packing.push(entry(3, &target, 1, Some("a")));
    packing.ended(&batch, batch[1..].to_vec());
    assert_eq!(numbers(&packing.take()), [1, 2, 3]);
}

#[test]
fn a_call_goes_to_one_queue() {
    let (one, other) = (target("q", false), target("r", false));
    let mut packing = Packing::default();
    for (number, target) in (0..).zip([&one, &other, &one]) {
        packing.push(entry(number, target, 1, None));
    }
    assert_eq!(numbers(&packing.take()), [0, 2]);
    assert_eq!(numbers(&packing.take()), [1]);
}

fn packed(number: u64, target: &Arc<Target>, size: usize) -> Entry {
    let form = Form::Packed(vec![0; size].into(), Datagram::empty());
    Entry { form, ..entry(number, target, 0, None) }
}

#[test]
fn small_datagrams_share_messages_up_to_what_is_billed_as_one_call() {
    let target = target("q", false);
    let mut packing = Packing::default();
    (0..10_000).for_each(|number| packing.push(packed(number, &target, 100)));
    let batch = packing.take().unwrap();
    let messages = messages(&batch);
    let lengths: Vec<_> = messages.iter().map(ExactSizeIterator::len).collect();
    assert_eq!(lengths, [655, 655, 655, 655], "of 256 KiB in all");
    assert_eq!(batch.len(), 4 * 655);
}

#[test]
fn one_of_its_own_ends_a_pack() {
    let target = target("q", false);
    let mut packing = Packing::default();
    for number in 0..5 {
        packing.push(match number {
            2 => entry(number, &target, 100, None),
            _ => packed(number, &target, 100),
        });
    }
    assert_eq!(messages(&packing.take().unwrap()), [0..2, 2..3, 3..5]);
}

proptest! {
    #[test]
    fn what_was_chosen_still_fits_whatever_is_taken_back(
        sizes in vec((any::<bool>(), 1..70_000_usize, any::<bool>()), 1..200),
    ) {
        let target = target("q", false);
        let mut packing = Packing::default();
        for (number, (is_packed, size, _)) in (0..).zip(&sizes) {
            packing.push(match *is_packed && *size <= MOST_PACKED {
                true => packed(number, &target, *size),
                false => entry(number, &target, *size, None),
            });
        }
        let mut next = 0;
        while let Some(batch) = packing.take() {
            let numbers: Vec<_> = batch.iter().map(|entry| entry.number).collect();
            prop_assert!(numbers.iter().copied().eq(next..next + u64::try_from(numbers.len()).unwrap()));
            let bytes: usize = batch.iter().map(|entry| entry.form.size()).sum();
            prop_assert!(bytes <= target.largest);
            let is_left = |entry: &&Entry| sizes[usize::try_from(entry.number).unwrap()].2;
            for entries in [batch.clone(), batch.iter().filter(is_left).cloned().collect()] {
                let messages = messages(&entries);
                prop_assert!(messages.len() <= MOST_ENTRIES);
                prop_assert_eq!(messages.iter().map(ExactSizeIterator::len).sum::<usize>(), entries.len());
                for message in messages.iter().filter(|range| range.len() > 1) {
                    let parts = &entries[message.clone()];
                    prop_assert!(parts.iter().all(|entry| matches!(entry.form, Form::Packed(..))));
                    prop_assert!(parts.iter().map(|entry| entry.form.size()).sum::<usize>() <= MOST_PACKED);
                }
            }
            next += u64::try_from(numbers.len()).unwrap();
            packing.ended(&[], Vec::new());
        }
        prop_assert_eq!(next, u64::try_from(sizes.len()).unwrap());
    }
}
