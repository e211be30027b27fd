//! The header that ships: current, and clean for every compiler that may read it.

#[cfg(all(target_os = "linux", not(feature = "testing")))]
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The files of the C types, in the order in which the header shows what they export.
const SOURCES: [&str; 11] = [
    "version", "status", "limits", "error", "call", "cancel", "store", "buf", "event", "cursor",
    "host",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The header as the sources say it.
fn generated() -> String {
    let mut config = cbindgen::Config::from_file(root().join("cbindgen.toml")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let parts: Vec<&str> = version.split('.').collect();
    config.after_includes = Some(format!(
        "\n/** The version of the library that this header belongs to. */\n\
         #define DCB_VERSION \"{version}\"\n\
         #define DCB_VERSION_MAJOR {}\n#define DCB_VERSION_MINOR {}\n#define DCB_VERSION_PATCH {}",
        parts[0], parts[1], parts[2]
    ));
    let builder =
        SOURCES.iter().fold(cbindgen::Builder::new().with_config(config), |builder, name| {
            builder.with_src(root().join("src/capi").join(name).with_extension("rs"))
        });
    let mut text = Vec::new();
    builder.generate().unwrap().write(&mut text);
    join_short_comments(std::str::from_utf8(&text).unwrap())
}

/// Puts a comment of one line on one line.
fn join_short_comments(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut joined = String::new();
    let mut at = 0;
    while at < lines.len() {
        let (line, step) = match lines[at..] {
            [open, body, close, ..] if open.trim() == "/**" && close.trim() == "*/" => {
                let indent = &open[..open.len() - open.trim_start().len()];
                let body = body.trim_start().trim_start_matches("* ");
                (format!("{indent}/** {body} */"), 3)
            }
            _ => (lines[at].to_owned(), 1),
        };
        joined.push_str(&line);
        joined.push('\n');
        at += step;
    }
    joined
}

#[test]
fn the_header_is_current() {
    let path = root().join("include/dcb.h");
    let wanted = generated();
    if std::env::var_os("DCB_UPDATE_HEADER").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "include/dcb.h is stale; renew it with DCB_UPDATE_HEADER=1 cargo test --test header"
    );
}

#[test]
fn every_compiler_takes_the_header_alone() {
    for (compiler, standard, language) in
        [("cc", "c99", "c"), ("cc", "c11", "c"), ("c++", "c++11", "c++"), ("c++", "c++17", "c++")]
    {
        let outcome = Command::new(compiler)
            .args(["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fsyntax-only"])
            .arg(format!("-std={standard}"))
            .args(["-x", language])
            .arg(root().join("include/dcb.h"))
            .output()
            .unwrap_or_else(|error| panic!("{compiler}: {error}"));
        let complaints = String::from_utf8_lossy(&outcome.stderr);
        assert!(outcome.status.success(), "{compiler} -std={standard}:\n{complaints}");
    }
}

/// The functions that the header declares: each is a `dcb_` name in front of a parenthesis.
#[cfg(all(target_os = "linux", not(feature = "testing")))]
fn declared() -> BTreeSet<String> {
    let header = generated();
    let start = header.find("extern \"C\" {").unwrap();
    let mut code = String::new();
    let mut comment = false;
    for line in header[start..].lines() {
        comment |= line.trim_start().starts_with("/*");
        if !comment {
            code.push_str(line);
        }
        comment &= !line.trim_end().ends_with("*/");
    }
    let name = |text: &str| {
        let start = text.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_')? + 1;
        text[start..].starts_with("dcb_").then(|| text[start..].to_owned())
    };
    code.match_indices('(').filter_map(|(at, _)| name(&code[..at])).collect()
}

/// The library exports what the header declares, and no name of its own parts: another SQLite
/// in the same process keeps its own.
#[cfg(all(target_os = "linux", not(feature = "testing")))]
#[test]
fn the_library_exports_the_header_and_nothing_else() {
    let library = std::env::current_exe().unwrap().with_file_name("libdcb.so");
    let listing = Command::new("nm")
        .args(["-D", "--defined-only", "--format=posix"])
        .arg(&library)
        .output()
        .expect("nm is needed");
    assert!(listing.status.success(), "{}", String::from_utf8_lossy(&listing.stderr));
    let exported: BTreeSet<String> = String::from_utf8(listing.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split(' ').next().map(str::to_owned))
        .collect();
    assert_eq!(exported, declared());
    assert_eq!(exported.len(), 21);
}
