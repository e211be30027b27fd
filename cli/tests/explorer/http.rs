//! The server over HTTP: who gets an answer, and how large one may be.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{HOSTILE, Server, TestStore, described, encoded, event, numbers, school};

/// Returns the positions of the events in a list.
fn positions(events: &Value) -> Vec<i64> {
    events.as_array().unwrap().iter().map(|event| event["position"].as_i64().unwrap()).collect()
}

fn query(json: &Value) -> String {
    format!("query={}", encoded(&json.to_string()))
}

/// A store with five events, and a server on it.
fn small() -> (TestStore, Server) {
    let store = TestStore::new();
    store.append(vec![event("CourseDefined", &["course:c1"], r#"{"capacity":2}"#)]);
    store.append(vec![
        event("StudentSubscribed", &["course:c1", "student:s1"], "1"),
        event("InvoiceSent", &["student:s1"], "2"),
    ]);
    store.append(vec![event("StudentSubscribed", &["course:c1", "student:s2"], "3")]);
    store.append(vec![described("Noted", &[], "1.00", Some("n1"), Some(r#"{"by":"ada"}"#))]);
    let server = store.explore(&[]);
    (store, server)
}

#[test]
fn nothing_is_served_without_the_token() {
    let (_store, server) = small();
    let host = [("Host", server.address.as_str())];
    assert_eq!(server.token.len(), 32);
    let wrong = "0".repeat(32);
    for path in [
        "/",
        "/style.css",
        "/api/events",
        "//api/events",
        &format!("/{wrong}/"),
        &format!("/{wrong}/api/events"),
        &format!("/{}x/api/events", server.token),
        &format!("/x/{}/", server.token),
    ] {
        let response = server.request("GET", path, &host);
        assert_eq!(response.status, 403, "{path}");
        assert!(!response.body.contains("Course"), "{path}");
    }
    assert_eq!(server.request("GET", &format!("/{}/", server.token), &host).status, 200);
    assert_eq!(server.get("api/events").status, 200);
}

#[test]
fn another_host_or_origin_gets_nothing() {
    let (_store, server) = small();
    let path = format!("/{}/api/events", server.token);
    let port = server.address.rsplit(':').next().unwrap();
    let own = server.address.as_str();
    let origin = format!("http://{own}");
    let status = |headers: &[(&str, &str)]| server.request("GET", &path, headers).status;
    for host in [own, &format!("localhost:{port}"), &format!("[::1]:{port}"), "localhost:9999"] {
        assert_eq!(status(&[("Host", host)]), 200, "{host}");
    }
    for host in [
        "evil.example",
        &format!("evil.example:{port}"),
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "localhost.evil",
    ] {
        assert_eq!(status(&[("Host", host)]), 403, "{host}");
    }
    assert_eq!(status(&[("Host", own), ("Host", "evil.example")]), 403);
    assert_eq!(status(&[("Host", own), ("Origin", &origin)]), 200);
    for other in ["null", "http://evil.example", "http://127.0.0.1:1", &format!("ftp://{own}")] {
        assert_eq!(status(&[("Host", own), ("Origin", other)]), 403, "{other}");
    }
    for (site, expected) in
        [("none", 200), ("same-origin", 200), ("same-site", 403), ("cross-site", 403)]
    {
        assert_eq!(status(&[("Host", own), ("Sec-Fetch-Site", site)]), expected, "{site}");
    }
}

#[test]
fn every_response_binds_the_browser() {
    let (_store, server) = small();
    let host = [("Host", server.address.as_str())];
    let outside = server.request("GET", "/", &host);
    for response in [
        server.get(""),
        server.get("main.js"),
        server.get("api/events"),
        server.get("nothing"),
        server.get("api/events/99"),
        outside,
    ] {
        let policy = response.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(response.header("x-content-type-options"), "nosniff");
        assert_eq!(response.header("referrer-policy"), "no-referrer");
        assert_eq!(response.header("cache-control"), "no-store");
        assert_eq!(response.header("cross-origin-resource-policy"), "same-origin");
        assert_eq!(response.header("access-control-allow-origin"), "");
    }
    assert_eq!(server.get("main.js").header("content-type"), "text/javascript; charset=utf-8");
}

#[test]
fn only_reading_is_possible() {
    let (_store, server) = small();
    let path = format!("/{}/api/events", server.token);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let response =
            server.request(method, &path, &[("Host", &server.address), ("Content-Length", "0")]);
        assert_eq!(response.status, 405, "{method}");
    }
    assert_eq!(server.json("api/events")["head"], 5);
}

#[test]
fn events_come_newest_first_and_in_bounded_pages() {
    let (_store, server) = small();
    let page = server.json("api/events?limit=2");
    assert_eq!(positions(&page["events"]), [5, 4]);
    assert_eq!((&page["next"], &page["head"]), (&json!(4), &json!(5)));
    let page = server.json("api/events?limit=2&before=2");
    assert_eq!((positions(&page["events"]), &page["next"]), (vec![1], &Value::Null));
    let page = server.json("api/events?forward=true&after=1&limit=2");
    assert_eq!((positions(&page["events"]), &page["next"]), (vec![2, 3], &json!(3)));
    let item = json!({"items": [{"types": ["StudentSubscribed"], "tags": ["student:s1"]}, {"types": ["Noted"]}]});
    let page = server.json(&format!("api/events?{}", query(&item)));
    assert_eq!(positions(&page["events"]), [5, 2]);
}

#[test]
fn a_wrong_request_says_what_is_wrong() {
    let (_store, server) = small();
    let bad = json!({"items": [{"tags": [":x"]}]});
    for (path, expected) in [
        (format!("api/events?{}", query(&bad)), "tags[0]"),
        ("api/events?query=nonsense".to_owned(), "query"),
        ("api/events?before=-1".to_owned(), "before"),
        ("api/condition?after=-7".to_owned(), "after"),
        ("api/tag?tag=".to_owned(), "empty"),
        ("api/live?query=nonsense".to_owned(), "query"),
    ] {
        let response = server.get(&path);
        assert_eq!(response.status, 400, "{path}: {}", response.body);
        let body: Value = serde_json::from_str(&response.body).unwrap();
        assert!(body["message"].as_str().unwrap().contains(expected), "{path}: {body}");
    }
    for path in [
        "api/events/0",
        "api/events/6",
        "api/events/9223372036854775807",
        "api/events/1/metadata.json",
        "api/events/1/other",
        "other.js",
        "../Cargo.toml",
        "%2e%2e/Cargo.toml",
    ] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    assert_eq!(server.get("api/events/x").status, 400);
}

#[test]
fn an_event_has_its_texts_and_the_neighbours_of_its_append() {
    let (_store, server) = small();
    let found = server.json("api/events/2");
    assert_eq!(found["event"]["tags"], json!(["course:c1", "student:s1"]));
    assert_eq!(positions(&found["sameTime"]), [3]);
    assert_eq!(found["moreSameTime"], false);
    let found = server.json("api/events/5");
    assert_eq!((&found["event"]["id"], &found["event"]["data"]), (&json!("n1"), &json!("1.00")));
    assert_eq!(found["event"]["metadata"], r#"{"by":"ada"}"#);
    assert_eq!(found["sameTime"], json!([]));
    let file = server.get("api/events/5/data.json");
    assert_eq!((file.body.as_str(), file.header("content-type")), ("1.00", "application/json"));
    assert_eq!(file.header("content-disposition"), "attachment; filename=\"event-5-data.json\"");
    assert_eq!(server.get("api/events/5/metadata.json").body, r#"{"by":"ada"}"#);
}

#[test]
fn long_texts_are_cut_and_can_be_downloaded() {
    let store = TestStore::new();
    let data = format!("\"{}\"", "ä".repeat(400_000));
    let tags: Vec<String> = (0..200).map(|index| format!("tag:{index}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    store.append((0..30).map(|_| event("Long", &tags, &data)).collect());
    let server = store.explore(&[]);
    assert!(server.get("api/events").body.len() < 100_000);
    assert_eq!(server.json("api/events")["events"][0]["dataBytes"], data.len());
    // A page also ends when it has read enough bytes.
    let page = server.json("api/events?limit=30");
    assert_eq!(page["events"].as_array().unwrap().len(), 21);
    assert_eq!(page["next"], 10);
    let details = server.json("api/events/3");
    assert!(details["event"]["data"].as_str().unwrap().len() <= 256 << 10);
    assert_eq!(details["event"]["tags"].as_array().unwrap().len(), 200);
    assert_eq!(server.get("api/events/3/data.json").body, data);
}

#[test]
fn a_condition_shows_the_events_that_fail_it() {
    let (store, server) = small();
    let course = json!({"items": [{"types": ["StudentSubscribed"], "tags": ["course:c1"]}]});
    let verdict =
        |after: i64| server.json(&format!("api/condition?{}&after={after}", query(&course)));
    let found = verdict(1);
    assert_eq!((&found["fails"], positions(&found["failing"])), (&json!(true), vec![2, 4]));
    let found = verdict(2);
    assert_eq!((positions(&found["failing"]), positions(&found["known"])), (vec![4], vec![2]));
    let found = verdict(4);
    assert_eq!((&found["fails"], positions(&found["known"])), (&json!(false), vec![4, 2]));
    // The store itself judges in the same way.
    for after in 0..6 {
        let condition = dcb::Query::from_json(&course.to_string())
            .map(|query| dcb::AppendCondition::new(query, dcb::Position::new(after).unwrap()))
            .unwrap();
        let request = dcb::AppendRequest::new(vec![event("Probe", &[], "0")], vec![condition]);
        let refused = store.store.append(request.unwrap(), &dcb::CallOptions::default()).err();
        let found = verdict(after);
        assert_eq!(found["fails"], json!(refused.is_some()), "after {after}");
        if let Some(error) = refused {
            assert_eq!(found["failing"][0]["position"], error.position.get(), "after {after}");
        }
    }
}

#[test]
fn a_tag_has_its_types_and_the_tags_beside_it() {
    let (_store, server) = small();
    let about = server.json(&format!("api/tag?tag={}", encoded("course:c1")));
    assert_eq!((&about["examined"], &about["isWhole"]), (&json!(3), &json!(true)));
    assert_eq!(
        about["types"],
        json!([{"name": "StudentSubscribed", "count": 2}, {"name": "CourseDefined", "count": 1}])
    );
    assert_eq!(
        about["tags"],
        json!([{"name": "student:s1", "count": 1}, {"name": "student:s2", "count": 1}])
    );
    assert_eq!((&about["oldestPosition"], &about["newestPosition"]), (&json!(1), &json!(4)));
    let none = server.json("api/tag?tag=none");
    assert_eq!((&none["examined"], &none["overTime"]), (&json!(0), &Value::Null));
}

#[test]
fn names_complete_and_new_ones_join_them() {
    let (store, server) = small();
    let names = |kind: &str, text: &str| -> Vec<String> {
        let found = server.json(&format!("api/names?kind={kind}&text={}", encoded(text)));
        found["names"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("tag", "student"), ["student:s1", "student:s2"]);
    assert_eq!(names("tag", "S2"), ["student:s2"]);
    assert_eq!(names("type", "Stu"), ["StudentSubscribed"]);
    store.append(vec![event("StudentLeft", &["student:s3"], "0")]);
    server.json("api/events");
    assert_eq!(names("tag", "student:s3"), ["student:s3"]);
}

#[test]
fn the_overview_counts_a_small_store_exactly() {
    let (_store, server) = small();
    let about = server.json("api/overview");
    assert_eq!(
        (&about["head"], &about["examined"], &about["isWhole"]),
        (&json!(5), &json!(5), &json!(true))
    );
    assert_eq!(about["types"][0], json!({"name": "StudentSubscribed", "count": 2}));
    assert_eq!(about["tags"][0], json!({"name": "course:c1", "count": 3}));
    assert_eq!(
        about["tagKeys"],
        json!([{"name": "course", "count": 3}, {"name": "student", "count": 3}])
    );
    let counts = about["rate"]["counts"].as_array().unwrap();
    assert_eq!(counts.iter().map(|count| count.as_i64().unwrap()).sum::<i64>(), 5);
    assert_eq!(about["health"][0]["level"], "good");
    assert!(about["store"]["fileBytes"].as_u64().unwrap() > 0);
    let empty = TestStore::new();
    let about = empty.explore(&[]).json("api/overview");
    assert_eq!(
        (&about["head"], &about["rate"], &about["firstUs"]),
        (&json!(0), &Value::Null, &Value::Null)
    );
}

#[test]
fn a_live_list_has_each_event_once_and_in_order() {
    let (store, server) = small();
    let course = query(&json!({"items": [{"tags": ["course:c9"]}]}));
    let mut messages = server.live(&format!("{course}&after=5"), &[]);
    let first = messages.next().unwrap();
    assert_eq!((&first["head"], positions(&first["events"])), (&json!(5), vec![]));
    let appender = std::thread::spawn(move || {
        for index in 0..200 {
            store.append(vec![
                event("A", &["course:c9"], &index.to_string()),
                event("B", &["course:c8"], "0"),
            ]);
            std::thread::sleep(std::time::Duration::from_millis(index % 7));
        }
        store
    });
    let mut seen = Vec::new();
    while seen.len() < 200 {
        let message = messages.next().unwrap();
        assert_eq!(message["skippedAfter"], Value::Null);
        seen.extend(positions(&message["events"]));
    }
    assert_eq!(seen, (0..200).map(|index| 6 + 2 * index).collect::<Vec<_>>());
    drop(appender.join().unwrap());
}

#[test]
fn a_live_list_skips_what_is_too_much_and_says_so() {
    let (store, server) = small();
    store.append((0..5_000).map(|_| event("Many", &[], "0")).collect());
    let message = server.live("after=5", &[]).next().unwrap();
    assert_eq!(message["skippedAfter"], 5);
    assert_eq!(positions(&message["events"]), (4_956..=5_005).collect::<Vec<_>>());
    // A browser that connects again says what it saw last.
    let message = server.live("after=5", &[("Last-Event-ID", "5003")]).next().unwrap();
    assert_eq!(
        (positions(&message["events"]), &message["skippedAfter"]),
        (vec![5_004, 5_005], &Value::Null)
    );
}

#[test]
fn live_lists_are_bounded_and_give_their_place_back() {
    let (_store, server) = small();
    let lists: Vec<_> = (0..24)
        .map(|_| {
            let mut list = server.live("after=5", &[]);
            assert_eq!(list.next().unwrap()["head"], 5);
            list
        })
        .collect();
    let refused = server.get("api/live?after=5");
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert_eq!(server.json("api/events?limit=1")["head"], 5);
    drop(lists);
    // The server notices when it next writes to the lists that were closed.
    let is_free = (0..100).any(|_| {
        _store.append(vec![event("A", &[], "0")]);
        std::thread::sleep(std::time::Duration::from_millis(100));
        let mut stream = server.live("after=5", &[]);
        stream.next().is_some()
    });
    assert!(is_free);
}

#[test]
fn hostile_strings_stay_strings() {
    let store = TestStore::new();
    for text in HOSTILE {
        let data = json!({text: text}).to_string();
        store.append(vec![event(text, &[text], &data)]);
    }
    let server = store.explore(&[]);
    let page = server.get("api/events");
    assert_eq!(page.header("content-type"), "application/json");
    let events: Value = serde_json::from_str(&page.body).unwrap();
    for (event, text) in events["events"].as_array().unwrap().iter().rev().zip(HOSTILE) {
        assert_eq!((&event["type"], &event["tags"]), (&json!(text), &json!([text])));
        let about = server.json(&format!("api/tag?tag={}", encoded(text)));
        assert_eq!(about["examined"], 1, "{text}");
        let item = json!({"items": [{"types": [text], "tags": [text]}]});
        assert_eq!(
            server.json(&format!("api/condition?{}", query(&item)))["fails"],
            true,
            "{text}"
        );
        let found = server.json(&format!("api/names?kind=tag&text={}", encoded(text)));
        assert_eq!(found["names"][0]["name"], text);
    }
}

#[test]
fn the_command_is_careful_about_whom_it_serves() {
    let (store, server) = small();
    let refused = |arguments: &[&str], expected: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_dcb"))
            .args(["explore", &store.uri, "--no-open"])
            .args(arguments)
            .env_remove("DCB_EXPLORE_TOKEN")
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(expected), "{message}");
        assert!(output.stdout.is_empty());
    };
    refused(&["--listen", "0.0.0.0:0"], "--token");
    refused(&["--token", "short"], "at least 20");
    refused(&["--listen", "nonsense"], "--listen");
    let open = store.explore(&[
        "--listen",
        "0.0.0.0:0",
        "--token",
        "abcdefghij0123456789",
        "--host",
        "tools.example",
    ]);
    assert_eq!(open.token, "abcdefghij0123456789");
    let path = "/abcdefghij0123456789/api/store";
    assert_eq!(open.request("GET", path, &[("Host", "tools.example")]).status, 200);
    assert_eq!(open.request("GET", path, &[("Host", "evil.example")]).status, 403);
    let page = open.get("api/store");
    assert!(page.body.contains("courses.db"), "{}", page.body);
    // Whoever knows the address can end the server at once.
    assert_eq!(server.interrupt(), Some(0));
    assert_eq!(open.end_by("-TERM"), Some(0));
    assert_eq!(store.explore(&[]).interrupt(), Some(0));
}

#[test]
fn a_store_that_is_missing_is_not_created() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("none.db");
    let output = Command::new(env!("CARGO_BIN_EXE_dcb"))
        .args(["explore", &format!("sqlite:{}", path.display()), "--no-open"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(!path.exists());
}

#[test]
fn the_school_is_the_same_in_each_run() {
    let types = |seed| {
        let mut random = numbers(seed);
        (0..50)
            .flat_map(|_| school(&mut random))
            .map(|event| event.event_type().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(types(7), types(7));
    assert_ne!(types(7), types(8));
}
