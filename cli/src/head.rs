//! `dcb head`: the position of the newest event.

use dcb::{CallOptions, Options};

use crate::exit::Failure;

/// Which store to ask.
#[derive(clap::Args)]
pub struct Arguments {
    /// The store, such as `sqlite:events.db`.
    #[arg(env = "DCB_URI")]
    uri: String,
}

/// Prints the position of the newest event, 0 if there is none.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let options = Options { read_only: true, ..Options::default() };
    let store = dcb::open(&arguments.uri, &options)?;
    println!("{}", store.head(&CallOptions::default())?);
    store.close();
    Ok(())
}
