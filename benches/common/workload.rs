//! A workload, and the contenders that do it.

use std::fmt::Debug;

/// Measures the part of a contender's run that counts: its time or its memory.
pub(crate) trait Meter {
    fn measure(&mut self, part: &mut dyn FnMut());
}

/// Runs `part` under the meter, and returns its value.
pub(crate) fn measured<R>(meter: &mut dyn Meter, part: impl FnOnce() -> R) -> R {
    let mut part = Some(part);
    let mut output = None;
    meter.measure(&mut || output = part.take().map(|part| part()));
    output.expect("a meter runs its part once")
}

/// Does the workload once.
type Run = Box<dyn FnMut(&mut dyn Meter)>;

pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) run: Run,
}

/// The children polled without a set; no contender can be faster.
pub(crate) const FLOOR: &str = "no set: one after another";

/// Returns `true` if a contender is this crate, not one of its peers.
pub(crate) fn is_ours(name: &str) -> bool {
    name.starts_with("errgroup")
}

pub(crate) struct Workload {
    /// What `--only` looks at.
    pub(crate) name: String,
    pub(crate) title: String,
    /// A run's result is divided by this.
    pub(crate) units: usize,
    /// The name of a unit.
    pub(crate) unit: &'static str,
    /// The name of Go's figure, and for how many units that is.
    pub(crate) go: (String, usize),
    /// Our contender that the peers are compared with.
    pub(crate) reference: &'static str,
    pub(crate) contenders: Vec<Contender>,
}

impl Workload {
    pub(crate) fn new(
        name: impl Into<String>,
        title: impl Into<String>,
        units: usize,
        reference: &'static str,
    ) -> Self {
        let name = name.into();
        Self {
            go: (name.clone(), 1),
            name,
            title: title.into(),
            units,
            unit: "child",
            reference,
            contenders: Vec::new(),
        }
    }

    pub(crate) fn per(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// Adds a contender whose whole run counts.
    pub(crate) fn add<R>(&mut self, name: &str, mut run: impl FnMut() -> R + 'static) {
        self.add_parts(name, move |meter| drop(measured(meter, &mut run)));
    }

    /// Adds a contender that prepares something first, which does not count.
    pub(crate) fn add_prepared<T, R>(
        &mut self,
        name: &str,
        prepare: impl Fn() -> T + 'static,
        run: impl Fn(T) -> R + 'static,
        expected: R,
    ) where
        T: 'static,
        R: PartialEq + Debug + 'static,
    {
        self.add_parts(name, move |meter| {
            let ready = prepare();
            let output = measured(meter, || run(ready));
            assert_eq!(output, expected, "a contender has not done the work");
        });
    }

    /// Adds a contender that measures the part of its run that counts.
    pub(crate) fn add_parts(&mut self, name: &str, run: impl FnMut(&mut dyn Meter) + 'static) {
        self.contenders.push(Contender { name: name.to_string(), run: Box::new(run) });
    }
}
