//! The examples, built for real: with Debian, apt and pip, on the network.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use e2e::{Cmd, Dir, Done, Registry, Store, docker, need, repository, tomcat};
use serde_json::json;

fn example(name: &str) -> Dir {
    Dir::new().copy_of(&repository().join("Dockerfile.examples").join(name))
}

#[track_caller]
fn build(store: &Store, tag: &str, context: &Dir) -> Done {
    store
        .rbuild(["build", "-t", tag])
        .arg(context.path())
        .limit(Duration::from_secs(900))
        .ok()
}

/// A port that nothing listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn flask_answers_from_a_container() {
    let docker = need!(docker());
    let store = need!(Store::debian());
    let registry = Registry::start();
    let name = registry.name("flask");
    let context = example("flask");
    build(&store, &name, &context);
    let config = store.config(&name);
    assert_eq!(config["ExposedPorts"], json!({"80/tcp": {}}));
    assert_eq!(config["WorkingDir"], "/app");
    assert_eq!(config["Cmd"], json!(["python3", "app.py"]));
    store
        .rbuild(["push", &name])
        .limit(Duration::from_secs(600))
        .ok();

    docker
        .cmd(["pull", &name])
        .limit(Duration::from_secs(600))
        .ok();
    let port = free_port();
    let (variable, url) = (format!("PORT={port}"), format!("http://127.0.0.1:{port}/"));
    let container = docker.run_detached(&["-e", &variable, &name]);
    let until = Instant::now() + Duration::from_secs(60);
    let answer = loop {
        let done = Cmd::new("curl").args(["-fsS", &url]).run();
        if done.status.success() {
            break done.out();
        }
        assert!(
            Instant::now() < until,
            "no answer: {done}\n{}",
            container.logs()
        );
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(answer.starts_with("<h1>Hello World!</h1>"), "{answer}");
    drop(container);

    // An edited application is copied and its requirements installed anew; Python is not.
    let edited = context.read("app.py") + "# edited\n";
    context.write("app.py", edited);
    let again = build(&store, &name, &context).err();
    let cached = again
        .lines()
        .filter(|line| line.ends_with("CACHED"))
        .count();
    assert_eq!(cached, 2, "apt-get and WORKDIR:\n{again}");
}

#[test]
fn tomcat_unpacks_adds_and_checks_itself() {
    let store = need!(Store::debian());
    let context = example("tomcat");
    std::fs::copy(need!(tomcat()), context.join("apache-tomcat.tar.gz")).unwrap();
    build(&store, "tomcat", &context);
    let config = store.config("tomcat");
    assert_eq!(config["Entrypoint"], json!(["catalina.sh"]));
    assert_eq!(config["Cmd"], json!(["run"]));
    assert_eq!(config["WorkingDir"], "/opt/tomcat");
    let path = config["Env"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|v| v.as_str()?.strip_prefix("PATH="));
    assert!(
        path.unwrap()
            .starts_with("/opt/tomcat/bin:/usr/lib/jvm/default-java/bin:"),
        "{path:?}"
    );
    let tree = store.tree("tomcat");
    for there in [
        "opt/apache-tomcat-10/webapps/ROOT/index.jsp",
        "opt/apache-tomcat-10/conf/server.xml",
    ] {
        assert!(tree.has(there), "{there}");
    }
    assert!(!tree.has("opt/apache-tomcat-10/webapps/ROOT/META-INF"));
    assert_eq!(
        tree.get("opt/tomcat").link,
        "apache-tomcat-10",
        "ADD followed it"
    );
    assert!(
        !tree.has("opt/apache-tomcat.tar.gz"),
        "it is unpacked, not copied"
    );
    assert_eq!(
        store.inspect("tomcat")["Author"],
        "Platform Team <platform@example.com>"
    );
}

#[test]
fn multistage_leaves_the_compiler_behind() {
    let docker = need!(docker());
    let store = need!(Store::debian());
    let registry = Registry::start();
    let name = registry.name("primes:v1");
    build(&store, &name, &example("multistage"));
    let tree = store.tree(&name);
    assert_eq!(tree.owner("data/primes.txt"), "65534:65534 644");
    assert!(!tree.has("usr"), "only the program is in the image");
    store.rbuild(["push", &name]).ok();
    docker.cmd(["pull", &name]).ok();
    let ran = docker
        .cmd(["run", "--rm", "--network", "none", &name, "10"])
        .ok();
    let numbers: Vec<String> = ran.out().split_whitespace().map(str::to_owned).collect();
    assert_eq!(numbers.join(" "), "2 3 5 7");
    let user = docker
        .cmd(["inspect", "-f", "{{.Config.User}}", &name])
        .ok()
        .out();
    assert_eq!(user.trim(), "65534:65534");
}
