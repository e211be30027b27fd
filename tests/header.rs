//! The headers that ship: current, and clean for every compiler that may read them.

#[cfg(all(target_os = "linux", not(feature = "testing")))]
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// A header, and the files of the C types in the order in which it shows what they export.
struct Header {
    path: &'static str,
    sources: &'static [&'static str],
    /// Settings that differ from cbindgen.toml's.
    adapt: fn(&mut cbindgen::Config),
}

const HEADERS: [Header; 2] = [
    Header {
        path: "include/dcb.h",
        sources: &[
            "version", "status", "limits", "error", "call", "cancel", "store", "buf", "event",
            "cursor", "backup",
        ],
        adapt: |config| config.after_includes = Some(version_macros()),
    },
    Header {
        path: "include/dcb_host.h",
        sources: &["host", "host_functions", "postgres_transaction"],
        adapt: |config| {
            config.include_guard = Some("DCB_HOST_H".to_owned());
            config.sys_includes.clear();
            config.includes = vec!["dcb.h".to_owned()];
            config.header = Some(HOST_PREAMBLE.to_owned());
        },
    },
];

/// How dcb_host.h begins.
const HOST_PREAMBLE: &str = "\
/* Generated from src/capi; do not edit. To update it: DCB_UPDATE_HEADER=1 cargo test --test header */
/* clang-format off */
/*
 * A libdcb store on the connections of a program: for authors of drivers and bindings.
 *
 * A program that has a SQLite database open with its own SQLite can have a store in the same
 * database, on its own connections, and can append within its own transactions. It describes its
 * connections as a dcb_host.
 *
 * A program that has a connection to a PostgreSQL server can append within its own transactions to a
 * store there, which dcb_open has opened. It describes its transaction as a dcb_postgres_transaction.
 *
 * What dcb.h says of documents, errors, pointers, threads, processes and memory holds here too.
 */
";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn version_macros() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let parts: Vec<&str> = version.split('.').collect();
    format!(
        "\n/** The version of the library that this header belongs to. */\n\
         #define DCB_VERSION \"{version}\"\n\
         #define DCB_VERSION_MAJOR {}\n#define DCB_VERSION_MINOR {}\n#define DCB_VERSION_PATCH {}",
        parts[0], parts[1], parts[2]
    )
}

/// The header that the sources give.
fn generated(header: &Header) -> String {
    let mut config = cbindgen::Config::from_file(root().join("cbindgen.toml")).unwrap();
    (header.adapt)(&mut config);
    let builder = header
        .sources
        .iter()
        .fold(cbindgen::Builder::new().with_config(config), |builder, name| {
            builder.with_src(root().join("src/capi").join(name).with_extension("rs"))
        });
    let mut text = Vec::new();
    builder.generate().unwrap().write(&mut text);
    pack(std::str::from_utf8(&text).unwrap())
}

/// Sets the header as one would by hand.
fn pack(text: &str) -> String {
    let lines = fill_parameters(&tighten_comments(text));
    join_constants(&lines).iter().flat_map(|line| [line, "\n"]).collect()
}

/// Begins and ends the text of a comment on the lines of its marks, but for an example at its end.
fn tighten_comments(text: &str) -> Vec<String> {
    let mut tight: Vec<String> = Vec::new();
    let mut is_open = false;
    for line in text.lines() {
        let content = line.trim();
        match tight.last_mut() {
            Some(last) if last.trim() == "/**" => last.push_str(content.trim_start_matches('*')),
            Some(last)
                if is_open && content == "*/" && !last.trim_start().starts_with("*     ") =>
            {
                last.push_str(" */");
            }
            _ => tight.push(line.to_owned()),
        }
        is_open = (is_open || content == "/**") && content != "*/";
    }
    tight
}

/// Puts as many parameters on a line as fit.
fn fill_parameters(lines: &[String]) -> Vec<String> {
    let mut filled: Vec<String> = Vec::new();
    let mut lines = lines.iter();
    while let Some(line) = lines.next() {
        let is_code = !line.trim_start().starts_with(['*', '/']);
        filled.push(line.clone());
        let Some(indent) = line.rfind('(').filter(|_| is_code && line.ends_with(',')) else {
            continue;
        };
        for parameter in lines.by_ref() {
            let last = filled.last_mut().unwrap();
            let parameter = parameter.trim();
            if last.len() + 1 + parameter.len() <= 100 {
                last.push(' ');
                last.push_str(parameter);
            } else {
                filled.push(format!("{}{parameter}", " ".repeat(indent + 1)));
            }
            if parameter.ends_with(';') {
                break;
            }
        }
    }
    filled
}

/// Leaves no blank line between two constants, and no two anywhere.
fn join_constants(lines: &[String]) -> Vec<&str> {
    let mut joined: Vec<&str> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let before = joined.last().copied().unwrap_or_default();
        let behind = lines[at + 1..].iter().find(|line| !line.starts_with([' ', '/']));
        let is_define = |line: &str| line.starts_with("#define DCB_");
        let is_between = is_define(before) && behind.is_some_and(|line| is_define(line));
        if !line.is_empty() || !before.is_empty() && !is_between {
            joined.push(line);
        }
    }
    joined
}

#[test]
fn the_headers_are_current() {
    for header in &HEADERS {
        let path = root().join(header.path);
        let wanted = generated(header);
        if std::env::var_os("DCB_UPDATE_HEADER").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == wanted,
            "{} is stale; update it with DCB_UPDATE_HEADER=1 cargo test --test header",
            header.path
        );
    }
}

/// Programmers read all of it before they write their first call.
#[test]
fn the_header_that_everybody_reads_is_short() {
    let lines = generated(&HEADERS[0]).lines().count();
    assert!(lines < 550, "include/dcb.h has {lines} lines");
}

/// Editors show each comment alone.
#[test]
fn every_comment_is_made_of_whole_sentences() {
    for header in &HEADERS {
        let text = generated(header);
        let comments: Vec<&str> = text
            .split("/**")
            .skip(1)
            .map(|rest| rest.split("*/").next().unwrap().trim_end_matches([' ', '\n', '*']))
            .collect();
        assert!(comments.len() > 10);
        for comment in comments {
            // An example stands alone too, at the end.
            let ends = comment.ends_with('.') || comment.ends_with(';') || comment.ends_with('}');
            assert!(ends, "{}: not the end of a sentence:{comment}", header.path);
        }
    }
}

#[test]
fn every_compiler_takes_each_header_alone() {
    for (compiler, standard, language) in
        [("cc", "c99", "c"), ("cc", "c11", "c"), ("c++", "c++11", "c++"), ("c++", "c++17", "c++")]
    {
        for header in &HEADERS {
            let outcome = Command::new(compiler)
                .args(["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"])
                .arg("-fsyntax-only")
                .arg(format!("-std={standard}"))
                .args(["-x", language])
                .arg(root().join(header.path))
                .output()
                .unwrap_or_else(|error| panic!("{compiler}: {error}"));
            let complaints = String::from_utf8_lossy(&outcome.stderr);
            let path = header.path;
            assert!(outcome.status.success(), "{compiler} -std={standard} {path}:\n{complaints}");
        }
    }
}

/// The functions that a header declares: each is a `dcb_` name in front of a parenthesis.
#[cfg(all(target_os = "linux", not(feature = "testing")))]
fn declared(header: &Header) -> BTreeSet<String> {
    let header = generated(header);
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

/// The library exports what the headers declare, and no name of its own parts: another SQLite
/// in the same process keeps its own.
#[cfg(all(target_os = "linux", not(feature = "testing")))]
#[test]
fn the_library_exports_the_headers_and_nothing_else() {
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
    assert_eq!(exported, HEADERS.iter().flat_map(declared).collect());
    assert_eq!(exported.len(), 24);
}
