//! libdcb beside other stores on one PostgreSQL server. `make bench BENCH=--postgres` runs it.
//!
//! Each store is driven by a process of its own, in the language of the store: see `drive.rs`.

#[path = "../../src/arguments.rs"]
mod arguments;
mod bench;
#[path = "../../../tests/postgres/cluster.rs"]
mod cluster;
#[path = "../../src/disk.rs"]
mod disk;
mod drive;
mod driver;
mod kinds;
#[path = "../../src/load.rs"]
mod load;
#[allow(dead_code)] // processor time, which is that of the driver alone
#[path = "../../src/measure.rs"]
mod measure;
mod options;
#[allow(dead_code)] // what tests do to a connection
#[path = "../../../tests/postgres/proxy.rs"]
mod proxy;
mod report;
mod rows;
mod server;
mod stores;
#[path = "../../src/table.rs"]
mod table;

use std::process::ExitCode;
use std::time::Duration;

use bench::Bench;
use options::{Options, USAGE};
use server::Server;
use stores::{Bare, Libdcb, Plain};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, store, uri] = &arguments[..]
        && flag == "--drive"
    {
        match store.as_str() {
            "libdcb" => drive::drive(|| Box::new(Libdcb::open(uri))),
            "plain" => drive::drive(|| Box::new(Plain::open(uri))),
            _ => drive::drive(|| Box::new(Bare::open(uri))),
        }
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(arguments.into_iter()) {
        Ok(options) => options,
        Err(error) => {
            eprint!("{error}\n\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    std::fs::create_dir_all(&options.out).expect("the folder for the results");
    let Some(server) = Server::start(&options) else {
        // What ctest reports as skipped; the script has said why.
        return ExitCode::from(77);
    };
    let sync = disk::sync(&options.out, Duration::from_millis(200));
    let mut bench = Bench::prepare(options, server);
    bench.report.describe_machine(&sync);
    rows::run(&mut bench);
    let markdown = bench.report.markdown();
    std::fs::write(bench.options.out.join("postgres.md"), &markdown).expect("postgres.md");
    print!("{markdown}");
    if bench.report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
