//! A piece of work, and who contends in it.

use std::fmt::Debug;

/// Measures the part of a contender's run that counts: its time, or its memory.
pub(crate) trait Meter {
    fn measure(&mut self, part: &mut dyn FnMut());
}

/// Runs `part` under the meter, and passes on what it returns.
pub(crate) fn measured<R>(meter: &mut dyn Meter, part: impl FnOnce() -> R) -> R {
    let mut part = Some(part);
    let mut output = None;
    meter.measure(&mut || output = part.take().map(|part| part()));
    output.expect("a meter runs its part once")
}

/// Does the work once.
type Run = Box<dyn FnMut(&mut dyn Meter)>;

pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) run: Run,
}

/// The children by themselves, which no contender can be faster than.
pub(crate) const FLOOR: &str = "no set: one after another";

/// Whether a contender is this crate, or one of its peers.
pub(crate) fn is_ours(name: &str) -> bool {
    name.starts_with("errgroup")
}

pub(crate) struct Work {
    /// What `--only` looks at.
    pub(crate) name: String,
    pub(crate) title: String,
    /// By how much a run is divided.
    pub(crate) units: usize,
    /// What it is divided into.
    pub(crate) unit: &'static str,
    /// Go's figure for it, and how many units that is for.
    pub(crate) go: (String, usize),
    /// The contender of ours that the peers are compared with.
    pub(crate) reference: &'static str,
    pub(crate) contenders: Vec<Contender>,
}

impl Work {
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

    /// Adds a contender that gets something ready first, which does not count.
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

    /// Adds a contender that says itself which part of its run counts.
    pub(crate) fn add_parts(&mut self, name: &str, run: impl FnMut(&mut dyn Meter) + 'static) {
        self.contenders.push(Contender { name: name.to_string(), run: Box::new(run) });
    }
}
