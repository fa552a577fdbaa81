//! A server that comes back without its latest messages, from an older copy of its files say:
//! whoever knows of them says so, and neither writes behind the gap nor waits for ever, nor takes
//! it that nothing is new.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cim_store::{Context, EventFilter, LogQuery, Position, Store};
use futures_util::StreamExt;

use crate::{append, is_damage, open, start, within};

/// A server that has just started may be behind for a moment, so it is asked for a while.
const SURE: Duration = Duration::from_secs(25);

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lost_its_latest_messages_is_neither_written_to_nor_followed() {
    let server = start();
    let (store, ctx) = (open(&server.url()).await, Context::new());
    let (log, all) = (store.log(), EventFilter::all());
    let mut followed = log.subscribe(&ctx, all, Position::NONE).await.unwrap();
    for _ in 0..3 {
        append(&store, "1", "placed").await.unwrap();
    }
    let files = server.node().store_dir();
    let copy = files.with_extension("copy");
    server.node().stop().unwrap();
    copy_all(&files, &copy);
    server.node().start().unwrap();
    server.wait_healthy().unwrap();
    for _ in 0..3 {
        append(&store, "1", "placed").await.unwrap();
    }
    for _ in 0..6 {
        let event = within(SURE, followed.next()).await;
        event.unwrap().unwrap();
    }

    server.node().kill().unwrap();
    fs::remove_dir_all(&files).unwrap();
    fs::rename(&copy, &files).unwrap();
    server.node().start().unwrap();
    server.wait_healthy().unwrap();

    let appends = async { within(SURE, append(&store, "1", "placed")).await };
    let follows = async { within(SURE, followed.next()).await };
    let new = LogQuery::all().after(Position::new(6));
    let asks = async { within(SURE, log.read_log(&ctx, new)).await };
    let (appended, event, new) = tokio::join!(appends, follows, asks);
    is_damage(appended);
    is_damage(event.unwrap());
    is_damage(new.map(drop));
    // A stream that it knows nothing of would be behind the gap, too.
    is_damage(append(&store, "2", "placed").await);
    let stats = open(&server.url()).await.log().stats(&ctx).await.unwrap();
    assert_eq!(stats.events, 3);
}
