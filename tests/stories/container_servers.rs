//! Servers of the examples in containers: published, with data that outlives them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use e2e::{Dir, Store, need, repository};

use crate::both::{eventually, inspect};

fn build(store: &Store, name: &str) {
    let context = Dir::new().copy_of(&repository().join("Dockerfile.examples").join(name));
    store
        .rbuild(["build", "-t", name])
        .arg(context.path())
        .limit(Duration::from_secs(900))
        .ok();
}

/// Starts a server, and waits until its health check says that it is well.
fn serve(store: &Store, flags: &[&str], image: &str) {
    store
        .rbuild(["run", "-d", "--name", "server"])
        .args(flags)
        .arg(image)
        .ok();
    eventually("the server is well", || {
        inspect(store, "server")["State"]["Health"]["Status"] == "healthy"
    });
}

/// Asks at the port where the server is published, and returns the beginning of its answer.
fn ask(store: &Store, question: &[u8], length: usize) -> String {
    let place = store.rbuild(["port", "server"]).ok().out();
    let place = place.trim().rsplit("-> ").next().unwrap().to_owned();
    let mut stream = TcpStream::connect(&place).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream.write_all(question).unwrap();
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Stops it in order, and removes it.
fn remove(store: &Store) {
    store.rbuild(["stop", "-t", "60", "server"]).ok();
    assert_eq!(inspect(store, "server")["State"]["ExitCode"], 0);
    store.rbuild(["rm", "server"]).ok();
}

#[test]
fn redis_keeps_its_data_in_a_volume() {
    let store = need!(Store::debian());
    build(&store, "redis");
    let volume = ["-v", "cache:/data"];
    serve(
        &store,
        &[&volume[..], &["-p", "127.0.0.1::6379"]].concat(),
        "redis",
    );
    // RESP, Redis' protocol.
    let answer = ask(&store, b"SET greeting hello\r\nGET greeting\r\n", 16);
    assert_eq!(answer, "+OK\r\n$5\r\nhello\r\n");
    remove(&store);
    serve(&store, &volume, "redis");
    let get = ["exec", "server", "redis-cli", "get", "greeting"];
    assert_eq!(store.rbuild(get).ok().out(), "hello\n");
    remove(&store);
    store.rbuild(["volume", "rm", "cache"]).ok();
}

#[test]
fn postgresql_keeps_its_data_in_a_volume() {
    let store = need!(Store::debian());
    build(&store, "postgres");
    store
        .rbuild(["run", "--rm", "postgres"])
        .fails(2)
        .tells("give one with -e POSTGRES_PASSWORD=");
    let volume = ["-v", "db:/var/lib/postgresql/data"];
    let first = ["-p", "127.0.0.1::5432", "-e", "POSTGRES_PASSWORD=secret"];
    serve(&store, &[&volume[..], &first].concat(), "postgres");
    let sql = |text: &str| {
        let psql = ["exec", "server", "psql", "-qAtc", text];
        store.rbuild(psql).ok().out()
    };
    sql("create table kept (a int); insert into kept values (42)");
    // An SSLRequest of its protocol, which it answers by S or N.
    let answer = ask(&store, b"\0\0\0\x08\x04\xd2\x16\x2f", 1);
    assert!(matches!(answer.as_str(), "S" | "N"), "{answer}");
    remove(&store);
    serve(&store, &volume, "postgres");
    assert_eq!(sql("select a from kept"), "42\n");
    remove(&store);
    store.rbuild(["volume", "rm", "db"]).ok();
}
