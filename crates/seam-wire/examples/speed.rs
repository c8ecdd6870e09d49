#![allow(missing_docs)]
use bytes::Bytes;
use seam_core::Datagram;
use seam_wire::*;
use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};
struct Count(u64, u64);
impl Sink for Count {
    fn slice(&mut self, n: u64, _t: u16, at: Range<usize>) {
        self.0 += 1;
        self.1 ^= n + at.end as u64;
    }
    fn datagram(&mut self, _: u64, _: Datagram, _: u32, _: bool) {
        self.0 += 1;
    }
}
fn main() {
    for (size, batch) in [(64usize, 256usize), (64, 1), (64, 2048), (40, 256), (1024, 256)] {
        let mut s = Sending::new([1; 16], Duration::from_secs(1), 1 << 20);
        let h = s.hello([2; 16]);
        let mut r = Receiving::new(
            &h,
            Window::new(4096, 8 << 20),
            1 << 20,
            1 << 26,
            EnvelopeLimits::default(),
        )
        .unwrap();
        let mut l = Learned::default();
        s.on_welcome(&r.welcome(h.expiry, None), &mut l).unwrap();
        let content: Arc<Vec<Datagram>> =
            Arc::new((0..batch).map(|_| Datagram::new(vec![7; size])).collect());
        let mut out = Outgoing::new();
        let (mut ta, mut tt, mut td, mut tk) =
            (Duration::ZERO, Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let mut n = 0u64;
        let mut c = Count(0, 0);
        let mut acks = Outgoing::new();
        while n < 4_000_000 {
            let t = Instant::now();
            let mut got = 0;
            while got < 2048 {
                got += s.admit(Parcel {
                    token: n,
                    place: 0,
                    content: content.clone(),
                    range: 0..batch,
                    attempt: 1,
                    possible_duplicate: false,
                });
            }
            ta += t.elapsed();
            let t = Instant::now();
            s.transmit(0, &mut out, usize::MAX);
            tt += t.elapsed();
            let bytes = Bytes::copy_from_slice(out.buffer());
            out.clear();
            let t = Instant::now();
            let mut at = 0;
            while let Some(h) = header(&bytes[at..], 1 << 20).unwrap() {
                at += 8;
                r.on_data(&bytes, at..at + h.body, &mut c).unwrap();
                at += h.body;
            }
            td += t.elapsed();
            let t = Instant::now();
            n += got as u64;
            r.done(n + 1 - got as u64..n + 1);
            r.ack(0, &mut acks);
            let Frame::Ack(a) = Frame::decode(7, &acks.buffer()[8..]).unwrap() else { panic!() };
            acks.clear();
            l.clear();
            s.on_ack(&a, &mut l).unwrap();
            tk += t.elapsed();
        }
        let per = |d: Duration| d.as_nanos() as f64 / n as f64;
        println!(
            "size {size} batch {batch}: admit {:.2} transmit {:.2} on_data {:.2} done+ack+learn {:.2} ns ({} {})",
            per(ta),
            per(tt),
            per(td),
            per(tk),
            c.0,
            c.1
        );
    }
}
