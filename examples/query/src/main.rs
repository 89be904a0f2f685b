//! Writes a statement for each account of an SQLite database: many queries over a few connections,
//! and all statements are written, in order, or none is.
//!
//! ```sh
//! cargo run -p query
//! cargo run -p query -- --accounts 200 --connections 2
//! cargo run -p query -- --missing 5    # an error rolls back
//! ```
//!
//! [`run`] is the part that uses errgroup. Each query is a child, and the pool of connections is a
//! gate of the group: as many queries run as there are connections, and a child that has begun
//! never waits for one. The group is a stream of their results, in order. The first error stops
//! it: no more queries begin, those that run are waited for, and the transaction that writes the
//! statements is rolled back.
#![forbid(unsafe_code)]

mod pool;

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use errgroup::Group;
use futures::stream::{self, StreamExt};
use rusqlite::{Connection, Row, params};

use crate::pool::Pool;

/// How many payments there are.
const PAYMENTS: u64 = 20_000;

/// Writes a statement for each account of a database that it makes itself.
#[derive(Parser)]
struct Args {
    /// How many accounts there are
    #[arg(long, default_value = "20")]
    accounts: u64,
    /// How many connections to the database there are
    #[arg(long, default_value = "4")]
    connections: NonZeroUsize,
    /// The account that does not exist, if one is missing
    #[arg(long)]
    missing: Option<u64>,
}

struct Statement {
    account: u64,
    payments: i64,
    balance: i64,
}

/// Writes a statement for each of the accounts. Returns how many.
async fn run(pool: &Arc<Pool>, writer: &mut Connection, accounts: u64) -> Result<usize> {
    let transaction = writer.transaction()?; // rolls back if it is dropped
    let permits = pool.permits();
    let queries = (0..accounts).map(|account| {
        let pool = Arc::clone(pool);
        async move {
            // SQLite blocks, so it does on a thread of its own.
            let query = move || pool.with(|connection| statement(connection, account));
            smol::unblock(query).await.with_context(|| format!("account {account}"))
        }
    });
    let mut statements = Group::unboxed()
        .with_limit(64) // queries that wait for a connection, run, or have an unread result
        .with_gate(move |_| permits.acquire_arc())
        .results()
        .in_order()
        .fail_fast()
        .feed(stream::iter(queries));
    let mut written: Result<usize> = Ok(0);
    // After an error it goes on until no query runs any more.
    while let Some(statement) = statements.next().await {
        written = written.and_then(|count| {
            write(&transaction, &statement?)?;
            Ok(count + 1)
        });
        if written.is_err() {
            statements.token().cancel(); // stopped already, unless the error is one of `write`
        }
    }
    let count = written?;
    transaction.commit()?;
    Ok(count)
}

/// Makes the statement of an account, which reads all payments.
fn statement(connection: &Connection, account: u64) -> Result<Statement> {
    connection
        .query_row("SELECT 1 FROM account WHERE number = ?1", [account], |_| Ok(()))
        .context("it does not exist")?;
    let of_row =
        |row: &Row<'_>| Ok(Statement { account, payments: row.get(0)?, balance: row.get(1)? });
    let payments =
        "SELECT count(*), coalesce(sum(CASE payer WHEN ?1 THEN -amount ELSE amount END), 0)
         FROM payment WHERE payer = ?1 OR payee = ?1";
    Ok(connection.query_row(payments, [account], of_row)?)
}

fn write(connection: &Connection, statement: &Statement) -> Result<()> {
    let Statement { account, payments, balance } = statement;
    connection.execute(
        "INSERT INTO statement VALUES (?1, ?2, ?3)",
        params![account, payments, balance],
    )?;
    Ok(())
}

fn create(path: &Path, args: &Args) -> Result<Connection> {
    let connection = Connection::open(path)?;
    // With a log, reading goes on while there is a transaction that writes.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.execute_batch(
        "CREATE TABLE account (number INTEGER PRIMARY KEY);
         CREATE TABLE payment (payer INTEGER, payee INTEGER, amount INTEGER);
         CREATE TABLE statement (account INTEGER, payments INTEGER, balance INTEGER);",
    )?;
    let numbers = "WITH RECURSIVE n(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM n LIMIT ?1)";
    connection
        .execute(&format!("{numbers} INSERT INTO account SELECT n FROM n"), [args.accounts])?;
    connection.execute(
        &format!(
            "{numbers} INSERT INTO payment
             SELECT n * 7 % ?2, (n * 13 + 1) % ?2, n * 31 % 90 + 10 FROM n"
        ),
        params![PAYMENTS, args.accounts],
    )?;
    if let Some(missing) = args.missing {
        connection.execute("DELETE FROM account WHERE number = ?1", [missing])?;
    }
    Ok(connection)
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
    let mut writer = create(&path, args)?;
    let pool = Arc::new(Pool::open(&path, args.connections.get())?);

    let result = run(&pool, &mut writer, args.accounts).await;

    // Nothing runs any more, whatever the result.
    let mut rows = writer.prepare("SELECT * FROM statement ORDER BY rowid")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let (account, payments, balance): (i64, i64, i64) = row.try_into()?;
        println!("account {account}: {payments} payments, balance {balance}");
    }
    let (idle, most) = (pool.idle(), pool.most());
    println!("{idle} of {} connections idle, at most {most} in use at a time", args.connections);
    println!("{} statements written", result?);
    Ok(())
}
