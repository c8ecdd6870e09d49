//! How much a receiver may be given.

/// What a receiver may be given, with what it has.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// Deliveries that it asked for.
    pub asked: usize,
    /// Deliveries, with those that it has.
    pub credit: usize,
    /// Bytes, with those that it has; one delivery always fits.
    pub bytes: usize,
}

impl Most {
    /// How many of the deliveries that are ready, whose `sizes` these are in order, whoever has `in_hand` deliveries of
    /// `in_hand_bytes` may be given; and how many bytes it has then.
    ///
    /// ```
    /// use seam_broker::Most;
    ///
    /// let most = Most { asked: 9, credit: 3, bytes: 100 };
    /// assert_eq!(most.fitting([60, 60, 60].into_iter(), 0, 0), (2, 120));
    /// assert_eq!(most.fitting([1, 1, 1].into_iter(), 2, 0), (1, 1));
    /// ```
    #[must_use]
    pub fn fitting(
        &self,
        sizes: impl Iterator<Item = usize>,
        in_hand: usize,
        in_hand_bytes: usize,
    ) -> (usize, usize) {
        let room = self.asked.min(self.credit.saturating_sub(in_hand));
        let (mut count, mut bytes) = (0, in_hand_bytes);
        for size in sizes.take(room) {
            if in_hand + count > 0 && bytes >= self.bytes {
                break;
            }
            (count, bytes) = (count + 1, bytes + size);
        }
        (count, bytes)
    }
}
