//! What goes together, and what waits.

use super::*;

fn target(name: &str, is_fifo: bool) -> Arc<Target> {
    let url = format!("http://h/1/{name}");
    Arc::new(Target { url, is_fifo, is_spread: false, is_reply: false, largest: 256 << 10 })
}

fn entry(number: u64, target: &Arc<Target>, size: usize, group: Option<&str>) -> Entry {
    let order = group.map(|group| Order { group: group.into(), duplicate: number.to_string() });
    let message = Written { body: "x".repeat(size), attributes: Vec::new(), size };
    let (target, message) = (target.clone(), Arc::new(message));
    Entry { number, target, message, order, delay: None, doubt: None }
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
