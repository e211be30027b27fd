//! Runs the conformance corpus (`tests/conformance/README.md`) through the Rust core, with one test
//! for each store.

#[cfg(feature = "postgres")]
#[path = "postgres/cluster.rs"]
mod cluster;
#[path = "conformance/corpus.rs"]
mod corpus;
#[path = "conformance/runner.rs"]
mod runner;

use std::collections::{BTreeSet, HashSet};

use corpus::corpus;
use runner::{Target, play};
use serde_json::{Value, json};

/// Runs every case on a store of its own, and reports all that fail.
fn conform(target: Target) {
    let cases = corpus();
    // A case on a disk mostly waits for syncs, so several run at once.
    let failures: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<std::thread::ScopedJoinHandle<'_, Vec<String>>> = cases
            .chunks(cases.len().div_ceil(8))
            .map(|part| {
                scope.spawn(move || {
                    part.iter().filter_map(|case| play(case, target).err()).collect()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect()
    });
    assert!(
        failures.is_empty(),
        "{} of {} cases fail\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

#[test]
fn memory() {
    conform(Target::Memory);
}

#[test]
fn sqlite() {
    conform(Target::SqliteFile);
}

#[test]
fn sqlite_in_memory() {
    conform(Target::SqliteMemory);
}

/// Every case has a schema of its own on one server.
#[cfg(feature = "postgres")]
#[test]
fn postgres() {
    if let Some(server) = cluster::Cluster::start() {
        runner::SERVER.set(server.uri()).unwrap();
        conform(Target::Postgres);
    }
}

#[test]
fn the_corpus_is_whole() {
    let cases = corpus();
    assert!(cases.len() >= 150, "{} cases", cases.len());
    let mut names = HashSet::new();
    for case in &cases {
        assert!(names.insert(&case.name), "two cases are named {:?}", case.name);
        assert!(!case.steps.is_empty(), "{:?} has no steps", case.name);
    }

    let of_steps = |pick: fn(&corpus::Step) -> Option<String>| -> BTreeSet<String> {
        cases.iter().flat_map(|case| &case.steps).filter_map(pick).collect()
    };
    let kinds = of_steps(|step| Some(step.kind.clone()));
    let expected_kinds = [
        "append",
        "append_text",
        "backup",
        "count",
        "find",
        "head",
        "read",
        "read_text",
        "reopen",
        "wait",
    ];
    assert!(kinds.iter().eq(expected_kinds), "{kinds:?}");
    // The other statuses need a second process, a damaged file or a closed store.
    let statuses = of_steps(|step| step.expect.get("status")?.as_str().map(str::to_owned));
    let expected_statuses =
        ["condition_failed", "duplicate_id", "invalid_argument", "timeout", "too_large"];
    assert!(statuses.iter().eq(expected_statuses), "{statuses:?}");
}

#[test]
fn the_page_names_every_file() {
    let page = include_str!("conformance/README.md");
    for file in corpus().iter().map(|case| &case.file).collect::<BTreeSet<_>>() {
        let named = file.starts_with("examples-") || page.contains(&format!("`{file}`"));
        assert!(named, "{file} is not in the table of tests/conformance/README.md");
    }
}

#[test]
fn a_wrong_expectation_is_reported() {
    for case in corpus() {
        // The last step of a case sees everything that the steps before it have stored.
        let last = case.steps.len() - 1;
        for wrong in wrong_values(&Value::Object(case.steps[last].expect.clone())) {
            let mut mutant = case.clone();
            mutant.steps[last].expect = wrong.as_object().expect("an object stays one").clone();
            let report = play(&mutant, Target::Memory).expect_err(&format!(
                "{}: {}: step {last} passes with {wrong}",
                case.file, case.name
            ));
            let place = format!("{}: {}: step {last}:", case.file, case.name);
            assert!(report.starts_with(&place), "{report}");
        }
    }
}

#[test]
fn an_unexpected_failure_or_success_is_reported() {
    let case =
        |steps| corpus::parse("here.json", &json!([{"name": "n", "steps": steps}]).to_string());
    for steps in [
        json!([{"append": {"events": []}}]),
        json!([{"read": {"limit": -1}}]),
        json!([{"wait": {"after": 0, "timeout_ms": 0}}]),
    ] {
        assert!(play(&case(steps)[0], Target::Memory).is_err());
    }
    let unexpected_success = json!([{"head": {}, "expect": {"status": "timeout"}}]);
    assert!(play(&case(unexpected_success)[0], Target::Memory).is_err());
}

/// Returns every expectation that differs from `value` in one place.
fn wrong_values(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => vec![json!(false)],
        Value::Bool(bool) => vec![json!(!bool)],
        Value::Number(number) => vec![match number.as_i64() {
            Some(integer) => json!(integer.wrapping_add(1)),
            None => json!(0),
        }],
        Value::String(text) => vec![json!(format!("{text}~"))],
        Value::Array(values) => {
            let mut longer = values.clone();
            longer.push(values.last().cloned().unwrap_or(json!(1)));
            let mut wrong = vec![Value::Array(longer)];
            if !values.is_empty() {
                wrong.push(Value::Array(values[1..].to_vec()));
            }
            for (index, inner) in values.iter().enumerate().take(3) {
                for wrong_inner in wrong_values(inner) {
                    let mut changed = values.clone();
                    changed[index] = wrong_inner;
                    wrong.push(Value::Array(changed));
                }
            }
            wrong
        }
        Value::Object(members) => members
            .iter()
            .flat_map(|(key, inner)| {
                wrong_values(inner).into_iter().map(move |wrong_inner| {
                    let mut changed = members.clone();
                    changed.insert(key.clone(), wrong_inner);
                    Value::Object(changed)
                })
            })
            .collect(),
    }
}
