//! Moves money between accounts of an SQLite database, with a few connections for many transfers.
//!
//! ```sh
//! cargo run -p pool
//! cargo run -p pool -- --transfers 5000 --connections 2
//! ```
//!
//! [`run`] is the part that uses errgroup: each transfer is a child, and the connections are a gate
//! of the group. So as many transfers run as there are connections, in the order in which they
//! came, and a child that has begun never waits for a connection. The permit that lets it pass is
//! kept by the group until the child has ended, whatever becomes of it.
//!
//! A transfer that an account can't pay is refused, which is a result. An error of the database is
//! one of the group: it stops, and the transfers that wait are dropped.
#![forbid(unsafe_code)]

mod pool;

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use errgroup::Group;
use rusqlite::{Connection, TransactionBehavior, params};

use crate::pool::Pool;

/// How many accounts there are, and what each has at first.
const ACCOUNTS: u64 = 20;
const AT_FIRST: i64 = 100;

/// Moves money between accounts.
#[derive(Parser)]
struct Args {
    /// How many transfers are made
    #[arg(long, default_value = "500")]
    transfers: u64,
    /// How many connections to the database there are
    #[arg(long, default_value = "4")]
    connections: NonZeroUsize,
    /// The transfer that names an account which does not exist, if one is to
    #[arg(long)]
    bad: Option<u64>,
}

#[derive(Clone, Copy)]
struct Transfer {
    from: u64,
    to: u64,
    amount: i64,
}

/// Makes the transfers. Returns how many were paid.
async fn run(pool: &Arc<Pool>, transfers: impl Iterator<Item = Transfer>) -> Result<usize> {
    let permits = pool.permits();
    let mut group = Group::new().with_gate(move |_| permits.acquire_arc()).collect();
    for (number, transfer) in transfers.enumerate() {
        let pool = Arc::clone(pool);
        // SQLite blocks, so it does on a thread of its own.
        group.queue(async move {
            let paid = smol::unblock(move || pool.with(|connection| pay(connection, transfer)));
            paid.await.with_context(|| format!("transfer {number}"))
        });
    }
    let paid = group.await?;
    Ok(paid.into_iter().filter(|paid| *paid).count())
}

/// Makes a transfer. Returns `false` if the account that is to pay it has too little.
fn pay(connection: &mut Connection, transfer: Transfer) -> Result<bool> {
    let Transfer { from, to, amount } = transfer;
    // It takes the lock for writing at once, and waits for it, for as long as `Pool` says.
    let paying = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let taken = paying.execute(
        "UPDATE account SET balance = balance - ?2 WHERE number = ?1 AND balance >= ?2",
        params![from, amount],
    )?;
    if taken == 0 {
        return Ok(false);
    }
    let given = paying.execute(
        "UPDATE account SET balance = balance + ?2 WHERE number = ?1",
        params![to, amount],
    )?;
    // What was taken is rolled back.
    ensure!(given == 1, "there is no account {to}");
    paying.commit()?;
    Ok(true)
}

fn create(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.execute("CREATE TABLE account (number INTEGER PRIMARY KEY, balance INTEGER)", [])?;
    for number in 0..ACCOUNTS {
        connection.execute("INSERT INTO account VALUES (?1, ?2)", params![number, AT_FIRST])?;
    }
    Ok(connection)
}

/// Returns a transfer that looks random.
fn transfer(number: u64) -> Transfer {
    let random = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let from = random % ACCOUNTS;
    let to = (from + 1 + random / ACCOUNTS % (ACCOUNTS - 1)) % ACCOUNTS;
    Transfer { from, to, amount: (random % 90 + 10) as i64 }
}

fn main() -> ExitCode {
    let args = Args::parse();
    match smol::block_on(play(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn play(args: &Args) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("accounts.db");
    let accounts = create(&path)?;
    let pool = Arc::new(Pool::open(&path, args.connections.get())?);
    let transfers = (0..args.transfers).map(|number| match transfer(number) {
        bad if args.bad == Some(number) => Transfer { to: ACCOUNTS, amount: 0, ..bad },
        fine => fine,
    });

    let result = run(&pool, transfers).await;

    // Nothing runs any more, whatever the result.
    let (idle, most) = (pool.idle(), pool.most());
    let sum: i64 = accounts.query_row("SELECT sum(balance) FROM account", [], |row| row.get(0))?;
    println!("{idle} of {} connections idle, at most {most} in use at a time", args.connections);
    println!("all accounts have {sum} of {} together", ACCOUNTS as i64 * AT_FIRST);
    let paid = result?;
    println!("{paid} of {} transfers paid", args.transfers);
    Ok(())
}
