//! How a topic learns of verdicts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Distributor;
use super::group::Now;
use crate::clock::lock;
use crate::driver::{Board, Harvest, Harvester};
use crate::{Event, Events};

/// Tells the topic of verdicts on one member's deliveries.
pub(crate) struct Hook {
    pub(crate) topic: Arc<Distributor>,
    pub(crate) group: u64,
    pub(crate) events: Events,
    pub(crate) clock: Arc<dyn crate::Clock>,
    pub(crate) late: AtomicU64,
}

impl Harvester for Hook {
    fn settled(&self, board: &Arc<Board>, urgent: bool) {
        if board.mark() {
            lock(&self.topic.marked).push((self.group, board.token()));
        }
        if urgent {
            self.topic.harvest(&Now::of(&*self.clock));
        } else if self.topic.eager.load(Ordering::SeqCst) {
            self.topic.tell(&Now::of(&*self.clock));
        }
        if board.is_revoked() {
            self.too_late(board);
        }
    }
}

impl Hook {
    /// Counts what was acknowledged on deliveries that were no longer ours.
    fn too_late(&self, board: &Board) {
        self.topic.harvest(&Now::of(&*self.clock));
        let mut harvest = Harvest::default();
        board.harvest(&mut harvest);
        let count = harvest.done.iter().map(|range| u64::from(range.end - range.start)).sum();
        if count > 0 {
            self.late.fetch_add(count, Ordering::Relaxed);
            self.events.emit(Event::SettlementFailed { count });
        }
    }
}
