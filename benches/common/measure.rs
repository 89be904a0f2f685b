//! Measures time: all contenders in turn, round after round.

use std::time::{Duration, Instant};

use super::workload::{Contender, Meter, Workload};

/// How long to measure a workload.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    time: Duration,
    least: u32,
    most: u32,
}

impl Effort {
    pub(crate) fn new(quick: bool) -> Self {
        if quick {
            Self { time: Duration::from_millis(200), least: 2, most: 10 }
        } else {
            Self { time: Duration::from_millis(2_500), least: 5, most: 60 }
        }
    }

    /// Returns how many rounds fit in, if one takes `round`.
    fn rounds(self, round: Duration) -> usize {
        let rounds = self.time.as_nanos() / round.as_nanos().max(1);
        rounds.clamp(self.least.into(), self.most.into()) as usize
    }
}

/// A contender's nanoseconds for each unit of the workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) min: f64,
    pub(crate) median: f64,
}

#[derive(Default)]
struct Clock(Duration);

impl Meter for Clock {
    fn measure(&mut self, part: &mut dyn FnMut()) {
        let start = Instant::now();
        part();
        self.0 += start.elapsed();
    }
}

fn time(contender: &mut Contender) -> Duration {
    let mut clock = Clock::default();
    (contender.run)(&mut clock);
    clock.0
}

/// Times each contender of a workload, and returns the times in their order.
///
/// A round runs each of them once, and each round begins with another one. So a disturbance of
/// the machine affects all of them.
pub(crate) fn measure(workload: &mut Workload, effort: Effort) -> Vec<Times> {
    let contenders = &mut workload.contenders;
    let count = contenders.len();
    let warm_up: Vec<_> = contenders.iter_mut().map(time).collect();
    // A contender that is far too slow is not run again, so that it does not take the time of all.
    let fit: Vec<_> = (0..count).filter(|&at| warm_up[at] < effort.time).collect();
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); count];
    for at in (0..count).filter(|at| !fit.contains(at)) {
        times[at].push(warm_up[at]);
    }
    for round in 0..effort.rounds(fit.iter().map(|&at| warm_up[at]).sum()) {
        for turn in 0..fit.len() {
            let at = fit[(round + turn) % fit.len()];
            times[at].push(time(&mut contenders[at]));
        }
    }
    times.into_iter().map(|times| summary(times, workload.units)).collect()
}

fn summary(mut times: Vec<Duration>, units: usize) -> Times {
    times.sort();
    let per_unit = |time: Duration| time.as_nanos() as f64 / units as f64;
    Times { min: per_unit(times[0]), median: per_unit(times[times.len() / 2]) }
}
