//! `dcb`: the command line of libdcb.

mod append;
mod backup;
mod bench;
mod cloudevents;
mod copy;
mod count;
mod csv;
mod diagnose;
mod digest;
mod exit;
mod explain;
mod explore;
mod export;
mod files;
mod get;
mod head;
mod health;
mod import;
mod json;
mod lines;
mod manual;
mod migrate;
mod names;
mod output;
mod progress;
mod query;
mod read;
mod salvage;
mod scan;
mod schema;
mod signals;
mod stats;
mod store;
mod table;
mod tail;
mod time;
mod transfer;
mod verify;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

/// Reads, checks, copies and explores event stores
///
/// A store is named by its URI: `sqlite:PATH` is a file. The variable DCB_URI names the store of a
/// command that is given none. Commands that do not write open the store read-only. What a command
/// finds goes to stdout, and everything else to stderr.
///
/// Exit status: 0 for success, 1 for a failure, 2 for wrong arguments, 3 if an append condition
/// failed, 4 if the event or the store does not exist.
#[derive(Parser)]
#[command(name = "dcb", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print events
    Read(Box<read::Arguments>),
    /// Print the newest events, and those that are appended
    Tail(tail::Arguments),
    /// Print one event
    Get(get::Arguments),
    /// Print the position of the newest event
    Head(head::Arguments),
    /// Print the number of events
    Count(count::Arguments),
    /// Append events
    Append(append::Arguments),
    /// Print the types of the events
    Types(names::TypesArguments),
    /// Print the tags of the events
    Tags(names::TagsArguments),
    /// Print what a store holds, in numbers
    Stats(stats::Arguments),
    /// Print the state of a store, and advice where something is off
    Diagnose(diagnose::Arguments),
    /// Check every event and the index
    Verify(verify::Arguments),
    /// Write events to a file
    Export(Box<export::Arguments>),
    /// Append the events of a file
    Import(import::Arguments),
    /// Copy the events of a store to another one
    Copy(copy::Arguments),
    /// Write all that is good of a damaged store to a new one
    Salvage(salvage::Arguments),
    /// Copy a store to a new file while it is used
    Backup(backup::BackupArguments),
    /// Make a store of a backup
    Restore(backup::RestoreArguments),
    /// Print what a query costs, and which events a condition would fail on
    ///
    /// The events that a search looks at are counted in the index, where the store has one: such a
    /// number is never too low. Of the events that match, 100,000 are counted at most.
    Explain(explain::Arguments),
    /// Print what a store is made of, or the SQL that creates one
    ///
    /// Prints the version of the format, the tables and the size.
    Schema(schema::Arguments),
    /// Bring a store to the newest format, or print the SQL that does
    ///
    /// A file of format 1 becomes one of format 2, as any that is opened for appends; a library that knows
    /// format 1 only refuses it then. No event is touched. On PostgreSQL format 1 is the only one so far.
    /// It has revisions, which differ in the functions of the schema: those are replaced while programs
    /// use the store, also programs of earlier versions. The command says so where there is nothing to do,
    /// and fails for a store of a newer format and for what is no store.
    Migrate(migrate::Arguments),
    /// Measure a store on this machine and its disk
    ///
    /// Without a URI, the store is a new file in the current folder, which is removed at the end. So is
    /// a file that the URI names, if it is not there yet. On a PostgreSQL server the store is in the
    /// schema dcb_bench, unless the URI names another, and stays. A store that has events is only
    /// measured with `--existing`, which appends events to it for good.
    Bench(bench::Arguments),
    /// Show the store in a browser
    Explore(explore::Arguments),
    /// Print a script that completes commands in a shell
    Completions(manual::CompletionsArguments),
    /// Write the manual pages to a folder
    #[command(hide = true)]
    Manual(manual::PagesArguments),
    /// Write the pages of the documentation to a folder
    #[command(hide = true)]
    Pages(manual::PagesArguments),
}

/// Prints what is wrong with the arguments and ends the program. Where the store is missing, it says how
/// one is named.
fn refuse(mut error: clap::Error) -> ! {
    // After `--`, which clap suggests, an option's value would count as an argument.
    let is_unknown = error.kind() == ErrorKind::UnknownArgument;
    if is_unknown && error.get(ContextKind::SuggestedArg).is_none() {
        error.remove(ContextKind::Suggested);
        if let Some(ContextValue::String(text)) = error.get(ContextKind::InvalidArg)
            && !text.starts_with("--")
        {
            let tip = format!("a value that begins with a hyphen is written --OPTION={text}");
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
        }
    }
    let is_missing = error.kind() == ErrorKind::MissingRequiredArgument;
    let names_store = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) => missing.iter().any(|name| name == "<URI>"),
        _ => false,
    };
    if is_missing && names_store {
        // The program ends with this status in any case.
        let _ = error.print();
        let usage = error.get(ContextKind::Usage).map_or(String::new(), ToString::to_string);
        let alone = match usage.split_once("<URI> ") {
            Some((_, second)) => format!("; an argument that is alone is {}", second.trim()),
            None => String::new(),
        };
        eprintln!(
            "\n  tip: a store is named by a URI, such as sqlite:events.db, or by the variable \
             DCB_URI{alone}"
        );
        std::process::exit(error.exit_code());
    }
    error.exit()
}

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| refuse(error));
    let result = match arguments.command {
        Command::Read(arguments) => read::run(&arguments),
        Command::Tail(arguments) => tail::run(&arguments),
        Command::Get(arguments) => get::run(&arguments),
        Command::Head(arguments) => head::run(&arguments),
        Command::Count(arguments) => count::run(&arguments),
        Command::Append(arguments) => append::run(&arguments),
        Command::Types(arguments) => names::types(&arguments),
        Command::Tags(arguments) => names::tags(&arguments),
        Command::Stats(arguments) => stats::run(&arguments),
        Command::Diagnose(arguments) => diagnose::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Copy(arguments) => copy::run(&arguments),
        Command::Salvage(arguments) => salvage::run(&arguments),
        Command::Backup(arguments) => backup::backup(&arguments),
        Command::Restore(arguments) => backup::restore(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Migrate(arguments) => migrate::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Explore(arguments) => explore::run(&arguments),
        Command::Completions(arguments) => manual::completions(Arguments::command(), &arguments),
        Command::Manual(arguments) => manual::manual(Arguments::command(), &arguments),
        Command::Pages(arguments) => manual::pages(Arguments::command(), &arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
