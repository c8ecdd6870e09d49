//! What a datagram may cost in the steady state, and what lies may cost.

use std::sync::Arc;

use allocation_counter::measure;
use bytes::Bytes;
use seam_core::{Datagram, Datagrams};
use seam_wire::{Header, Outgoing, Parcel, Run, Sink, Window, header};

use super::peer::Pair;

struct Count(u64);

impl Sink for Count {
    fn run(&mut self, run: Run) {
        self.0 += u64::try_from(run.count).unwrap();
    }

    fn datagram(
        &mut self,
        _number: u64,
        _datagram: Datagram,
        _attempt: u32,
        _possible_duplicate: bool,
    ) {
        panic!("plain ones need no datagram of their own");
    }
}

#[test]
fn small_datagrams_allocate_nothing_in_either_half() {
    const BATCH: u64 = 256;
    let mut pair = Pair::new(Window::new(4096, 1 << 20));
    let content: Datagrams = std::iter::repeat_n(Datagram::new(vec![7; 64]), 256).collect();
    let content = Arc::new(content);
    let (mut out, mut count) = (Outgoing::new(), Count(0));
    let mut round = || {
        let parcel = Parcel {
            token: 1,
            place: 0,
            content: Arc::clone(&content),
            range: 0..content.len(),
            attempt: 1,
            possible_duplicate: false,
        };
        assert_eq!(pair.sending.admit(parcel), content.len());
        pair.sending.transmit(0, &mut out, usize::MAX);
        let bytes = Bytes::copy_from_slice(out.buffer());
        out.clear();
        let mut at = 0;
        while let Some(header) = header(&bytes[at..], 1 << 20).unwrap() {
            let body = at + Header::SIZE..at + Header::SIZE + header.body;
            at = body.end;
            pair.receiving.on_data(&bytes, body, &mut count).unwrap();
        }
        let end = pair.sending.next();
        pair.receiving.done(end - BATCH..end);
        pair.ack();
        pair.learned.clear();
    };
    (0..10).for_each(|_| round());
    let counted = measure(|| (0..100).for_each(|_| round()));
    // What a socket read into, the handle of it, and the ACK that the helper above writes: of each batch.
    assert!(counted.count_total <= 100 * 6, "{counted:?} for {} datagrams", 100 * BATCH);
    assert_eq!(count.0, 110 * BATCH);
}

/// C2: a reader allocates for what came, not for what was announced.
#[test]
fn lying_counts_and_lengths_allocate_next_to_nothing() {
    let mut pair = Pair::new(Window::new(4096, 1 << 20));
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let ack = [&[0, 5, 5, 5][..], &huge, &[1, 2, 0]].concat();
    let entry = [&[1, 1, 0][..], &huge, b"abc"].concat();
    let many = [&[1][..], &huge, &[0, 0]].concat();
    let slot = [&[1, 1, 64, 7][..], &huge, b"ab"].concat();
    let address = [&[2; 50][..], &huge].concat();
    let counted = measure(|| {
        seam_wire::Frame::decode(7, &ack).unwrap_err();
        seam_wire::Frame::decode(1, &address).unwrap_err();
        for body in [&entry, &many, &slot] {
            let frame = Bytes::copy_from_slice(body);
            pair.receiving.on_data(&frame, 0..frame.len(), &mut Count(0)).unwrap_err();
        }
    });
    assert!(counted.bytes_total < 4_096, "{counted:?}");
}
