//! Time as a value, so that tests can own it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::Timestamp;

/// A future that is ready once its time has come.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where an endpoint takes time from.
///
/// The facade passes Tokio's, tests pass a [`VirtualClock`], everybody else gets a [`SystemClock`].
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Time since some fixed point; never goes back. Deadlines and delays are measured with it.
    fn now(&self) -> Duration;
    /// Calendar time, for `expiry` and `deliver_at`.
    fn wall(&self) -> Timestamp;
    /// Ready once `duration` has passed. Dropping it cancels it.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// What `future` yields, or `None` once [`Clock::now`] has reached `until`.
///
/// No timer is made where `future` is ready at once. Dropping it drops `future`.
pub async fn deadline<F: Future>(
    clock: &dyn Clock,
    until: Duration,
    future: F,
) -> Option<F::Output> {
    timed(future, || clock.sleep(until.saturating_sub(clock.now()))).await
}

/// As [`deadline`], `timeout` after the first poll; leaves that time in `until`. The clock is read only where
/// `future` is not ready at once.
pub(crate) async fn within<F: Future>(
    clock: &dyn Clock,
    timeout: Duration,
    until: &mut Option<Duration>,
    future: F,
) -> Option<F::Output> {
    let timer = || {
        *until = Some(clock.now().saturating_add(timeout));
        clock.sleep(timeout)
    };
    timed(future, timer).await
}

/// What `future` yields, or `None` once the timer is over, which is made when `future` first waits.
async fn timed<F: Future>(future: F, timer: impl FnOnce() -> Sleep) -> Option<F::Output> {
    let mut future = pin!(future);
    let (mut timer, mut sleep) = (Some(timer), None);
    std::future::poll_fn(move |cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        if let Some(timer) = timer.take() {
            sleep = Some(timer());
        }
        match &mut sleep {
            Some(sleep) => sleep.as_mut().poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}

/// The calendar time of the operating system, for clocks that have none of their own.
#[must_use]
pub fn system_wall() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(millis).unwrap_or(Timestamp::MAX)
}

/// Sleepers by their due time; a number keeps equal times apart.
#[derive(Default)]
struct Sleepers {
    next: u64,
    by_due: BTreeMap<(Duration, u64), Waker>,
    ended: bool,
}

impl Sleepers {
    fn take_due(&mut self, now: Duration) -> Vec<Waker> {
        let later = self.by_due.split_off(&(now, u64::MAX));
        std::mem::replace(&mut self.by_due, later).into_values().collect()
    }

    fn next_due(&self) -> Option<Duration> {
        self.by_due.keys().next().map(|(due, _)| *due)
    }
}

/// One registered sleep; leaves the list when it is dropped.
struct Sleeper<T: Timers> {
    timers: Arc<T>,
    due: Duration,
    number: Option<u64>,
}

trait Timers: Send + Sync + 'static {
    fn now(&self) -> Duration;
    fn sleepers(&self) -> std::sync::MutexGuard<'_, Sleepers>;
    fn changed(&self);
}

impl<T: Timers> Future for Sleeper<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut sleepers = this.timers.sleepers();
        if this.timers.now() >= this.due || sleepers.ended {
            return Poll::Ready(());
        }
        let number = *this.number.get_or_insert_with(|| {
            sleepers.next += 1;
            sleepers.next
        });
        sleepers.by_due.insert((this.due, number), cx.waker().clone());
        let first = sleepers.next_due() == Some(this.due);
        drop(sleepers);
        if first {
            this.timers.changed();
        }
        Poll::Pending
    }
}

impl<T: Timers> Drop for Sleeper<T> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.timers.sleepers().by_due.remove(&(self.due, number));
        }
    }
}

/// The clock of the operating system. Its timers need no runtime: one thread, started by the first
/// sleep and joined when the last clone and sleep are dropped, wakes whoever is due.
#[derive(Clone)]
pub struct SystemClock {
    shared: Arc<SystemTimers>,
    owner: Arc<TimerThread>,
}

struct SystemTimers {
    origin: Instant,
    sleepers: Mutex<Sleepers>,
    changed: Condvar,
}

struct TimerThread {
    timers: Arc<SystemTimers>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl SystemClock {
    /// A clock whose zero is now.
    #[must_use]
    pub fn new() -> Self {
        let shared = Arc::new(SystemTimers {
            origin: Instant::now(),
            sleepers: Mutex::default(),
            changed: Condvar::new(),
        });
        let owner = Arc::new(TimerThread { timers: shared.clone(), handle: Mutex::default() });
        Self { shared, owner }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SystemClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemClock")
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.shared.now()
    }

    fn wall(&self) -> Timestamp {
        system_wall()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let owner = self.owner.clone();
        owner.start();
        let due = self.shared.now().saturating_add(duration);
        let sleeper = Sleeper { timers: self.shared.clone(), due, number: None };
        Box::pin(async move {
            sleeper.await;
            // Until here, so that the thread that wakes it outlives the last clone of the clock.
            drop(owner);
        })
    }
}

impl Timers for SystemTimers {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn sleepers(&self) -> std::sync::MutexGuard<'_, Sleepers> {
        lock(&self.sleepers)
    }

    fn changed(&self) {
        self.changed.notify_one();
    }
}

impl SystemTimers {
    fn run(&self) {
        let mut sleepers = self.sleepers();
        while !sleepers.ended {
            let due = sleepers.take_due(self.now());
            if !due.is_empty() {
                drop(sleepers);
                due.into_iter().for_each(Waker::wake);
                sleepers = self.sleepers();
                continue;
            }
            let wait = sleepers
                .next_due()
                .map_or(Duration::from_secs(3600), |next| next.saturating_sub(self.now()));
            sleepers =
                self.changed.wait_timeout(sleepers, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl TimerThread {
    fn start(&self) {
        let mut handle = lock(&self.handle);
        if handle.is_none() {
            let timers = self.timers.clone();
            let thread = std::thread::Builder::new().name("seam-clock".into());
            *handle = thread.spawn(move || timers.run()).ok();
        }
    }
}

impl Drop for TimerThread {
    fn drop(&mut self) {
        self.timers.sleepers().ended = true;
        self.timers.changed.notify_one();
        if let Some(handle) = lock(&self.handle).take()
            && handle.thread().id() != std::thread::current().id()
        {
            // A panic of the timer thread has been printed; there is nobody to hand it to here.
            drop(handle.join());
        }
    }
}

/// A clock that stands still until a test moves it.
///
/// ```
/// use std::time::Duration;
/// use seam_core::{Clock, VirtualClock};
///
/// let clock = VirtualClock::new();
/// let before = std::time::Instant::now();
/// clock.block_on(clock.sleep(Duration::from_secs(3600)));
/// assert_eq!(clock.now(), Duration::from_secs(3600));
/// assert!(before.elapsed() < Duration::from_secs(3600));
/// ```
#[derive(Clone, Default)]
pub struct VirtualClock(Arc<VirtualTimers>);

#[derive(Default)]
struct VirtualTimers {
    now: Mutex<Duration>,
    sleepers: Mutex<Sleepers>,
}

impl VirtualClock {
    /// A clock at zero, whose calendar stands at 2026-01-01T00:00:00Z.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves time on by `duration` and wakes whoever is due, in the order of their times.
    pub fn advance(&self, duration: Duration) {
        let end = self.0.now().saturating_add(duration);
        loop {
            let next = self.0.sleepers().next_due().filter(|due| *due <= end);
            *lock(&self.0.now) = next.unwrap_or(end);
            let due = self.0.sleepers().take_due(next.unwrap_or(end));
            due.into_iter().for_each(Waker::wake);
            if next.is_none() {
                return;
            }
        }
    }

    /// Moves time to the next sleeper and wakes it; `false` if nobody sleeps.
    #[must_use]
    pub fn advance_to_next(&self) -> bool {
        let Some(next) = self.0.sleepers().next_due() else { return false };
        self.advance(next.saturating_sub(self.0.now()));
        true
    }

    /// Runs `future` to its end on this thread; whenever it waits, time jumps to the next sleeper.
    ///
    /// # Panics
    ///
    /// If `future` waits and nobody sleeps: it would wait for ever.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let flag = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(flag.clone());
        let mut cx = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            while flag.0.swap(false, Ordering::AcqRel) {
                if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                    return output;
                }
            }
            assert!(self.advance_to_next(), "the future waits, and no timer will wake it");
        }
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl fmt::Debug for VirtualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VirtualClock({:?})", self.0.now())
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        self.0.now()
    }

    fn wall(&self) -> Timestamp {
        const START: i64 = 1_767_225_600_000;
        Timestamp::from_millis(START).unwrap_or(Timestamp::MIN).saturating_add(self.0.now())
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let due = self.0.now().saturating_add(duration);
        Box::pin(Sleeper { timers: self.0.clone(), due, number: None })
    }
}

impl Timers for VirtualTimers {
    fn now(&self) -> Duration {
        *lock(&self.now)
    }

    fn sleepers(&self) -> std::sync::MutexGuard<'_, Sleepers> {
        lock(&self.sleepers)
    }

    fn changed(&self) {}
}

/// Locks, also after a panic elsewhere: every guarded state here is whole between statements.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_time_wakes_in_order() {
        let clock = VirtualClock::new();
        let seen = Mutex::new(Vec::new());
        let nap = |secs: u64| {
            let (clock, seen) = (&clock, &seen);
            async move {
                clock.sleep(Duration::from_secs(secs)).await;
                lock(seen).push((secs, clock.now()));
            }
        };
        clock.block_on(futures_util::future::join3(nap(3), nap(1), nap(2)));
        let at = |secs| (secs, Duration::from_secs(secs));
        assert_eq!(*lock(&seen), [at(1), at(2), at(3)]);
    }

    #[test]
    fn system_clock_sleeps_without_a_runtime() {
        let clock = SystemClock::new();
        let before = clock.now();
        smol::block_on(clock.sleep(Duration::from_millis(20)));
        assert!(clock.now() - before >= Duration::from_millis(20));
    }

    #[test]
    fn dropping_a_sleep_removes_it() {
        let clock = VirtualClock::new();
        let slow = clock.sleep(Duration::from_secs(9));
        let fast = deadline(&clock, Duration::from_secs(1), slow);
        assert!(clock.block_on(fast).is_none());
        assert!(!clock.advance_to_next());
    }
}
