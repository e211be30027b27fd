//! `dcb`: the command line of libdcb.

mod exit;
mod head;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Reads, checks, copies and explores event stores.
#[derive(Parser)]
#[command(name = "dcb", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the position of the newest event.
    Head(head::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Head(arguments) => head::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
