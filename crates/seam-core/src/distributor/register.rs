//! A map whose keys rise with each insertion.

/// Values by a number that is higher for each one that is added: few of them, found fast, and gone through
/// without any detour. Memory that a change moves is that of pointers.
pub(crate) struct Register<K, T>(Vec<(K, Box<T>)>);

impl<K, T> Default for Register<K, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord + Copy, T> Register<K, T> {
    /// Adds a value, whose key must be above all others.
    pub(crate) fn insert(&mut self, key: K, value: T) {
        debug_assert!(self.0.last().is_none_or(|(last, _)| *last < key), "keys rise");
        self.0.push((key, Box::new(value)));
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<T> {
        self.place(key).map(|place| *self.0.remove(place).1)
    }

    pub(crate) fn get(&self, key: &K) -> Option<&T> {
        self.place(key).map(|place| &*self.0[place].1)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut T> {
        self.place(key).map(|place| &mut *self.0[place].1)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.place(key).is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = K> + '_ {
        self.0.iter().map(|(key, _)| *key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> + Clone {
        self.0.iter().map(|(_, value)| &**value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().map(|(_, value)| &mut **value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.0.iter().map(|(key, value)| (*key, &**value))
    }

    fn place(&self, key: &K) -> Option<usize> {
        match &self.0[..] {
            // The most common one without a search.
            [(only, _)] => (only == key).then_some(0),
            all => all.binary_search_by_key(key, |(key, _)| *key).ok(),
        }
    }
}
