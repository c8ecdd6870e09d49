//! The ledger sees each kind of fault, and counts nothing that is none.

use seam_core::{Datagram, Note};

use super::*;

/// Sends message `number` of key `k`, with a receipt.
fn sent(ledger: &Ledger, number: u64) -> (Stamp, Datagram) {
    let (stamp, datagram) = Stamp::new("p", "k", number).datagram(b"body");
    ledger.sent(&stamp);
    ledger.outcome(&stamp, Outcome::Receipted);
    (stamp, datagram)
}

fn delivered(ledger: &Ledger, datagram: &Datagram, attempt: u32) {
    let mut note = Note::default();
    note.attempt = attempt;
    ledger.delivered(datagram.view(), &note);
}

#[track_caller]
fn check(ledger: &Ledger, expected: &str) {
    let line = ledger.check().to_string();
    let figures: Vec<&str> = line.split(' ').collect();
    let faults = figures.chunks(2).filter(|pair| pair[1] != "0").map(|pair| pair.join(" "));
    assert_eq!(faults.collect::<Vec<_>>().join(" "), expected);
}

#[test]
fn what_is_sent_delivered_and_settled_is_clean() {
    let ledger = Ledger::new();
    for number in 0..3 {
        let (stamp, datagram) = sent(&ledger, number);
        delivered(&ledger, &datagram, 1);
        ledger.settled(&stamp);
    }
    check(&ledger, "sent 3 acknowledged 3");
    ledger.check().assert_clean();
}

#[test]
fn a_receipt_without_delivery_is_a_loss() {
    let ledger = Ledger::new();
    sent(&ledger, 0);
    check(&ledger, "sent 1 acknowledged 1 lost 1");
    assert!(!ledger.check().is_clean());
}

#[test]
fn each_expected_group_may_lose_it() {
    let ledger = Ledger::new();
    ledger.expect_group("a");
    ledger.expect_group("b");
    let (_, datagram) = sent(&ledger, 0);
    let stamp = ledger.delivered_in("a", datagram.view(), &Note::default()).unwrap();
    ledger.settled_in("a", &stamp);
    check(&ledger, "sent 1 acknowledged 1 lost 1");
}

#[test]
fn a_second_first_attempt_is_an_unannounced_duplicate() {
    let ledger = Ledger::new();
    let (stamp, datagram) = sent(&ledger, 0);
    delivered(&ledger, &datagram, 1);
    ledger.settled(&stamp);
    delivered(&ledger, &datagram, 1);
    check(&ledger, "sent 1 acknowledged 1 duplicated 1 unannounced 1");
    assert!(!ledger.check().is_clean());
}

#[test]
fn an_announced_redelivery_is_a_duplicate_and_no_fault() {
    let ledger = Ledger::new();
    let (stamp, datagram) = sent(&ledger, 0);
    delivered(&ledger, &datagram, 1);
    delivered(&ledger, &datagram, 2);
    ledger.settled(&stamp);
    check(&ledger, "sent 1 acknowledged 1 duplicated 1 recovered 1");
    ledger.check().assert_clean();
}

#[test]
fn a_repeat_of_the_sender_is_announced_by_its_attempt() {
    let ledger = Ledger::new();
    let (stamp, datagram) = sent(&ledger, 0);
    delivered(&ledger, &datagram, 1);
    ledger.settled(&stamp);
    let (again, datagram) = Stamp::new("p", "k", 0).with_attempt(2).datagram(b"body");
    ledger.sent(&again);
    delivered(&ledger, &datagram, 1);
    check(&ledger, "sent 1 acknowledged 1 duplicated 1");
}

#[test]
fn a_later_number_first_is_a_reordering() {
    let ledger = Ledger::new();
    let datagrams: Vec<_> = (0..3).map(|number| sent(&ledger, number).1).collect();
    for at in [1, 0, 2] {
        delivered(&ledger, &datagrams[at], 1);
    }
    assert_eq!(ledger.check().reordered, 1);
    delivered(&ledger, &datagrams[0], 2);
    assert_eq!(ledger.check().reordered, 1, "a redelivery may come late");
}

#[test]
fn another_body_or_key_is_corrupt() {
    let ledger = Ledger::new();
    let (_, datagram) = sent(&ledger, 0);
    let mut payload = datagram.payload().unwrap().to_vec();
    *payload.last_mut().unwrap() ^= 1;
    delivered(&ledger, &Datagram::new(payload), 1);
    assert_eq!(ledger.check().corrupt, 1);
    let (_, datagram) = sent(&ledger, 1);
    delivered(&ledger, &datagram.with_key("another"), 1);
    assert_eq!(ledger.check().corrupt, 2);
}

#[test]
fn what_nobody_sent_is_unexpected() {
    let ledger = Ledger::new();
    delivered(&ledger, &Stamp::new("p", "k", 9).datagram(b"").1, 1);
    delivered(&ledger, &Datagram::new("no stamp"), 1);
    assert_eq!(ledger.check().unexpected, 2);
}

#[test]
fn what_was_proved_not_to_be_sent_is_unexpected() {
    let ledger = Ledger::new();
    let (stamp, datagram) = Stamp::new("p", "k", 0).datagram(b"body");
    ledger.sent(&stamp);
    ledger.outcome(&stamp, Outcome::NotSent);
    ledger.check().assert_clean();
    delivered(&ledger, &datagram, 1);
    assert_eq!(ledger.check().unexpected, 1);
}

#[test]
fn doubt_is_counted_and_no_fault() {
    let ledger = Ledger::new();
    for number in 0..3 {
        let (stamp, _) = Stamp::new("p", "k", number).datagram(b"body");
        ledger.sent(&stamp);
        if number > 0 {
            ledger.outcome(&stamp, Outcome::MaybeSent);
        }
        if number == 2 {
            ledger.outcome(&stamp.with_attempt(2), Outcome::NotSent);
        }
    }
    check(&ledger, "sent 3 indeterminate 3");
    ledger.check().assert_clean();
}

#[test]
fn what_is_given_back_behind_its_receipt_is_no_loss() {
    let ledger = Ledger::new();
    let (stamp, _) = sent(&ledger, 0);
    ledger.outcome(&stamp, Outcome::MaybeSent);
    check(&ledger, "sent 1 indeterminate 1");
    ledger.outcome(&stamp.with_attempt(2), Outcome::Receipted);
    check(&ledger, "sent 1 acknowledged 1 lost 1");
}

#[test]
fn a_ledger_that_only_writes_is_counted_where_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let ledger = Ledger::write_to(&path).unwrap();
    sent(&ledger, 0);
    check(&ledger, "");
    check(&Ledger::read([&path]).unwrap(), "sent 1 acknowledged 1 lost 1");
}

#[test]
fn a_stamp_travels_in_a_header_too() {
    let ledger = Ledger::new();
    let (stamp, datagram) = Stamp::new("p \t\"", "k", 0).put(Datagram::empty());
    ledger.sent(&stamp);
    assert_eq!(ledger.delivered(datagram.view(), &Note::default()), Some(stamp));
    assert_eq!(ledger.check().corrupt, 0);
}

#[test]
fn files_of_several_processes_add_up_and_a_torn_line_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one.jsonl"), folder.path().join("two.jsonl"));
    let (producer, worker) = (Ledger::append_to(&one).unwrap(), Ledger::append_to(&two).unwrap());
    let (stamp, datagram) = sent(&producer, 0);
    delivered(&worker, &datagram, 1);
    worker.settled(&stamp);
    sent(&producer, 1);
    producer.flushed().unwrap();
    tear(&two);
    let all = Ledger::read([&one, &two]).unwrap();
    check(&all, "sent 2 acknowledged 2 lost 1");
    assert_eq!((all.first_open("p", 0), all.first_open("q", 3)), (1, 3));

    let again = Ledger::append_to(&two).unwrap();
    again.settled(&stamp);
    assert_eq!(Ledger::read([&two]).unwrap().check(), again.check());
}

fn tear(path: &Path) {
    let mut text = std::fs::read(path).unwrap();
    text.extend_from_slice(b"{\"at\":17,\"eve");
    std::fs::write(path, text).unwrap();
}

#[test]
fn what_is_no_ledger_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "\nhello\n").unwrap();
    let error = Ledger::read([&path]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("notes.txt, line 2"), "{error}");
}
