//! Imports point one way: no circle between the modules of `src`, neither between files nor between
//! folders. Test modules are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

type Graph = BTreeMap<String, BTreeSet<String>>;

/// The module of a file: `sqlite::wal::file_id`.
fn module_of(file: &Path) -> String {
    let parts: Vec<String> = file
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .filter(|part| part != "mod")
        .collect();
    parts.join("::")
}

/// The text of every module, without comments and without its tests.
fn modules(folder: &Path, below: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            if !path.ends_with("tests") {
                modules(folder, &path, found);
            }
        } else if path.extension().is_some_and(|own| own == "rs")
            && path.file_stem().is_some_and(|stem| stem != "tests" && stem != "lib")
        {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let code: String =
                text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
            found.insert(module_of(&path), code);
        }
    }
}

/// The paths that follow `crate::` in a text, those of a list in braces one by one.
fn paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in text.split("crate::").skip(1) {
        let is_name = |own: char| own.is_alphanumeric() || own == '_' || own == ':';
        let end = rest.find(|own| !is_name(own)).unwrap_or(rest.len());
        let (path, rest) = rest.split_at(end);
        match rest.strip_prefix('{').and_then(|rest| rest.split('}').next()) {
            Some(list) => {
                found.extend(list.split(',').map(|leaf| format!("{path}{}", leaf.trim())));
            }
            None => found.push(path.to_owned()),
        }
    }
    found
}

/// The longest of the modules that a path leads into.
fn target<'a>(modules: &'a BTreeMap<String, String>, path: &str) -> Option<&'a String> {
    let leads = |module: &&String| {
        path.strip_prefix(module.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::") || rest.starts_with(' '))
    };
    modules.keys().filter(leads).max_by_key(|module| module.len())
}

fn imports() -> Graph {
    let mut found = BTreeMap::new();
    modules(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), Path::new(""), &mut found);
    let imported = |(module, text): (&String, &String)| {
        let targets: BTreeSet<String> = paths(text)
            .iter()
            .filter_map(|path| target(&found, path))
            .filter(|target| *target != module)
            .cloned()
            .collect();
        (module.clone(), targets)
    };
    found.iter().map(imported).collect()
}

/// The folder of a module; of the SQLite store's, the folder within it.
fn folder_of(module: &str) -> String {
    let mut parts = module.split("::");
    let first = parts.next().unwrap_or_default();
    match parts.next() {
        Some(second) if first == "sqlite" => format!("{first}::{second}"),
        _ => first.to_owned(),
    }
}

fn folders(imports: &Graph) -> Graph {
    let mut folders = Graph::new();
    for (module, targets) in imports {
        let own = folder_of(module);
        let others = targets.iter().map(|target| folder_of(target)).filter(|other| *other != own);
        folders.entry(own.clone()).or_default().extend(others);
    }
    folders
}

/// A way from `at` back to where the search began.
fn circle(graph: &Graph, at: &str, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
    if let Some(first) = way.iter().position(|own| own == at) {
        way.drain(..first);
        way.push(at.to_owned());
        return true;
    }
    if !done.insert(at.to_owned()) {
        return false;
    }
    way.push(at.to_owned());
    let found = graph
        .get(at)
        .is_some_and(|targets| targets.iter().any(|next| circle(graph, next, way, done)));
    if !found {
        way.pop();
    }
    found
}

fn circle_in(graph: &Graph) -> Option<String> {
    let mut done = BTreeSet::new();
    graph.keys().find_map(|module| {
        let mut way = Vec::new();
        circle(graph, module, &mut way, &mut done).then(|| way.join(" -> "))
    })
}

#[test]
fn no_file_imports_one_that_imports_it() {
    assert_eq!(circle_in(&imports()), None);
}

#[test]
fn no_folder_imports_one_that_imports_it() {
    assert_eq!(circle_in(&folders(&imports())), None);
}

#[test]
fn imports_are_found_and_so_is_a_circle() {
    let mut graph = imports();
    assert!(graph["sqlite::append::group"].contains("commit::group_commit"), "{graph:?}");
    assert!(graph["commit::group_commit"].contains("commit::deadline"), "{graph:?}");
    // A use of several names of one module, and of modules.
    assert!(graph["capi::boundary"].contains("capi::error"), "{graph:?}");
    let back = graph.get_mut("commit::deadline").unwrap();
    back.insert("commit::group_commit".into());
    assert!(circle_in(&graph).is_some());
}

/// The engine under every store knows neither SQL nor files.
#[test]
fn the_commit_protocol_imports_no_store() {
    for (module, targets) in imports() {
        let is_own = |target: &String| {
            ["commit", "error", "failpoints", "position", "sync"]
                .contains(&folder_of(target).as_str())
        };
        if folder_of(&module) == "commit" {
            let others: Vec<_> = targets.into_iter().filter(|target| !is_own(target)).collect();
            assert_eq!(others, [""; 0], "{module}");
        }
    }
}

/// A file that is longer than this holds more than one thing.
const MAX_LINES: usize = 400;

#[test]
fn no_file_is_longer_than_400_lines_before_its_tests() {
    let mut long = Vec::new();
    for folder in ["src", "cli/src"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut folders = vec![root];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    if !path.ends_with("tests") {
                        folders.push(path);
                    }
                } else if path.extension().is_some_and(|own| own == "rs")
                    && !path.ends_with("tests.rs")
                {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                    let lines = code.lines().count();
                    if lines > MAX_LINES {
                        long.push(format!("{}: {lines} lines", path.display()));
                    }
                }
            }
        }
    }
    assert_eq!(long, [""; 0], "split each along a boundary of what it does");
}
