//! What handlers did, held against what was sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use seam_layers::Job;

/// A pool, and a key if there is one.
type Place = (usize, Option<Vec<u8>>);

/// Every attempt that handlers began and ended, by key and number.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Book>>);

#[derive(Default)]
pub(crate) struct Book {
    /// Handlers that run now, by pool and key.
    running: BTreeMap<Place, u32>,
    /// Most handlers at once.
    pub(crate) peak: u32,
    /// The attempts that were begun of each number, in order.
    pub(crate) attempts: BTreeMap<u64, Vec<u32>>,
    /// Numbers in the order in which they were begun, by key.
    pub(crate) begun: BTreeMap<Vec<u8>, Vec<u64>>,
}

impl Ledger {
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap()
    }

    /// Notes that a handler of a pool has begun; that it has ended when what is returned is dropped.
    #[track_caller]
    pub(crate) fn begin(&self, pool: usize, job: &Job) -> Entry {
        let key = job.view().key().map(<[u8]>::to_vec);
        let mut book = self.book();
        book.attempts.entry(number_of(job)).or_default().push(job.attempt());
        if let Some(key) = &key {
            book.begun.entry(key.clone()).or_default().push(number_of(job));
        }
        let place = (pool, key.clone());
        let running = book.running.entry(place.clone()).or_default();
        *running += 1;
        let at_once = *running;
        book.peak = book.peak.max(book.running.values().sum());
        drop(book);
        assert!(key.is_none() || at_once == 1, "{at_once} handlers at once for {place:?}");
        Entry { ledger: self.clone(), place }
    }

    /// Every number of a key begins only once all before it are settled: retries stay in place.
    #[track_caller]
    pub(crate) fn check_order_across_retries(&self) {
        for (key, numbers) in &self.book().begun {
            assert!(numbers.is_sorted(), "key {key:?} began {numbers:?}");
        }
    }
}

pub(crate) struct Entry {
    ledger: Ledger,
    place: Place,
}

impl Drop for Entry {
    fn drop(&mut self) {
        *self.ledger.book().running.get_mut(&self.place).unwrap() -= 1;
    }
}

/// The number that a test wrote into the payload.
pub(crate) fn number_of(datagram: &seam_core::Datagram) -> u64 {
    u64::from_be_bytes(datagram.payload().unwrap().try_into().unwrap())
}
