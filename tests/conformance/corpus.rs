//! The cases of the conformance corpus, read from its files.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A case: steps that run in order on a new store.
#[derive(Clone)]
pub struct Case {
    pub file: String,
    pub name: String,
    /// Whether the store is opened with the option `import`.
    pub is_import: bool,
    pub steps: Vec<Step>,
}

/// A step of a case, with its expected outcome.
#[derive(Clone)]
pub struct Step {
    pub kind: String,
    /// The JSON text of the step's argument, exactly as in the file.
    pub argument: String,
    pub expect: Map<String, Value>,
}

type Members = BTreeMap<String, Box<RawValue>>;

/// Returns all cases of all files, in the order of the file names.
pub fn corpus() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder of the corpus")
        .map(|entry| entry.expect("an entry of the folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    files
        .iter()
        .flat_map(|path| {
            let name = path.file_name().expect("a file has a name").to_string_lossy();
            parse(&name, &std::fs::read_to_string(path).expect("a readable file"))
        })
        .collect()
}

/// Returns the cases of one file.
pub fn parse(file: &str, text: &str) -> Vec<Case> {
    let cases: Vec<Members> = serde_json::from_str(text).unwrap_or_else(|e| panic!("{file}: {e}"));
    cases
        .into_iter()
        .map(|mut case| {
            let name: String = take(&mut case, "name").unwrap_or_else(|| panic!("{file}: no name"));
            let steps: Vec<Members> =
                take(&mut case, "steps").unwrap_or_else(|| panic!("{file}: {name}: no steps"));
            let mut options: BTreeMap<String, bool> =
                take(&mut case, "options").unwrap_or_default();
            let is_import = options.remove("import").unwrap_or_default();
            assert!(options.is_empty(), "{file}: {name}: unknown options besides import");
            assert!(
                case.is_empty(),
                "{file}: {name}: unknown keys besides name, options and steps"
            );
            let steps = steps.into_iter().map(|step| self::step(file, &name, step)).collect();
            Case { file: file.to_owned(), name, is_import, steps }
        })
        .collect()
}

fn step(file: &str, case: &str, mut members: Members) -> Step {
    let expect = take(&mut members, "expect").unwrap_or_default();
    let (kind, argument) = members.pop_first().unwrap_or_else(|| panic!("{file}: {case}: no step"));
    assert!(members.is_empty(), "{file}: {case}: unknown keys besides {kind:?}");
    Step { kind, argument: argument.get().to_owned(), expect }
}

fn take<T: serde::de::DeserializeOwned>(members: &mut Members, key: &str) -> Option<T> {
    let text = members.remove(key)?;
    Some(serde_json::from_str(text.get()).unwrap_or_else(|e| panic!("{key}: {e} in {text}")))
}
