//! The page docs/vocabulary.md, held to the code: each name exists in its language, the names of a
//! row are one name, and no function or type of the C, C++ and Go interfaces is missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The columns of the page that hold names, in their order.
const LANGUAGES: [&str; 5] = ["Rust", "C", "C++", "Go", "JSON"];

/// The names of a row, a list for each language.
struct Row {
    line: usize,
    names: Vec<(&'static str, Vec<String>)>,
    must_agree: bool,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the texts between backquotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Returns the cells of a line of a table. A bar in backquotes does not end a cell.
fn cells(line: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut is_quoted = false;
    for c in line.trim().trim_start_matches('|').chars() {
        is_quoted ^= c == '`';
        match c {
            '|' if !is_quoted => found.push(String::new()),
            _ => found.last_mut().unwrap().push(c),
        }
    }
    found.pop();
    found
}

/// Returns the rows of the page's tables.
fn page() -> Vec<Row> {
    let text = fs::read_to_string(root().join("docs/vocabulary.md")).unwrap();
    let mut rows = Vec::new();
    let mut columns = 0;
    for (number, line) in text.lines().enumerate() {
        if !line.starts_with('|') {
            columns = 0;
            continue;
        }
        let cells = cells(line);
        if columns == 0 {
            columns = cells.len();
            continue;
        }
        if line.starts_with("| ---") {
            continue;
        }
        assert_eq!(cells.len(), columns, "line {}: the number of cells", number + 1);
        let names = if columns == 2 {
            let language = LANGUAGES.into_iter().find(|&name| name == cells[0].trim());
            vec![(language.expect("a language"), quoted(&cells[1]))]
        } else {
            LANGUAGES.into_iter().zip(cells[1..].iter().map(|cell| quoted(cell))).collect()
        };
        rows.push(Row { line: number + 1, names, must_agree: columns == 6 });
    }
    rows
}

/// Removes comments, and what is between quotes, from C, C++, Go or Rust.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("/*") {
            rest = &rest[rest.find("*/").map_or(rest.len(), |end| end + 2)..];
        } else if let Some(end) = raw_string(rest) {
            rest = &rest[end..];
        } else if rest.starts_with("'\"'") {
            rest = &rest[3..];
        } else if c == '"' {
            let mut end = 1;
            while end < rest.len() && rest.as_bytes()[end] != b'"' {
                end += if rest.as_bytes()[end] == b'\\' { 2 } else { 1 };
            }
            rest = rest.get(end + 1..).unwrap_or("");
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    code
}

/// Returns the length of the raw string of C++ or Rust that `text` begins with.
fn raw_string(text: &str) -> Option<usize> {
    let (start, end) = [("R\"(", ")\""), ("r#\"", "\"#"), ("r\"", "\"")]
        .into_iter()
        .find(|(start, _)| text.starts_with(start))?;
    Some(start.len() + text[start.len()..].find(end)? + end.len())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the places where `name` is a whole word, or, if it begins or ends otherwise, a text.
fn places<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(name).map(|(at, _)| at).filter(move |&at| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        let begins_inside = name.starts_with(is_word) && before.is_some_and(is_word);
        let ends_inside = name.ends_with(is_word) && after.is_some_and(is_word);
        !begins_inside && !ends_inside
    })
}

fn has_word(text: &str, name: &str) -> bool {
    places(text, name).next().is_some()
}

/// Returns the part of `text` from its first brace to the one that closes it.
fn block(text: &str) -> &str {
    let Some(start) = text.find('{') else { return "" };
    let mut depth = 0;
    for (at, c) in text[start..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[start..start + at + 1];
        }
    }
    &text[start..]
}

/// Whether a name of one of these kinds is declared at one of the places of `name`.
fn is_declared_as(text: &str, name: &str, kinds: &[&str]) -> bool {
    places(text, name).any(|at| kinds.iter().any(|kind| text[..at].ends_with(&format!("{kind} "))))
}

/// Returns the bodies of the definitions of `name` that follow one of these keywords.
fn bodies<'a>(text: &'a str, name: &'a str, kinds: &[&str]) -> Vec<&'a str> {
    places(text, name)
        .filter(|&at| kinds.iter().any(|kind| text[..at].ends_with(&format!("{kind} "))))
        .filter(|&at| {
            let rest = &text[at..];
            rest.find('{') < rest.find(';').or(Some(usize::MAX))
        })
        .map(|at| block(&text[at..]))
        .collect()
}

/// Returns the bodies of the `impl` blocks of Rust whose first line has `name`.
fn implementations<'a>(text: &'a str, name: &'a str) -> Vec<&'a str> {
    places(text, name)
        .filter(|&at| text[..at].rsplit('\n').next().unwrap().starts_with("impl"))
        .map(|at| block(&text[at..]))
        .collect()
}

/// The sources of the public interfaces.
struct Sources {
    rust: Vec<String>,
    /// The headers of C with their comments, which list the keys of the documents.
    json: String,
    c: String,
    cpp: String,
    go: String,
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

impl Sources {
    fn read() -> Self {
        let read = |path: &PathBuf| fs::read_to_string(path).unwrap();
        let headers: String = files("include", "h").iter().map(read).collect();
        // What is in the namespace `detail` is not for users.
        let mut cpp: String = files("bindings/cpp/include", "hpp")
            .iter()
            .filter(|path| !path.parent().unwrap().ends_with("detail"))
            .map(|path| code_of(&read(path)))
            .collect();
        while let Some(at) = cpp.find("namespace detail {") {
            let end = at + "namespace detail ".len() + block(&cpp[at..]).len();
            cpp.replace_range(at..end, "");
        }
        let go =
            fs::read_dir(root().join("bindings/go")).unwrap().map(|entry| entry.unwrap().path());
        Sources {
            rust: files("src", "rs").iter().map(|path| code_of(&read(path))).collect(),
            c: code_of(&headers),
            json: headers,
            cpp,
            go: go
                .filter(|path| path.extension().is_some_and(|extension| extension == "go"))
                .filter(|path| !path.to_str().unwrap().ends_with("_test.go"))
                .map(|path| code_of(&read(&path)))
                .collect(),
        }
    }

    /// Whether the public interface of the language has this name.
    fn have(&self, language: &str, name: &str) -> bool {
        match language {
            "Rust" => self.have_rust(name),
            "C" => self.have_c(name),
            "C++" => self.have_cpp(name),
            "Go" => self.have_go(name),
            _ => self.json.contains(&format!("\"{name}\"")),
        }
    }

    fn have_rust(&self, name: &str) -> bool {
        const TYPES: [&str; 4] = ["pub struct", "pub enum", "pub trait", "pub type"];
        let Some((owner, member)) = name.split_once("::") else {
            let kinds = [&TYPES[..], &["pub fn", "pub const"]].concat();
            return self.rust.iter().any(|text| is_declared_as(text, name, &kinds));
        };
        self.rust.iter().any(|text| {
            let mut owned = bodies(text, owner, &TYPES);
            let is_enum = is_declared_as(text, owner, &["pub enum"]);
            let is_trait = is_declared_as(text, owner, &["pub trait"]);
            owned.extend(implementations(text, owner));
            owned.iter().any(|body| {
                is_declared_as(body, member, &["pub", "pub fn", "pub const fn"])
                    || is_trait && is_declared_as(body, member, &["fn"])
                    || is_enum && has_word(body, member)
            })
        })
    }

    fn have_c(&self, name: &str) -> bool {
        let Some((owner, member)) = name.split_once('.') else { return has_word(&self.c, name) };
        let Some(end) = self.c.find(&format!("}} {owner};")) else { return false };
        let start = self.c[..end].rfind("typedef struct {").unwrap();
        has_word(&self.c[start..end], member)
    }

    fn have_cpp(&self, name: &str) -> bool {
        let Some((owner, member)) = name.split_once("::") else {
            let is_type = is_declared_as(&self.cpp, name, &["class", "struct"]);
            let is_function =
                places(&self.cpp, name).any(|at| self.cpp[at + name.len()..].starts_with('('));
            return is_type || is_function;
        };
        bodies(&self.cpp, owner, &["class", "struct"])
            .iter()
            .any(|body| has_word(body.split("private:").next().unwrap(), member))
    }

    fn have_go(&self, name: &str) -> bool {
        let lines = || self.go.lines();
        let starts = |line: &str, before: &str, name: &str| {
            line.strip_prefix(before)
                .and_then(|rest| rest.strip_prefix(name))
                .is_some_and(|rest| !rest.starts_with(is_word))
        };
        let Some((owner, member)) = name.split_once('.') else {
            return lines().any(|line| {
                ["func ", "type ", "var ", "const ", "\t"]
                    .iter()
                    .any(|&kind| starts(line, kind, name))
            });
        };
        let is_method = lines().any(|line| {
            let Some((receiver, rest)) =
                line.strip_prefix("func (").and_then(|l| l.split_once(')'))
            else {
                return false;
            };
            has_word(receiver, owner) && starts(rest, " ", member)
        });
        let is_field = bodies(&self.go, owner, &["type"]).iter().any(|body| {
            body.lines().any(|line| {
                let fields = line.trim_start().split("  ").next().unwrap_or("");
                starts(line, "\t", member)
                    || fields.split(", ").any(|field| field.split(' ').next() == Some(member))
            })
        });
        is_method || is_field
    }

    /// Returns the names that the page must have.
    fn public(&self) -> Vec<(&'static str, String)> {
        let word = |text: &str| text.chars().take_while(|&c| is_word(c)).collect::<String>();
        let mut found = BTreeSet::new();
        for at in self.c.match_indices("dcb_").map(|(at, _)| at) {
            if !self.c[..at].ends_with(is_word) {
                found.insert(("C", word(&self.c[at..])));
            }
        }
        for line in self.cpp.lines() {
            let line = line
                .rfind("> ")
                .filter(|_| line.starts_with("template"))
                .map_or(line, |at| &line[at + 2..]);
            for kind in ["class ", "struct ", "enum class "] {
                if let Some(rest) = line.strip_prefix(kind) {
                    found.insert(("C++", word(rest)));
                }
            }
        }
        for line in self.go.lines() {
            if let Some(rest) = line.strip_prefix("type ")
                && rest.starts_with(char::is_uppercase)
            {
                found.insert(("Go", word(rest)));
            }
        }
        found.into_iter().collect()
    }
}

/// Returns a name without the spelling of its language and its unit.
fn plain(name: &str) -> String {
    let last = name.rsplit([':', '.']).next().unwrap();
    let bare = last.trim_end_matches("_ms").trim_end_matches("_us");
    let bare = bare.strip_prefix("Status").filter(|rest| !rest.is_empty()).unwrap_or(bare);
    bare.replace('_', "").to_lowercase()
}

#[test]
fn each_name_of_the_page_exists() {
    let sources = Sources::read();
    let mut missing = Vec::new();
    let mut seen = 0;
    for row in page() {
        for (language, names) in &row.names {
            for name in names {
                seen += 1;
                if !sources.have(language, name) {
                    missing.push(format!("line {}: {language} has no {name}", row.line));
                }
                // Or the test would notice nothing.
                for gone in [format!("{name}x"), name.replace(':', "::x").replace('.', ".x")] {
                    if gone != *name {
                        assert!(!sources.have(language, &gone), "{language} has {gone}");
                    }
                }
            }
        }
    }
    assert!(missing.is_empty(), "docs/vocabulary.md:\n{}", missing.join("\n"));
    assert!(seen > 200, "the page has {seen} names");
}

#[test]
fn the_names_of_a_row_are_one_name() {
    for row in page().iter().filter(|row| row.must_agree) {
        let mut plain_names = Vec::new();
        for (language, names) in &row.names {
            assert!(names.len() <= 1, "line {}: one name for {language}", row.line);
            plain_names.extend(names.iter().map(|name| plain(name)));
        }
        assert!(plain_names.len() > 1, "line {}: it is in one language only", row.line);
        let shortest = plain_names.iter().min_by_key(|name| name.len()).unwrap();
        for name in &plain_names {
            // In C the name of a function begins with that of its type: `dcb_cursor_next`.
            let is_same = name == shortest
                || name.strip_prefix("dcb").is_some_and(|rest| rest.ends_with(shortest.as_str()));
            assert!(is_same, "line {}: {plain_names:?}", row.line);
        }
    }
}

#[test]
fn no_public_name_is_missing_on_the_page() {
    let page = page();
    let names: Vec<_> = page.iter().flat_map(|row| &row.names).collect();
    let mut missing = Vec::new();
    for (language, public) in Sources::read().public() {
        let is_there = names.iter().any(|(column, names)| {
            *column == language
                && names.iter().any(|name| name.split([':', '.']).next() == Some(public.as_str()))
        });
        if !is_there {
            missing.push(format!("{language}: {public}"));
        }
    }
    assert!(missing.is_empty(), "not in docs/vocabulary.md:\n{}", missing.join("\n"));
}
