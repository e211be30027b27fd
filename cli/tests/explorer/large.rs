//! A large store: whatever is asked for, an answer is bounded.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::{TestStore, encoded, event, numbers, school};

/// The number of events: 10,000,000 with `DCB_TEST_LONG=1`.
fn size() -> i64 {
    if std::env::var_os("DCB_TEST_LONG").is_some_and(|value| value == "1") {
        10_000_000
    } else {
        60_000
    }
}

#[test]
fn every_answer_about_a_large_store_is_bounded() {
    let store = TestStore::new();
    let mut random = numbers(3);
    let mut events = 0;
    while events < size() {
        let mut batch = Vec::new();
        while batch.len() < 4_000 {
            batch.extend(school(&mut random));
        }
        events += batch.len() as i64;
        store.append(batch);
    }
    store.append(vec![event("Last", &["only:once"], "0")]);
    events += 1;
    // What a slow machine would cut short is not.
    let server = store.explore(&["--patience", "600000"]);
    let never = encoded(&json!({"items": [{"tags": ["course:c1", "invoice:none"]}]}).to_string());
    let busy = encoded(
        &json!({"items": [{"types": ["StudentSubscribed"], "tags": ["course:c1"]}]}).to_string(),
    );
    let ask = |path: &str| -> Value {
        let begin = Instant::now();
        let response = server.get(path);
        println!(
            "{:>8.1} ms {:>8} bytes {path}",
            begin.elapsed().as_secs_f64() * 1e3,
            response.body.len()
        );
        assert_eq!(response.status, 200, "{path}: {}", response.body);
        assert!(response.body.len() < 200_000, "{path}");
        serde_json::from_str(&response.body).unwrap()
    };
    let about = ask("api/overview");
    assert_eq!((&about["head"], &about["isWhole"]), (&json!(events), &json!(false)));
    assert_eq!(about["examined"], 10_000);
    let counts = about["rate"]["counts"].as_array().unwrap();
    assert_eq!(counts.iter().map(|count| count.as_i64().unwrap()).sum::<i64>(), events);
    ask("api/overview?windowUs=1000000");
    let page = ask("api/events");
    assert_eq!(page["events"].as_array().unwrap().len(), 100);
    assert_eq!(page["next"], events - 99);
    assert_eq!(ask("api/events?limit=100000")["events"].as_array().unwrap().len(), 200);
    ask(&format!("api/events?before={}", events / 2));
    assert_eq!(ask(&format!("api/events?query={never}"))["events"], json!([]));
    assert_eq!(ask(&format!("api/events?query={busy}"))["events"].as_array().unwrap().len(), 100);
    let tag = ask("api/tag?tag=term:2026-spring");
    assert_eq!((&tag["examined"], &tag["isWhole"]), (&json!(5_000), &json!(false)));
    assert_eq!(ask("api/tag?tag=only:once")["examined"], 1);
    let verdict = ask(&format!("api/condition?query={busy}"));
    assert_eq!(
        (&verdict["fails"], verdict["failing"].as_array().unwrap().len()),
        (&json!(true), 100)
    );
    assert!(verdict["next"].is_i64());
    assert_eq!(ask(&format!("api/condition?query={never}"))["fails"], false);
    let names = ask("api/names?kind=tag&text=student");
    assert_eq!((names["names"].as_array().unwrap().len(), &names["isWhole"]), (12, &json!(false)));
    ask("api/names?kind=tag&text=");
    ask(&format!("api/events/{}", events / 2));
}

#[test]
fn a_search_that_takes_too_long_is_cut_and_says_so() {
    let store = TestStore::new();
    for _ in 0..5 {
        // Two long lists that never meet: no list alone says that nothing matches.
        let alternating = (0..20_000).map(|number| match number % 2 {
            0 => event("A", &["common:1"], "0"),
            _ => event("B", &["other:1"], "0"),
        });
        store.append(alternating.collect());
    }
    let server = store.explore(&["--patience", "0"]);
    // Each answer comes, and never claims more than was examined.
    let none = encoded(&json!({"items": [{"tags": ["common:1"], "types": ["B"]}]}).to_string());
    let mut was_cut = false;
    for _ in 0..20 {
        let page = server.json(&format!("api/events?query={none}"));
        was_cut |= page["isCut"] == true;
        assert_eq!(page["isCut"] == true, page["next"].is_i64(), "{page}");
        let verdict = server.json(&format!("api/condition?query={none}"));
        assert!(verdict["fails"].is_null() == verdict["next"].is_i64(), "{verdict}");
        let tag = server.json("api/tag?tag=common:1");
        assert_eq!(tag["isWhole"], false);
        let about = server.json("api/overview");
        assert!(about["examined"].as_i64().unwrap() <= 10_000);
        assert_eq!(about["head"], 100_000);
    }
    assert!(was_cut);
}
