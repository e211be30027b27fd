//! The stores, and how their drivers are started.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The stores, in the order in which they are run and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Libdcb,
    Plain,
    DcbEs,
    Eventsourcing,
    Disintegrate,
    Bare,
}

/// Stores that cannot be had, and why.
pub const NOT_TO_BE_HAD: &[(&str, &str)] = &[(
    "go-crablet",
    "the Go module proxy answers that github.com/rodolfodpk/go-crablet is not available (2026-11-28)",
)];

impl Kind {
    pub const ALL: [Kind; 6] = [
        Kind::Libdcb,
        Kind::Plain,
        Kind::DcbEs,
        Kind::Eventsourcing,
        Kind::Disintegrate,
        Kind::Bare,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Libdcb => "libdcb",
            Kind::Plain => "plain way",
            Kind::DcbEs => "@dcb-es 7.0.1",
            Kind::Eventsourcing => "eventsourcing 9.5.6",
            Kind::Disintegrate => "disintegrate 4.0.1",
            Kind::Bare => "bare query",
        }
    }

    /// The name on the command line, and of the database.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Libdcb => "libdcb",
            Kind::Plain => "plain",
            Kind::DcbEs => "dcbes",
            Kind::Eventsourcing => "eventsourcing",
            Kind::Disintegrate => "disintegrate",
            Kind::Bare => "bare",
        }
    }

    /// Whether it is a store of somebody else.
    pub fn is_rival(self) -> bool {
        matches!(self, Kind::DcbEs | Kind::Eventsourcing | Kind::Disintegrate)
    }

    /// The store whose database it uses.
    pub fn database_of(self) -> Kind {
        if self == Kind::Bare { Kind::Libdcb } else { self }
    }

    /// Installs what the driver needs below `folder`. Returns its program and arguments, to which
    /// the URI is added, or why it cannot be had.
    pub fn install(self, folder: &Path) -> Result<Vec<PathBuf>, String> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let rivals = Path::new(env!("CARGO_MANIFEST_DIR")).join("rivals");
        let folder = folder.join("rivals").join(self.word());
        match self {
            Kind::Libdcb | Kind::Plain | Kind::Bare => {
                Ok(vec![own, "--drive".into(), self.word().into()])
            }
            Kind::DcbEs => {
                let program = rivals.join("dcbes");
                let files = ["package.json", "driver.mjs"];
                copy(&program, &folder, &files)?;
                let mut npm = Command::new("npm");
                npm.args(["install", "--no-audit", "--no-fund"]).current_dir(&folder);
                run(npm)?;
                Ok(vec!["node".into(), folder.join("driver.mjs")])
            }
            Kind::Eventsourcing => {
                let program = rivals.join("eventsourcing");
                let python = folder.join("bin/python");
                if !python.exists() {
                    let mut venv = Command::new("python3");
                    venv.args(["-m", "venv"]).arg(&folder);
                    run(venv)?;
                }
                let mut pip = Command::new(&python);
                pip.args(["-m", "pip", "install", "--quiet", "-r"]);
                pip.arg(program.join("requirements.txt"));
                run(pip)?;
                Ok(vec![python, program.join("driver.py")])
            }
            Kind::Disintegrate => {
                let program = rivals.join("disintegrate");
                let mut cargo = Command::new("cargo");
                cargo.args(["build", "--quiet", "--release", "--target-dir"]).arg(&folder);
                // Without the settings of the workspace.
                cargo.current_dir(program);
                run(cargo)?;
                Ok(vec![folder.join("release/dcb-bench-disintegrate")])
            }
        }
    }
}

fn copy(from: &Path, to: &Path, files: &[&str]) -> Result<(), String> {
    std::fs::create_dir_all(to).map_err(|error| error.to_string())?;
    for file in files {
        std::fs::copy(from.join(file), to.join(file)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Runs a command. The error is the last line of what it prints.
fn run(mut command: Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it failed");
    Err(format!("{name}: {last}"))
}
