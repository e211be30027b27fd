//! What is generated from the arguments: completions for a shell, manual pages, and the pages of the
//! documentation.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;

use crate::exit::Failure;

/// Which shell to print completions for.
#[derive(clap::Args)]
pub struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

/// Where to write pages to.
#[derive(clap::Args)]
pub struct PagesArguments {
    /// A folder
    folder: PathBuf,
}

/// Prints a script that completes commands and options in a shell.
pub fn completions(mut command: Command, arguments: &CompletionsArguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "dcb", &mut script);
    io::stdout().write_all(&script)?;
    Ok(())
}

/// Writes a manual page for each command.
pub fn manual(command: Command, arguments: &PagesArguments) -> Result<(), Failure> {
    fs::create_dir_all(&arguments.folder).map_err(|error| at(error, &arguments.folder))?;
    clap_mangen::generate_to(command, &arguments.folder)
        .map_err(|error| at(error, &arguments.folder))
}

/// The columns of the help on a page of the documentation.
const COLUMNS: usize = 100;

/// Writes a page of the documentation for each command.
pub fn pages(command: Command, arguments: &PagesArguments) -> Result<(), Failure> {
    fs::create_dir_all(&arguments.folder).map_err(|error| at(error, &arguments.folder))?;
    let mut command = command.term_width(COLUMNS);
    command.build();
    for own in command.get_subcommands_mut() {
        if own.is_hide_set() || own.get_name() == "help" {
            continue;
        }
        let name = own.get_name().to_owned();
        let help = own.render_long_help().to_string();
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        let page = format!(
            "<!-- Generated from the arguments of `dcb {name}`; do not edit. To update it: dcb pages docs/cli -->\n\n\
             # dcb {name}\n\n```text\n{}\n```\n",
            lines.join("\n").trim_end()
        );
        let path = arguments.folder.join(format!("{name}.md"));
        fs::write(&path, page).map_err(|error| at(error, &path))?;
    }
    Ok(())
}

fn at(error: io::Error, path: &Path) -> Failure {
    Failure::new(error.to_string()).at(&path.display().to_string())
}
