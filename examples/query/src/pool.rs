//! A few connections, and the permits for them.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use errgroup::Semaphore;
use rusqlite::{Connection, Result};

/// How long a connection waits for another one to write.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connections that are used in turn. A caller that has one of the [permits](Self::permits) finds
/// one that is idle.
pub(crate) struct Pool {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    in_use: AtomicUsize,
    most: AtomicUsize,
}

impl Pool {
    pub(crate) fn open(path: &Path, connections: usize) -> Result<Self> {
        let open = |_| {
            let connection = Connection::open(path)?;
            connection.busy_timeout(PATIENCE)?;
            Ok(connection)
        };
        let idle: Result<Vec<_>> = (0..connections).map(open).collect();
        Ok(Self {
            idle: Mutex::new(idle?),
            permits: Arc::new(Semaphore::new(connections)),
            in_use: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        })
    }

    /// Returns the permits, as many as there are connections.
    pub(crate) fn permits(&self) -> Arc<Semaphore> {
        Arc::clone(&self.permits)
    }

    /// Calls a function with a connection. The caller has a permit.
    ///
    /// # Panics
    ///
    /// Panics if none is idle: a caller has no permit.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Connection) -> R) -> R {
        let mut connection = self.lock().pop().expect("there is a connection for each permit");
        let in_use = self.in_use.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(in_use, Ordering::Relaxed);
        let result = work(&mut connection);
        self.in_use.fetch_sub(1, Ordering::Relaxed);
        self.lock().push(connection);
        result
    }

    /// Returns how many connections are idle.
    pub(crate) fn idle(&self) -> usize {
        self.lock().len()
    }

    /// Returns the most connections that were in use at a time.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
