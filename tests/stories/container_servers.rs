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

/// Debian's nginx, whose pages and log are kept in volumes.
#[test]
fn nginx_keeps_what_it_serves_in_a_volume() {
    let store = need!(Store::debian());
    let dockerfile = "FROM debian:bookworm\n\
        RUN apt-get update && apt-get install -y --no-install-recommends nginx-light \\\n\
        \x20&& rm -rf /var/lib/apt/lists/* \\\n\
        \x20&& ln -sf /dev/stdout /var/log/nginx/access.log\n\
        RUN echo first >/var/www/html/index.html\n\
        EXPOSE 80\n\
        STOPSIGNAL SIGQUIT\n\
        CMD [\"nginx\", \"-g\", \"daemon off;\"]\n";
    let context = Dir::new().file("Dockerfile", dockerfile);
    store
        .rbuild(["build", "-t", "web"])
        .arg(context.path())
        .limit(Duration::from_secs(900))
        .ok();
    let get = b"GET / HTTP/1.0\r\n\r\n";
    let page = |want: &str| {
        eventually("it serves the page", || {
            let place = store.rbuild(["port", "server", "80"]).ok().out();
            let Ok(mut stream) = TcpStream::connect(place.trim()) else {
                return false;
            };
            let mut answer = String::new();
            stream.write_all(get).is_ok()
                && stream.read_to_string(&mut answer).is_ok()
                && answer.starts_with("HTTP/1.1 200 OK\r\n")
                && answer.ends_with(&format!("\r\n\r\n{want}\n"))
        });
    };
    let run = |flags: &[&str]| {
        let start = ["run", "-d", "--name", "server", "-p", "127.0.0.1::80"];
        store.rbuild(start).args(flags).arg("web").ok();
    };
    // The volume gets the image's page, which is changed there.
    let volume = ["-v", "pages:/var/www/html"];
    run(&volume);
    page("first");
    let change = "echo second >/var/www/html/index.html";
    store.rbuild(["exec", "server", "sh", "-c", change]).ok();
    page("second");
    let logged = store.rbuild(["logs", "server"]).ok().out();
    assert!(logged.contains("\"GET / HTTP/1.0\" 200 "), "{logged}");
    // Its master and workers end by themselves when they are asked to.
    remove(&store);
    run(&[
        "--read-only",
        "--tmpfs",
        "/run",
        "--tmpfs",
        "/var/lib/nginx",
        "--tmpfs",
        "/var/log/nginx",
        volume[0],
        "pages:/var/www/html:ro",
    ]);
    page("second");
    store
        .rbuild(["exec", "server", "sh", "-c", change])
        .fails(2)
        .tells("Read-only file system");
    remove(&store);
    run(&[]);
    page("first");
    remove(&store);
    store.rbuild(["volume", "rm", "pages"]).ok();
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
