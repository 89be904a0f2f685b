//! A snapshot as JSON.

use std::future::pending;

use errgroup::{Boxed, Group, task};
use serde_json::json;

#[test]
fn a_snapshot_is_serialized() {
    let mut group = Group::<Boxed<'_, (), ()>>::new().with_name("work").with_key_limit(1);
    group.queue(task(pending()).name("a").key(7).daemon());
    group.queue(task(pending()).key(7).weight(2));
    group.token().cancel();
    let stopped = serde_json::to_value(group.snapshot()).unwrap();
    assert_eq!((&stopped["phase"], &stopped["reason"]), (&json!("stopped"), &json!("cancelled")));

    let mut group = Group::<Boxed<'_, (), ()>>::new().with_name("work").with_key_limit(1);
    group.queue(task(pending()).name("a").key(7).daemon());
    group.queue(task(pending()).key(7).weight(2));
    let expected = json!({
        "name": "work",
        "phase": "open",
        "reason": null,
        "stats": {
            "limit": null, "queued": 1, "running": 1, "ok": 0, "failed": 0, "dropped": 0,
        },
        "room": 1,
        "holds": 0,
        "is_polled": false,
        "is_starved": false,
        "children": [
            {
                "index": 0, "name": "a", "key": "7", "weight": 1, "priority": 0, "daemon": true,
                "state": "unpolled", "polls": 0,
            },
            {
                "index": null, "name": null, "key": "7", "weight": 2, "priority": 0,
                "daemon": false, "state": {"queued": {"behind": 0, "waits_for": "key"}},
                "polls": null,
            },
        ],
        "omitted": 0,
        "keys": [{"key": "7", "limit": 1, "room": 1, "waiting": 1}],
        "groups": [],
    });
    assert_eq!(serde_json::to_value(group.snapshot()).unwrap(), expected);
    let causes = serde_json::to_value(group.snapshot().causes()).unwrap();
    let key = json!({
        "key": {"key": "7", "room": 1, "limit": 1, "waiting": 1, "by_daemons": true},
    });
    assert_eq!(causes, json!([{"unpolled": {"children": 1}}, key]));
}
