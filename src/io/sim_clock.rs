//! The clock of simulations.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Clock;

/// A clock that goes only when told to.
#[derive(Clone, Debug)]
pub struct SimClock {
    now: Arc<Mutex<(u64, Duration)>>,
}

impl SimClock {
    /// A clock that reads `wall_ms`; its monotonic side starts at zero.
    #[must_use]
    pub fn new(wall_ms: u64) -> Self {
        Self { now: Arc::new(Mutex::new((wall_ms, Duration::ZERO))) }
    }

    fn now(&self) -> MutexGuard<'_, (u64, Duration)> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the wall clock, ahead or back; the monotonic side does not notice.
    pub fn set_wall_ms(&self, wall_ms: u64) {
        self.now().0 = wall_ms;
    }

    /// Lets time pass on both sides.
    pub fn advance(&self, by: Duration) {
        let mut now = self.now();
        now.0 = now.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX));
        now.1 = now.1.saturating_add(by);
    }
}

impl Clock for SimClock {
    fn wall_ms(&self) -> u64 {
        self.now().0
    }

    fn monotonic(&self) -> Duration {
        self.now().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_jumps_on_one_side_only() {
        let clock = SimClock::new(1000);
        clock.advance(Duration::from_millis(5));
        clock.set_wall_ms(10);
        assert_eq!((clock.wall_ms(), clock.monotonic()), (10, Duration::from_millis(5)));
    }
}
