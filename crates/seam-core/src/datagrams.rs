//! Datagrams that go together, and are shared by whoever has to do with them.

use std::fmt;
use std::ops::Range;

use crate::packed::{Framing, Mark, Packed, Spots};
use crate::{Datagram, View};

/// Datagrams that were admitted together, in order. Shared as a whole, and never changed then.
///
/// As long as all of them are small and without envelope they lie one behind the other, as a link writes them;
/// otherwise each is a [`Datagram`] of its own. Which it is shows in nothing but the cost.
#[derive(Default)]
pub struct Datagrams {
    packed: Packed,
    /// All of them, where one is not of that kind; `packed` is then empty.
    items: Vec<Datagram>,
    /// Bytes of `items`.
    items_size: usize,
    longest: usize,
    /// Whether one of them has no payload, or an empty one.
    hollow: bool,
    enveloped: bool,
}

impl Datagrams {
    /// Payloads from this size on are shared, not copied, in bytes.
    pub const SHARED_FROM: usize = 8 << 10;

    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a datagram.
    #[inline]
    pub fn push(&mut self, datagram: Datagram) {
        let packs = self.items.is_empty() && !datagram.has_envelope();
        match datagram.payload() {
            Some(payload) if packs && payload.len() <= Datagram::INLINE => {
                self.note(payload.len());
                self.packed.push(datagram.tag(), payload);
            }
            None if packs => {
                self.note(0);
                self.packed.push_absent(datagram.tag());
            }
            _ => self.push_item(datagram),
        }
    }

    /// Appends a datagram without envelope whose payload is a copy of `payload`.
    #[inline]
    pub fn push_bytes(&mut self, tag: u16, payload: &[u8]) {
        if self.items.is_empty() && payload.len() < Self::SHARED_FROM {
            self.note(payload.len());
            self.packed.push(tag, payload);
        } else {
            self.push_item(Datagram::copy_from(tag, payload));
        }
    }

    #[inline]
    fn note(&mut self, size: usize) {
        self.longest = self.longest.max(size);
        self.hollow |= size == 0;
    }

    fn push_item(&mut self, datagram: Datagram) {
        if !self.packed.is_empty() {
            self.items_size = self.packed.size();
            self.items = self.views(0..self.packed.len()).map(View::to_datagram).collect();
            self.packed.clear();
        }
        let size = datagram.view().size();
        self.note(size);
        self.items_size += size;
        self.hollow |= datagram.payload().is_none_or(<[u8]>::is_empty);
        self.enveloped |= datagram.has_envelope();
        self.items.push(datagram);
    }

    /// How many there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        if self.packed.is_empty() { self.items.len() } else { self.packed.len() }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The datagram at `place`.
    ///
    /// # Panics
    ///
    /// If there are fewer, as all that name a place.
    #[must_use]
    pub fn view(&self, place: usize) -> View<'_> {
        match self.items.get(place) {
            Some(datagram) => datagram.view(),
            None => self.packed.spot(place).view(self.packed.bytes()),
        }
    }

    /// The datagrams of these places, in order; cheaper than one by one.
    pub fn views(&self, places: Range<usize>) -> impl Iterator<Item = View<'_>> {
        let packed = (!self.packed.is_empty()).then(|| Spots {
            framing: Framing::Entry,
            bytes: self.packed.bytes(),
            offset: self.packed.seek(places.start).offset,
            left: places.len(),
        });
        let items = if packed.is_some() { &[][..] } else { &self.items[places] };
        packed.into_iter().flatten().chain(items.iter().map(Datagram::view))
    }

    /// A copy of the datagram at `place`, which shares what it can.
    #[must_use]
    pub fn datagram(&self, place: usize) -> Datagram {
        match self.items.get(place) {
            Some(datagram) => datagram.clone(),
            None => self.view(place).to_datagram(),
        }
    }

    /// Bytes of all of them.
    #[inline]
    pub(crate) fn total(&self) -> usize {
        self.packed.size() + self.items_size
    }

    /// Bytes of payload, keys and headers of these places, as credit counts them.
    #[must_use]
    pub fn size(&self, places: Range<usize>) -> usize {
        if self.packed.is_empty() {
            return self.items[places].iter().map(|datagram| datagram.view().size()).sum();
        }
        self.packed.seek(places.end).size - self.packed.seek(places.start).size
    }

    /// The longest, as credit counts it; more than that after some were taken out.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Whether some datagram has no payload, or an empty one.
    pub(crate) fn is_hollow(&self) -> bool {
        self.hollow
    }

    /// Whether some datagram has a field of its envelope set.
    #[must_use]
    pub fn has_envelopes(&self) -> bool {
        self.enveloped
    }

    /// These places as [`Framing::Entry`] has them, and how many of them have a tag; `None` where they are kept
    /// in another way.
    #[must_use]
    pub fn entries(&self, places: Range<usize>) -> Option<Entries<'_>> {
        if self.packed.is_empty() {
            return None;
        }
        let (from, until) = (self.packed.seek(places.start), self.packed.seek(places.end));
        Some(Entries::between(self.packed.bytes(), from, until))
    }

    pub(crate) fn packed(&self) -> Option<&Packed> {
        (!self.packed.is_empty()).then_some(&self.packed)
    }

    /// Moves these places to the end of `into`; what is left there means nothing.
    pub(crate) fn move_to(&mut self, places: Range<usize>, into: &mut Self) {
        if self.packed.is_empty() {
            into.extend(self.items[places].iter_mut().map(std::mem::take));
            return;
        }
        for view in self.views(places) {
            match view.payload() {
                Some(payload) => into.push_bytes(view.tag(), payload),
                None => into.push(view.to_datagram()),
            }
        }
    }

    /// Takes the datagram at `place` out; what is left there means nothing.
    pub(crate) fn take(&mut self, place: usize) -> Datagram {
        match self.items.get_mut(place) {
            Some(datagram) => std::mem::take(datagram),
            None => self.view(place).to_datagram(),
        }
    }

    /// About as much will come as `other` has.
    pub(crate) fn expect_like(&mut self, other: &Self) {
        self.packed.expect_like(&other.packed);
    }

    /// Removes all of them, and keeps the memory.
    pub fn clear(&mut self) {
        self.packed.clear();
        self.items.clear();
        (self.items_size, self.longest, self.hollow, self.enveloped) = (0, 0, false, false);
    }
}

/// Datagrams as they lie in memory, in the form of [`Framing::Entry`].
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a> {
    /// All of them.
    pub bytes: &'a [u8],
    /// Where they begin, from the first of all.
    pub offset: usize,
    /// Bytes of their payloads and tags.
    pub content: usize,
}

impl<'a> Entries<'a> {
    fn between(bytes: &'a [u8], from: Mark, until: Mark) -> Self {
        let content = until.size - from.size + 2 * (until.tagged - from.tagged);
        Self { bytes: &bytes[from.offset..until.offset], offset: from.offset, content }
    }
}

impl From<Datagram> for Datagrams {
    fn from(datagram: Datagram) -> Self {
        let mut one = Self::new();
        one.push_item(datagram);
        one
    }
}

impl Extend<Datagram> for Datagrams {
    fn extend<I: IntoIterator<Item = Datagram>>(&mut self, datagrams: I) {
        datagrams.into_iter().for_each(|datagram| self.push(datagram));
    }
}

impl FromIterator<Datagram> for Datagrams {
    fn from_iter<I: IntoIterator<Item = Datagram>>(datagrams: I) -> Self {
        let mut all = Self::new();
        all.extend(datagrams);
        all
    }
}

impl fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagrams").field("len", &self.len()).finish_non_exhaustive()
    }
}
